"""Was transfer worth it? Candidates with and without pretrained weights, on the same folds, with honest intervals."""

from importlib import import_module

from sktl._statistics import corrected_interval, corrected_p_value, correlated_t_probabilities, holm
from sktl.comparison._compare import compare_transfer
from sktl.comparison._records import ComparisonRow, FitRecord, GroupGap
from sktl.comparison._result import TransferComparison
from sktl.comparison._warnings import CandidateFailedWarning, NearDuplicatesWarning, ResumeWarning

__all__ = [
    "CandidateFailedWarning",
    "ComparisonRow",
    "NearDuplicatesWarning",
    "ResumeWarning",
    "FitRecord",
    "GroupGap",
    "TransferComparison",
    "compare_transfer",
    "corrected_interval",
    "corrected_p_value",
    "correlated_t_probabilities",
    "holm",
]

# Names that the pages gave as names of this room: where they live now, and what they are called.
_MOVED = {
    **dict.fromkeys(["ComparisonDisplay", "CostDisplay", "DepthSweepDisplay", "EmbeddingMapDisplay"], "sktl.displays"),
    **dict.fromkeys(["LabelEfficiencyDisplay", "Mistake", "MistakesDisplay"], "sktl.displays"),
    **dict.fromkeys(["TrainingCurveDisplay", "confusion_display"], "sktl.displays"),
    "FitRecord": "sktl.comparison",
    "PixelFeatures": "sktl.feature_extraction",
    **dict.fromkeys(["LabelEfficiency", "LabelsSaved", "label_efficiency"], "sktl.label_efficiency"),
    **dict.fromkeys(["Leaks", "find_leaks", "near_duplicate_groups"], "sktl.near_duplicates"),
}
_RENAMED = {"Run": "FitRecord", "straddling": "find_leaks", "Straddling": "Leaks"}


def __getattr__(name):
    name = _RENAMED.get(name, name)
    if name not in _MOVED:
        raise AttributeError(f"module 'sktl.comparison' has no attribute {name!r}")
    return getattr(import_module(_MOVED[name]), name)
