"""What each strategy costs in seconds, predicted from a few images and steps before any of it is trained."""

import time
from dataclasses import dataclass

import numpy as np

from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.fine_tuning.expected_seconds import expected_seconds
from sktl.images import take_rows

__all__ = ["StrategyCost", "predict_costs"]

FEW = 32  # images that are timed on their way through the network


@dataclass(frozen=True)
class StrategyCost:
    """Predicted seconds of one strategy.

    Parameters
    ----------
    fit : float
        To fit it once on all images, none of which the network has seen.
    folds : float
        Of all fits and predictions of a comparison.

    Examples
    --------
    >>> from sktl.transferability import StrategyCost
    >>> StrategyCost(fit=60.0, folds=250.0).folds
    250.0
    """

    fit: float
    folds: float


def predict_costs(comparison, X, strategies, network):
    """Predict the seconds of every strategy: nothing that is timed here reaches a result, or is kept."""
    trained = np.unique(np.concatenate([train for train, _ in comparison.splits]))
    used = np.union1d(trained, np.concatenate([test for _, test in comparison.splits]))
    images, y = take_rows(X, used), comparison.y[used]
    forward = len(used) * _seconds_per_image(images, network)
    costs = {}
    for strategy in strategies:
        if strategy.depth is None:
            costs[strategy.name] = StrategyCost(forward + _of_head(comparison, strategy.name, len(used)), 0.0)
        else:
            expected = expected_seconds(strategy.estimator, images, y)
            sizes = comparison.n_train.tolist(), comparison.n_test.tolist(), len(trained), len(used) - len(trained)
            costs[strategy.name] = StrategyCost(expected.of_fit(len(used)), expected.of_folds(*sizes))
    return costs


def _seconds_per_image(images, network):
    """Time a few images on their way through all stages, once the network is warm."""
    few = take_rows(images, np.arange(min(len(images), FEW)))
    extractor = frozen_extractor(**network, cache=False).fit(few)
    extractor.transform(few)
    start = time.perf_counter()
    extractor.transform(few)
    return (time.perf_counter() - start) / len(few)


def _of_head(comparison, name, n_images):
    """Seconds of a linear model on so many stored vectors: those of the quickest fold, in proportion."""
    if name not in comparison.scores:
        return 0.0
    return float(np.min(comparison.fit_seconds[name] / comparison.n_train)) * n_images
