"""Leakage: near duplicates that lie on both sides of a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d

__all__ = ["Leaks", "find_leaks"]


@dataclass(frozen=True, eq=False)
class Leaks:
    """Near duplicates that lie on both sides of splits.

    Parameters
    ----------
    counts : ndarray of shape (n_splits,)
        Test images with a copy among the training images, by split.
    pairs : tuple of (split, train_index, test_index)
        For each such test image, in the order of the splits, one training image of its group.

    See Also
    --------
    find_leaks : Finds them.

    Examples
    --------
    >>> from sktl.near_duplicates import find_leaks
    >>> bool(find_leaks([0, 1, 2, 3], [([0, 1], [2, 3])]))
    False
    """

    counts: np.ndarray
    pairs: tuple

    def __bool__(self):
        return bool(self.counts.any())


def find_leaks(groups: Any, splits: Any, *, most: int = 10) -> Leaks:
    """Find the test images that have a near duplicate among the training images.

    Parameters
    ----------
    groups : array-like of shape (n_images,)
        From :func:`near_duplicate_groups`.
    splits : iterable of (train, test)
        Indices of the images, or masks.
    most : int, default=10
        How many pairs are named at most; all are counted.

    Returns
    -------
    Leaks
        `counts` by split, the first `pairs`; false where there are none.

    Examples
    --------
    >>> from sktl.near_duplicates import find_leaks
    >>> found = find_leaks([0, 1, 0, 2], [([0, 1], [2, 3]), ([2, 3, 0], [1])])
    >>> found.counts.tolist(), found.pairs
    ([1, 0], ((0, 0, 2),))
    """
    groups = column_or_1d(groups)
    counts: list[int] = []
    pairs: list[Any] = []
    for number, split in enumerate(splits):
        train, test = map(_as_indices, split)
        in_train = dict(zip(groups[train[::-1]].tolist(), train[::-1].tolist(), strict=True))  # the first of each
        names = groups[test].tolist()
        shared = [(number, in_train[name], i) for i, name in zip(test.tolist(), names, strict=True) if name in in_train]
        counts.append(len(shared))
        pairs += shared[: most - len(pairs)]
    return Leaks(np.array(counts, dtype=int), tuple(pairs))


def _as_indices(part):
    part = np.asarray(part)
    return np.flatnonzero(part) if part.dtype == np.bool_ else part.astype(np.intp)
