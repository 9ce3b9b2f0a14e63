"""Linear probes on arrays: what stands on frozen features, with nothing to tune."""

from hashlib import blake2b

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from sktl.feature_extraction.ridge import fit_ridge

__all__ = ["classification_probe", "regression_probe", "steepness_of"]

_LOG_STEEPNESS = (-6.0, 6.0)


def classification_probe(features, labels, weights, n_classes):
    """Fit scores whose softmax are probabilities.

    Parameters
    ----------
    features : ndarray of shape (n_images, n_features)
        Of any float type; they need no scaling.
    labels : ndarray of shape (n_images,), int
        Numbers of classes, from 0; not all need be there.
    weights : ndarray of shape (n_images,)
        At least one is positive. A weight of two is the same as two copies of an image.
    n_classes : int
        Number of rows to return.

    Returns
    -------
    coef : ndarray of shape (n_classes, n_features)
        A ridge regression on which class it is, times a number: the steepness at which the probabilities of images
        that were left out have the least log-loss, with one made-up image more of which nothing is known.
    intercept : ndarray of shape (n_classes,)
        In the units of the features, as `coef`.
    alpha : float
        The strength of the ridge.
    """
    features, labels, weights = _without_copies(features, labels, weights)
    fit = fit_ridge(features, np.eye(n_classes)[labels], weights, one_strength=True)
    shares = weights / weights.sum()
    steepness = steepness_of(fit.left_out, labels, shares, shares @ shares)
    return steepness * fit.coef, steepness * fit.intercept, fit.alpha[0]


def steepness_of(left_out, labels, shares, unknown):
    """Return the factor that turns scores of images left out into the logits of the least log-loss.

    `unknown` is the share of an image of which nothing is known: one among so many.
    """

    def log_loss(log_steepness):
        logs = log_softmax(np.exp(log_steepness) * left_out, axis=1)
        return -shares @ (np.take_along_axis(logs, labels[:, None], axis=1)[:, 0] + unknown * logs.mean(axis=1))

    return np.exp(minimize_scalar(log_loss, bounds=_LOG_STEEPNESS, method="bounded").x)


def regression_probe(features, targets, weights):
    """Fit a ridge regression to each target, as if there were no other.

    Parameters
    ----------
    features : ndarray of shape (n_images, n_features)
        Of any float type; they need no scaling.
    targets : ndarray of shape (n_images, n_targets)
        Numbers.
    weights : ndarray of shape (n_images,)
        At least one is positive. A weight of two is the same as two copies of an image.

    Returns
    -------
    coef : ndarray of shape (n_targets, n_features)
        In the units of features and targets.
    intercept : ndarray of shape (n_targets,)
        As `coef`.
    alpha : ndarray of shape (n_targets,)
        Strengths of the ridge.
    """
    fit = fit_ridge(*_without_copies(features, targets, weights), one_strength=False)
    return fit.coef, fit.intercept, fit.alpha


def _without_copies(features, targets, weights):
    """Return the rows of positive weight, and copies, which would give away what is left out, as one with their sum."""
    if (weights > 0).all() and len(np.unique(features.sum(axis=1, dtype=np.float64))) == len(features):
        return features, targets, weights
    first_of: dict = {}
    firsts, owners = [], []
    for row in np.flatnonzero(weights > 0):
        key = blake2b(features[row].tobytes() + targets[row].tobytes()).digest()
        owners.append(first_of.setdefault(key, len(firsts)))
        if owners[-1] == len(firsts):
            firsts.append(row)
    return features[firsts], targets[firsts], np.bincount(owners, weights[weights > 0])
