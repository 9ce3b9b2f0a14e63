"""LogME: the evidence of a linear model on the features of a network, for any number of features (numpy only)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from sktl._validation import StrOptions, validate_params
from sktl.transferability._arrays import check_features_and_targets, standardized

__all__ = ["log_me"]

LEAST_NOISE = 1e-6  # variance of the noise, of a target of variance 1: without noise the evidence has no bound
RANGE = -42.0, 21.0  # of log(alpha / beta), beside that of the largest eigenvalue: from no noise to no signal
N_STEPS = 129
N_ZOOMS = 4  # each by 64: the last steps are of 1e-6


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "task": [StrOptions({"auto", "classification", "regression"})],
    },
    prefer_skip_nested_validation=True,
)
def log_me(features: Any, y: Any, *, task: Literal["auto", "classification", "regression"] = "auto") -> float:
    r"""Compute LogME: how probable the targets are under the best linear model on the features.

    A Bayesian linear model with weights :math:`w \sim N(0, \alpha^{-1} I)`, noise of variance :math:`\beta^{-1}` and a
    free intercept explains the targets; its log evidence, per image, is maximised over :math:`\alpha` and
    :math:`\beta`. It rewards features that predict the targets with small weights, and needs no split and no training.
    For classification it is the mean over the classes, each against all others. Greater is better. Numbers compare
    networks on the same images and targets, and nothing else.

    Parameters
    ----------
    features : array-like of shape (n_images, n_features)
        Vectors of one network, one row per image.
    y : array-like of shape (n_images,) or (n_images, n_targets)
        Class labels or numbers. Several columns are numbers, and the result is their mean.
    task : {"auto", "classification", "regression"}, default="auto"
        What `y` is; as in :func:`~sktl.compare_transfer`.

    Returns
    -------
    float
        Mean log evidence per image (per degree of freedom, of which there are n_images - 1). Features that say nothing
        give -1.419; noise below a millionth of the variance of the target is not told apart, which bounds it by 5.99.

    Raises
    ------
    ValueError
        If `features` or `y` are not finite, lengths differ, or `y` holds a single class or number.

    See Also
    --------
    nearest_neighbour_score : In units of a score, and about as good a guide.

    Notes
    -----
    Features and targets are standardised to mean 0 and variance 1 first, so that the result depends on the scale of
    neither. The intercept has a flat prior and is integrated out.

    The log determinant in the evidence has one term for every feature. All of them are counted here; the
    implementation that came with [1]_ counts some of them where there are more features than images, and then ranks
    networks by their number of features.

    References
    ----------
    .. [1] K. You, Y. Liu, J. Wang and M. Long, "LogME: practical assessment of pre-trained models for transfer
           learning", ICML 2021, :arxiv:`2102.11005`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.transferability import log_me
    >>> X, y = load_digits(return_X_y=True)
    >>> print(f"{log_me(X[:200], y[:200]):.2f} {log_me(X[:200, :8], y[:200]):.2f}")
    -0.91 -1.35
    """
    features, y, task, resolution = check_features_and_targets(features, y, task)
    targets = y if task == "regression" else y[:, None] == np.unique(y)
    targets = standardized(targets.reshape(len(y), -1).astype(np.float64))
    eigenvalues, coordinates = _spectrum(standardized(features, resolution), targets)
    freedom = len(y) - 1
    rests = np.maximum(0, np.sum(targets**2, axis=0) - np.sum(coordinates**2, axis=0))
    columns = zip(coordinates.T**2, rests, strict=True)
    return float(np.mean([_maximize(eigenvalues, squares, rest, freedom)[0] for squares, rest in columns]))


def _spectrum(features, targets):
    """Eigenvalues of the Gram matrix that are not 0, and the targets' coordinates along its eigenvectors."""
    n_images, n_features = features.shape
    wide = n_features >= n_images
    values, vectors = np.linalg.eigh(features @ features.T if wide else features.T @ features)
    kept = values > values[-1] * max(n_images, n_features) * np.finfo(float).eps
    values, vectors = values[kept], vectors[:, kept]
    if wide:
        return values, vectors.T @ targets
    return values, vectors.T @ (features.T @ targets) / np.sqrt(values)[:, None]


def _maximize(eigenvalues, squares, rest, freedom):
    """Find the largest evidence per degree of freedom of one target, and where it is: (evidence, alpha, beta)."""
    if len(eigenvalues) == 0:
        beta = freedom / rest
        return _evidence(np.zeros(1), np.zeros(1), rest, freedom, np.zeros(1))[0][0], np.inf, beta
    low, high = np.log(eigenvalues.max()) + RANGE
    for _ in range(N_ZOOMS):
        grid = np.linspace(low, high, N_STEPS)
        evidence, betas = _evidence(eigenvalues, squares, rest, freedom, grid)
        best = int(np.argmax(evidence))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, N_STEPS - 1)]
    return evidence[best], np.exp(grid[best]) * betas[best], betas[best]


def _evidence(eigenvalues, squares, rest, freedom, log_ratios):
    """Log evidence per degree of freedom for values of log(alpha / beta), at the best beta for each."""
    spread = 1 + eigenvalues * np.exp(-log_ratios)[:, None]
    unexplained = (1 / spread) @ squares + rest
    beta = 1 / np.maximum(unexplained / freedom, LEAST_NOISE)
    doubled = freedom * np.log(beta / (2 * np.pi)) - np.log(spread).sum(axis=1) - beta * unexplained
    return doubled / (2 * freedom), beta
