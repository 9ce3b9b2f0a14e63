"""Was transfer worth it? Candidates with and without pretrained weights, on the same folds, with honest intervals."""

from sktl.comparison._compare import compare_transfer
from sktl.comparison._displays import ComparisonDisplay
from sktl.comparison._result import ComparisonRow, TransferComparison
from sktl.comparison._statistics import corrected_interval, correlated_t_probabilities

__all__ = [
    "ComparisonDisplay",
    "ComparisonRow",
    "TransferComparison",
    "compare_transfer",
    "corrected_interval",
    "correlated_t_probabilities",
]
