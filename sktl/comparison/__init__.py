"""Was transfer worth it? Candidates with and without pretrained weights, on the same folds, with honest intervals."""

from importlib import import_module

from sktl._statistics import corrected_interval, corrected_p_value, correlated_t_probabilities, holm
from sktl.comparison._compare import compare_transfer
from sktl.comparison._labels._label_efficiency import label_efficiency
from sktl.comparison._labels._result import LabelEfficiency, LabelsSaved
from sktl.comparison._near_duplicates import Straddling, near_duplicate_groups, straddling
from sktl.comparison._result import TransferComparison
from sktl.comparison._rows import ComparisonRow
from sktl.comparison._runs import Run
from sktl.comparison._warnings import CandidateFailedWarning, NearDuplicatesWarning, ResumeWarning

__all__ = [
    "CandidateFailedWarning",
    "ComparisonRow",
    "LabelEfficiency",
    "LabelsSaved",
    "NearDuplicatesWarning",
    "ResumeWarning",
    "Run",
    "Straddling",
    "TransferComparison",
    "compare_transfer",
    "corrected_interval",
    "corrected_p_value",
    "correlated_t_probabilities",
    "holm",
    "label_efficiency",
    "near_duplicate_groups",
    "straddling",
]

# Names that are documented as names of this room and live in another one by now.
_MOVED = {
    "ComparisonDisplay": "sktl.displays",
    "CostDisplay": "sktl.displays",
    "DepthSweepDisplay": "sktl.displays",
    "EmbeddingMapDisplay": "sktl.displays",
    "LabelEfficiencyDisplay": "sktl.displays",
    "Mistake": "sktl.displays",
    "MistakesDisplay": "sktl.displays",
    "TrainingCurveDisplay": "sktl.displays",
    "confusion_display": "sktl.displays",
    "PixelFeatures": "sktl.feature_extraction",
}


def __getattr__(name):
    if name not in _MOVED:
        raise AttributeError(f"module 'sktl.comparison' has no attribute {name!r}")
    return getattr(import_module(_MOVED[name]), name)
