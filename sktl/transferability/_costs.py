"""What each strategy costs in seconds, predicted from a few images and steps before any of it is trained."""

from dataclasses import dataclass

import numpy as np

from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.fine_tuning.rehearsal import rehearsed
from sktl.images import take_rows
from sktl.transferability._measuring import seconds_per_image

__all__ = ["StrategyCost", "predict_costs"]

FEW = 32  # images that are timed on their way through the network
SHARE = 1.0  # of the images in all epochs, where these are few: what short fits may have


@dataclass(frozen=True)
class StrategyCost:
    """Predicted seconds of one strategy.

    Parameters
    ----------
    fit : float
        To fit it once on all images. NaN where that could not be told.
    folds : float
        Of all fits and predictions of a comparison; likewise.

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
    few = take_rows(images, np.arange(min(len(images), FEW)))
    forward = len(used) * seconds_per_image(frozen_extractor(**network).fit(few), few, FEW)
    return {
        one.name: StrategyCost(forward + _of_head(comparison, one.name, len(used)), 0.0)
        if one.depth is None
        else _of_training(comparison, one.estimator, images, y, len(trained))
        for one in strategies
    }


def _of_training(comparison, estimator, images, y, n_trained):
    """Predict what training costs from short fits on a batch of the images."""
    folds, everything = list(zip(comparison.n_train.tolist(), comparison.n_test.tolist(), strict=True)), (len(y), 0)
    try:
        costs = rehearsed(estimator, images, y, [*folds, everything], share=SHARE, in_full=True)
    except Exception:  # the fits themselves meet the same, and say so
        costs = {}
    if not costs:
        return StrategyCost(np.nan, np.nan)
    new = n_trained * max(costs[size].per_new_image for size in folds)
    return StrategyCost(costs[everything].at_most(len(y)), new + sum(costs[size].seconds for size in folds))


def _of_head(comparison, name, n_images):
    """Seconds of a linear model on so many stored vectors: those of the quickest fold, in proportion."""
    if name not in comparison.scores:
        return 0.0
    return float(np.min(comparison.fit_seconds[name] / comparison.n_train)) * n_images
