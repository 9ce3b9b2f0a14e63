"""Images from another domain than those with labels: the batch norms of a network adapted, and the shift measured."""

from sktl.domain_adaptation._batch_norm import adapt_batch_norm
from sktl.domain_adaptation._shift import DomainShift, domain_shift

__all__ = ["DomainShift", "adapt_batch_norm", "domain_shift"]
