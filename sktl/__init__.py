"""Transfer learning with pretrained image networks, as scikit-learn estimators."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sktl.anomaly_detection import PatchAnomalyDetector
    from sktl.comparison import compare_transfer
    from sktl.feature_extraction import (
        LinearProbeClassifier,
        LinearProbeRegressor,
        PretrainedClassifier,
        PretrainedFeatureExtractor,
    )
    from sktl.fine_tuning import FineTuneClassifier, FineTunedFeatures, FineTuneRegressor
    from sktl.transferability import rank_backbones, recommend_strategy

__version__ = "0.1.0.dev0"

__all__ = [
    "FineTuneClassifier",
    "FineTuneRegressor",
    "FineTunedFeatures",
    "LinearProbeClassifier",
    "LinearProbeRegressor",
    "PatchAnomalyDetector",
    "PretrainedClassifier",
    "PretrainedFeatureExtractor",
    "__version__",
    "compare_transfer",
    "rank_backbones",
    "recommend_strategy",
]

# torch alone takes seconds to import, so a name is resolved when it is first used.
_HOMES = {
    "FineTuneClassifier": "sktl.fine_tuning",
    "FineTuneRegressor": "sktl.fine_tuning",
    "FineTunedFeatures": "sktl.fine_tuning",
    "LinearProbeClassifier": "sktl.feature_extraction",
    "LinearProbeRegressor": "sktl.feature_extraction",
    "PatchAnomalyDetector": "sktl.anomaly_detection",
    "PretrainedClassifier": "sktl.feature_extraction",
    "PretrainedFeatureExtractor": "sktl.feature_extraction",
    "compare_transfer": "sktl.comparison",
    "rank_backbones": "sktl.transferability",
    "recommend_strategy": "sktl.transferability",
}


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'sktl' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
