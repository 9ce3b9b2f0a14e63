"""Nested subsets of the training images of every split: each is part of the next, and all keep every class."""

from numbers import Integral, Real

import numpy as np

from sktl._splits import nested_order

__all__ = ["check_sizes", "subset_splits"]


def check_sizes(sizes):
    """Check the sizes as the user wrote them."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"sizes must be a sequence of numbers of labels or of fractions. Got {sizes!r} instead.")
    for size in (sizes := list(sizes)):
        is_count = isinstance(size, Integral) and not isinstance(size, bool) and size >= 2
        is_share = isinstance(size, Real) and not isinstance(size, Integral) and 0 < size <= 1
        if not is_count and not is_share:
            raise ValueError(
                "sizes must hold ints of at least 2, which are numbers of labels, and floats above 0 and up to 1, "
                f"which are fractions of the training images of a split. Got {size!r} instead."
            )
    if not sizes:
        raise ValueError("sizes must hold at least one size. Got an empty sequence instead.")
    return tuple(int(size) if isinstance(size, Integral) else float(size) for size in sizes)


def subset_splits(splits, y, sizes, *, stratify, seeds):
    """Make the splits of every size: fewer training images, the same test images."""
    counts = np.array([[_count(size, len(train)) for size in sizes] for train, _ in splits])
    order = np.argsort(counts[0], kind="stable")
    counts, sizes = counts[:, order], tuple(sizes[i] for i in order)
    _check_counts(counts, sizes, np.array([len(train) for train, _ in splits]))
    nested = []
    for (train, test), row, seed in zip(splits, counts, seeds, strict=True):
        ranked = train[nested_order(y[train] if stratify else np.zeros(len(train)), seed)]
        nested.append([(np.sort(ranked[:count]), test) for count in row])
    return sizes, nested


def _count(size, n_train):
    return size if isinstance(size, int) else round(size * n_train)


def _check_counts(counts, sizes, n_train):
    if (too_large := (counts > n_train[:, None]).any(axis=0)).any():
        raise ValueError(
            f"sizes must not be larger than the training images of a split, which are {min(n_train)}. "
            f"Got {sizes[int(np.argmax(too_large))]} instead. Use 1.0 for all of them."
        )
    if counts.min() < 2:
        raise ValueError(
            f"sizes must leave at least 2 training images. Got {sizes[0]} of {min(n_train)} instead, which is "
            f"{counts.min()}."
        )
    if (same := np.diff(counts, axis=1) <= 0).any():
        where = int(np.nonzero(same)[1][0])
        raise ValueError(
            f"sizes must stand for different numbers of labels, in the same order on every split. "
            f"Got {sizes[where]} and {sizes[where + 1]}, which are {counts[same.any(axis=1)][0, where]} labels and "
            f"{counts[same.any(axis=1)][0, where + 1]}."
        )
