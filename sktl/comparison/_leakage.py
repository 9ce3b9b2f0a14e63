"""Leakage by near duplicates: copies of one image on both sides of a split flatter every candidate."""

import warnings
from math import isqrt

from sktl.comparison._warnings import NearDuplicatesWarning
from sktl.images import as_images, take_rows
from sktl.near_duplicates import find_leaks, near_duplicate_groups

__all__ = ["warn_of_near_duplicates"]

NETWORK = "tiny_fractal"  # comes with sktl and takes about as long as decoding a photograph
SMALLEST = 8  # pixels: rows of numbers that fold into less are hardly pictures


def warn_of_near_duplicates(X, splits, *, groups, backbone, image_shape, value_range, batch_size):
    """Look for near copies across the splits, and warn of them.

    Vectors are not stored where the candidates use the same network: the first fit of "frozen" would find them and seem
    to cost nothing.
    """
    try:
        if not _holds_images(X, image_shape):
            return None
        options = {"image_shape": image_shape, "value_range": value_range, "batch_size": batch_size}
        found = near_duplicate_groups(
            X, groups=groups, backbone=NETWORK, cache=backbone != NETWORK, device="cpu", **options
        )
    except (TypeError, ValueError, OSError):  # an image that cannot be read, or none at all: the fits will say so
        return None
    copies = find_leaks(found, splits, most=1)
    if not copies:
        return None
    text = _text(copies, len(splits), _advice(groups, image_shape, value_range))
    warnings.warn(text, NearDuplicatesWarning, stacklevel=5)
    return text


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


def _text(copies, n_splits, advice):
    n_images, n_concerned = int(copies.counts.sum()), int((copies.counts > 0).sum())
    _, train, test = copies.pairs[0]
    return (
        f"Near copies of one image lie on both sides of {n_concerned} of {n_splits} splits ({n_images} test images in "
        f"all; images {test} and {train} for instance), so every candidate looks better than it is. Keep them together "
        f"with groups={advice}, which is in sktl.near_duplicates."
    )
