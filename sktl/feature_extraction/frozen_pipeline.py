"""The frozen candidate: features of all stages and a linear probe."""

from sklearn.pipeline import make_pipeline

from sktl.feature_extraction._feature_extractor import PretrainedFeatureExtractor
from sktl.feature_extraction._linear_probe import LinearProbeClassifier, LinearProbeRegressor

__all__ = ["KeptSeed", "frozen_extractor", "frozen_pipeline", "linear_probe"]


class KeptSeed(int):
    """A seed that all splits share: those of the fits do not replace it."""


def linear_probe(task):
    """Make the linear model that stands on features of either kind, scaling included."""
    return LinearProbeClassifier() if task == "classification" else LinearProbeRegressor()


def frozen_extractor(**parameters):
    """Make the extractor of the frozen candidate."""
    # The stages below the top one are worth more than any choice of head: benchmarks/heads.py.
    return PretrainedFeatureExtractor(**parameters, layer="all", pooling="avg+std")


def frozen_pipeline(task, **parameters):
    """Make the frozen candidate, unfitted."""
    return make_pipeline(frozen_extractor(**parameters), linear_probe(task))
