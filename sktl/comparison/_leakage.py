"""Leakage by near duplicates: copies of one image on both sides of a split flatter every candidate."""

import warnings
from math import isqrt

import numpy as np

from sktl.comparison._warnings import NearDuplicatesWarning
from sktl.images import as_images, take_rows
from sktl.images.paths import path_at
from sktl.near_duplicates import find_leaks, near_duplicate_groups

__all__ = ["no_search", "warn_of_near_duplicates"]

NETWORK = "tiny_fractal"  # comes with sktl and takes about as long as decoding a photograph
SMALLEST = 8  # pixels: rows of numbers that fold into less are hardly pictures


def warn_of_near_duplicates(X, splits, *, groups, backbone, image_shape, value_range, batch_size):
    """Look for near copies across the splits, warn of them, and return what goes into the settings of the comparison.

    Vectors are not stored where the candidates use the same network: the first fit of "frozen" would find them and seem
    to cost nothing.
    """
    try:
        if not _holds_images(X, image_shape):
            return no_search()
        options = {"image_shape": image_shape, "value_range": value_range, "batch_size": batch_size}
        # Without groups of the user's, which hold images that are no copies; what a split keeps together it keeps.
        found = near_duplicate_groups(X, backbone=NETWORK, cache=backbone != NETWORK, device="cpu", **options)
    except (TypeError, ValueError, OSError):  # an image that cannot be read, or none at all: the fits will say so
        return no_search()
    near_copies = _groups_of_several(found, X)
    leaks = find_leaks(found, splits, most=1)
    if not leaks:
        return {"near_duplicates": None, "near_copies": near_copies}
    text = _text(leaks, len(splits), _pair(leaks, X), _advice(groups, image_shape, value_range))
    warnings.warn(text, NearDuplicatesWarning, stacklevel=5)
    return {"near_duplicates": text, "near_copies": near_copies}


def no_search(*_, **__):
    """Return the same where copies are not looked for."""
    return {"near_duplicates": None, "near_copies": []}


def _groups_of_several(found, X):
    """List the images of every group that has more than one, with their paths where there are some."""
    order = np.argsort(found, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(found[order])) + 1)
    several = (group.tolist() for group in groups if len(group) > 1)
    return [[{"image": image, "file": path_at(X, image)} for image in group] for group in several]


def _holds_images(X, image_shape):
    if image_shape is not None or as_images(X) is not None:
        return True
    shape = getattr(X, "shape", ())
    n_features = shape[1] if len(shape) == 2 else len(next(iter(take_rows(X, [0]))))
    return isqrt(n_features) ** 2 == n_features and n_features >= SMALLEST**2


def _advice(groups, image_shape, value_range):
    """Write the call that keeps copies together, with what it needs to read the images."""
    stated = {"image_shape": image_shape, "value_range": value_range}
    options = [f"{name}={value!r}" for name, value in stated.items() if value is not None]
    return f"near_duplicate_groups({', '.join(['X', *([] if groups is None else ['groups=groups']), *options])})"


def _pair(leaks, X):
    """Name the first image that has a copy on the other side, and that copy: by paths where there are some."""
    _, train, test = leaks.pairs[0]
    named = [path_at(X, index) for index in (test, train)]
    pair = f"images {test} and {train}" if None in named else " and ".join(map(repr, named))
    return f"{pair} for instance"


def _text(leaks, n_splits, pair, advice):
    n_images, n_concerned = int(leaks.counts.sum()), int((leaks.counts > 0).sum())
    return (
        f"Near copies of one image lie on both sides of {n_concerned} of {n_splits} splits ({n_images} test images in "
        f"all; {pair}), so every candidate looks better than it is. Keep them together "
        f"with groups={advice}, which is in sktl.near_duplicates."
    )
