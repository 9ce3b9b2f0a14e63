"""How many labels transfer saves: score against number of labels, on the same folds."""

from sktl.label_efficiency._label_efficiency import label_efficiency
from sktl.label_efficiency._result import LabelEfficiency, LabelsSaved

__all__ = ["LabelEfficiency", "LabelsSaved", "label_efficiency"]
