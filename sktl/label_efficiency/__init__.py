"""How many labels transfer saves, on the same folds, and which images to label first."""

from sktl.label_efficiency._label_efficiency import label_efficiency
from sktl.label_efficiency._label_first import label_first
from sktl.label_efficiency._result import LabelEfficiency, LabelsSaved

__all__ = ["LabelEfficiency", "LabelsSaved", "label_efficiency", "label_first"]
