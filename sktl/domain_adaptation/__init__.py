"""Images from another domain than those with labels: the batch norms of a network adapted, and the shift measured."""

from sktl.domain_adaptation._batch_norm import adapt_batch_norm

__all__ = ["adapt_batch_norm"]
