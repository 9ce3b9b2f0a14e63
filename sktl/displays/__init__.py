"""Plots: each display holds numbers, and `plot` draws them."""

from sktl.displays._anomaly_map_display import AnomalyMapDisplay
from sktl.displays._backbone_ranking_display import BackboneRankingDisplay
from sktl.displays._class_activation import class_activation_map
from sktl.displays._comparison_display import ComparisonDisplay
from sktl.displays._confusion import confusion_display
from sktl.displays._cost_display import CostDisplay
from sktl.displays._depth_sweep_display import DepthSweepDisplay
from sktl.displays._domain_shift_display import DomainShiftDisplay
from sktl.displays._embedding_map_display import EmbeddingMapDisplay
from sktl.displays._label_efficiency_display import LabelEfficiencyDisplay
from sktl.displays._mistakes_display import Mistake, MistakesDisplay
from sktl.displays._strategy_display import StrategyDisplay
from sktl.displays._training_curve_display import TrainingCurveDisplay

__all__ = [
    "AnomalyMapDisplay",
    "BackboneRankingDisplay",
    "ComparisonDisplay",
    "CostDisplay",
    "DepthSweepDisplay",
    "DomainShiftDisplay",
    "EmbeddingMapDisplay",
    "LabelEfficiencyDisplay",
    "Mistake",
    "MistakesDisplay",
    "StrategyDisplay",
    "TrainingCurveDisplay",
    "class_activation_map",
    "confusion_display",
]
