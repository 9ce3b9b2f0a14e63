"""One pass over all images before the first fit: those that cannot be read, and near copies of one image."""

from math import isqrt

import numpy as np

from sktl._targets import check_data
from sktl.comparison._candidates import reads_images
from sktl.comparison._embedding_first import embed_on_cluster
from sktl.comparison._progress import announced
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.images import as_images, take_rows
from sktl.images.value_range import fit_value_range
from sktl.inference import bad_images_error, find_bad_images
from sktl.near_duplicates.search import groups_and_bad_images, joined

__all__ = ["check_bad_images", "kept_together", "look_through"]

NETWORK = "tiny_fractal"  # comes with sktl and takes about as long as decoding a photograph
SMALLEST = 8  # pixels: rows of numbers that fold into less are hardly pictures


def look_through(X, *, duplicates, backbone, image_shape, value_range, batch_size, n_jobs=None, verbose=0):
    """Return the groups of near copies, None where they were not looked for, and errors of bad images by position.

    Vectors are not stored where the candidates use the same network: the first fit of "frozen" would find them and seem
    to cost nothing.
    """
    if duplicates != "ignore":
        options = {"image_shape": image_shape, "value_range": value_range, "batch_size": batch_size, "n_jobs": n_jobs}
        try:
            if _holds_images(X, image_shape):
                extractor = frozen_extractor(
                    backbone=NETWORK, device="cpu", cache=backbone != NETWORK, on_error="nan", **options
                )
                text = f"Looking for near duplicates among {len(X):,} images"
                embed_on_cluster(X, extractor, np.arange(len(X)), text, verbose)
                with announced(text, verbose):
                    return groups_and_bad_images(X, extractor)
        except (TypeError, ValueError, OSError):  # no images after all, or one that has changed meanwhile
            if duplicates == "group":
                raise
    if duplicates == "group":
        raise ValueError(
            "X must hold images where duplicates='group'. Got rows of numbers instead. Pass groups= for them."
        )
    return None, _bad_images(X, value_range, n_jobs, verbose)


def _holds_images(X, image_shape):
    if image_shape is not None or as_images(X) is not None:
        return True
    shape = getattr(X, "shape", ())
    n_features = shape[1] if len(shape) == 2 else len(next(iter(take_rows(X, [0]))))
    return isqrt(n_features) ** 2 == n_features and n_features >= SMALLEST**2


def _bad_images(X, value_range, n_jobs, verbose):
    try:
        images = as_images(X)
        if images is None:  # rows of numbers, or what only the user's own estimators understand
            return {}
        learned = fit_value_range(images, value_range, on_error="nan")
    except (TypeError, ValueError):  # the fits will say so
        return {}
    with announced(f"Reading {len(images):,} images", verbose):
        return find_bad_images(images.with_value_range(learned, learned=value_range is None), n_jobs=n_jobs)


def kept_together(found, groups, verbose=0):
    """Return the groups that keep near copies on one side of a split, and those of the user's."""
    if verbose:
        n_joined = len(found) - found.max() - 1
        print(f"Near copies: {n_joined:,} images join the group of an earlier one.", flush=True)
    return found if groups is None else joined(found, groups)


def check_bad_images(bad, y, task, on_bad_image, estimators, verbose=0):
    """Return the errors of images that are to be left out; raise if none is to be, or too little remains."""
    if not bad or (on_bad_image == "raise" and not any(map(reads_images, estimators.values()))):
        return {}
    n_images = len(y)
    if on_bad_image == "raise" or len(bad) == n_images:
        raise bad_images_error(list(bad.values()), n_images)
    rest = np.setdiff1d(np.arange(n_images), list(bad))
    check_data(rest, y[rest], None, task)
    if verbose:
        print(f"{len(bad):,} of {n_images:,} images cannot be read and are left out: see the result.", flush=True)
    return bad
