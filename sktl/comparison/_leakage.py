"""Leakage by near duplicates: copies of one image on both sides of a split flatter every candidate."""

import warnings

from sktl.comparison._warnings import NearDuplicatesWarning
from sktl.near_duplicates import find_leaks

__all__ = ["warn_of_near_duplicates"]


def warn_of_near_duplicates(found, splits, groups, reading):
    """Warn of near copies across the splits, where they were looked for."""
    copies = None if found is None else find_leaks(found, splits, most=1)
    if not copies:
        return None
    text = _text(copies, len(splits), _advice(groups, reading))
    warnings.warn(text, NearDuplicatesWarning, stacklevel=5)
    return text


def _advice(groups, reading):
    """Write the call that keeps copies together, with what it needs to read the images."""
    stated = {name: reading[name] for name in ("image_shape", "value_range")}
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
