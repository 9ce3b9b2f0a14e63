"""What `on_error` does in training: bad images are left out, together with their labels."""

import warnings

import numpy as np
from sklearn.utils import check_consistent_length

from sktl._text import first_of
from sktl.images import take_rows
from sktl.inference import find_bad_images

_NAMED = 20  # in the warning


def without_bad_images(images, *parts, name, n_jobs):
    """Return errors of the images that cannot be read, and the rows of each part that belong to the others."""
    check_consistent_length(images, *parts)
    bad = find_bad_images(images, n_jobs=n_jobs)
    if len(bad) == len(images) > 0:
        raise next(iter(bad.values()))
    if not bad:
        return [], parts
    warnings.warn(
        f"{len(bad)} of {len(images)} images of {name} cannot be read and are left out: "
        f"{first_of(bad.values(), _NAMED)}. bad_images_ lists them.",
        stacklevel=2,
    )
    kept = np.setdiff1d(np.arange(len(images)), list(bad))
    return list(bad.values()), tuple(None if part is None else take_rows(part, kept) for part in parts)
