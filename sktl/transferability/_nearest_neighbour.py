"""How well the most similar other image tells the target: a score of features without any fit (numpy only)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import check_consistent_length, column_or_1d

from sktl._validation import StrOptions, validate_params
from sktl.transferability._arrays import check_features_and_targets

__all__ = ["nearest_neighbour_score"]

BLOCK = 2**23  # similarities at a time: 64 MB
ROUNDING = 1e-12  # cosines that differ by less are of neighbours equally near


@validate_params(
    {
        "features": ["array-like"],
        "y": ["array-like"],
        "task": [StrOptions({"auto", "classification", "regression"})],
        "groups": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def nearest_neighbour_score(
    features: Any,
    y: Any,
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    groups: Any = None,
) -> float:
    """Predict each image from the one most like it, and score that: leave-one-out 1-NN with cosine distance.

    Parameters
    ----------
    features : array-like of shape (n_images, n_features)
        Vectors of one network, one row per image.
    y : array-like of shape (n_images,) or (n_images, n_targets)
        Class labels or numbers. Several columns are numbers.
    task : {"auto", "classification", "regression"}, default="auto"
        What `y` is; as in :func:`~sktl.compare_transfer`.
    groups : array-like of shape (n_images,), default=None
        Images of one group are no neighbours of each other: several photos of one patient, say.

    Returns
    -------
    float
        Accuracy for classification, R² for regression (the mean over the columns).

    Raises
    ------
    ValueError
        If `features` or `y` are not finite, lengths differ, `y` holds a single class or number, or there is a single
        group.

    See Also
    --------
    log_me : The evidence of a linear model instead.

    Notes
    -----
    Where several images are equally near, each counts by an equal share: the score depends neither on the order of
    the images nor on their labels. A vector of zeros has no direction, and is equally far from all others. At no time
    are more than some eight million similarities kept.

    References
    ----------
    .. [1] C. Renggli et al., "Which model to transfer? Finding the needle in the growing haystack", CVPR 2022,
           :arxiv:`2010.06402`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.transferability import nearest_neighbour_score
    >>> X, y = load_digits(return_X_y=True)
    >>> nearest_neighbour_score(X[:200], y[:200])
    0.99
    """
    features, y, task, _ = check_features_and_targets(features, y, task)
    groups = np.arange(len(y)) if groups is None else np.unique(column_or_1d(groups), return_inverse=True)[1]
    check_consistent_length(features, groups)
    if groups.max() == 0:
        raise ValueError("groups must hold at least two different groups. Got a single one instead.")
    directions = _directions(features)
    targets = y if task == "regression" else y[:, None] == np.unique(y)
    targets = targets.reshape(len(y), -1).astype(np.float64)
    n_rows = max(1, BLOCK // len(y))
    starts = range(0, len(y), n_rows)
    told = np.concatenate([_told(directions, targets, groups, slice(row, row + n_rows)) for row in starts])
    if task == "regression":
        return float(r2_score(targets, told))
    return float(np.mean(np.sum(told * targets, axis=1)))


def _directions(features):
    """Vectors of length 1, and those of zeros as they are."""
    largest = np.abs(features).max(axis=1, keepdims=True)
    features = features / np.where(largest > 0, largest, 1)  # else the squares of very small numbers are 0
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def _told(directions, targets, groups, rows):
    """Mean target of the nearest images of other groups, for some of the images."""
    similarities = directions[rows] @ directions.T
    similarities[groups[rows, None] == groups] = -np.inf
    nearest = similarities >= similarities.max(axis=1, keepdims=True) - ROUNDING
    return (nearest @ targets) / nearest.sum(axis=1, keepdims=True)
