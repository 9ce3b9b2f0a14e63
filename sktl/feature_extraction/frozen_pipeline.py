"""The frozen candidate: features of all stages, scaled, and a linear model."""

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl.feature_extraction._feature_extractor import PretrainedFeatureExtractor

__all__ = ["KeptSeed", "frozen_extractor", "frozen_pipeline", "linear_model"]


class KeptSeed(int):
    """A seed that all splits share: those of the fits do not replace it."""


def linear_model(task):
    """Make the linear model that stands on features of either kind."""
    if task == "classification":
        return LogisticRegression(C=0.01, max_iter=1000)
    # A fixed penalty overfits small data badly enough to look like negative transfer; this one chooses its own.
    return RidgeCV(alphas=np.logspace(-1, 4, 11))


def frozen_extractor(**parameters):
    """Make the extractor of the frozen candidate."""
    # The stages below the top one are worth more than any choice of head: benchmarks/frozen_candidates.py.
    return PretrainedFeatureExtractor(**parameters, layer="all", pooling="avg+std")


def frozen_pipeline(task, **parameters):
    """Make the frozen candidate, unfitted."""
    return make_pipeline(frozen_extractor(**parameters), StandardScaler(), linear_model(task))
