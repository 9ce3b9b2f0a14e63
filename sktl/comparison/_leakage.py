"""Leakage by near duplicates: copies of one image on both sides of a split flatter every candidate."""

import warnings

import numpy as np

from sktl.comparison._warnings import NearDuplicatesWarning
from sktl.images.paths import path_at
from sktl.near_duplicates import find_leaks

__all__ = ["warn_of_near_duplicates"]


def warn_of_near_duplicates(found, X, splits, groups, reading):
    """Warn of near copies across the splits, and return what goes into the settings of the comparison.

    What was found is without groups of the user's, which hold images that are no copies.
    """
    if found is None:
        return {"near_duplicates": None, "near_copies": []}
    near_copies = _groups_of_several(found, X)
    leaks = find_leaks(found, splits, most=1)
    if not leaks:
        return {"near_duplicates": None, "near_copies": near_copies}
    text = _text(leaks, len(splits), _pair(leaks, X), _advice(groups, reading))
    warnings.warn(text, NearDuplicatesWarning, stacklevel=5)
    return {"near_duplicates": text, "near_copies": near_copies}


def _groups_of_several(found, X):
    """List the images of every group that has more than one, with their paths where there are some."""
    order = np.argsort(found, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(found[order])) + 1)
    several = (group.tolist() for group in groups if len(group) > 1)
    return [[{"image": image, "file": path_at(X, image)} for image in group] for group in several]


def _advice(groups, reading):
    """Write the call that keeps copies together, with what it needs to read the images."""
    stated = {name: reading[name] for name in ("image_shape", "value_range")}
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
        f"with duplicates='group', or with groups={advice}, which is in sktl.near_duplicates."
    )
