"""The data range: values of black and white in arrays, learned once in `fit` and applied to every image afterwards."""

from contextlib import suppress
from warnings import warn

import numpy as np

from sktl._text import shortened
from sktl.exceptions import ImageReadError
from sktl.images._arrays import has_own_range, value_limits

__all__ = ["FROM_THE_FIRST", "checked_range", "fit_value_range", "range_of"]

FROM_THE_FIRST = "from the first"  # for `learned`: not every image of `fit` was looked at

_EIGHT_BIT = (0, 255)


def fit_value_range(images, stated=None, *, on_error="raise"):
    """Return the `value_range_` of an estimator: the range that its user states, else the one that the images show."""
    if stated is not None:
        if checked_range(stated) != _EIGHT_BIT:
            _warn_where_it_has_no_effect(images, stated)
        return tuple(stated)
    learned = images.learn_value_range(on_error=on_error)
    return learned if learned is None else checked_range(learned)


def _warn_where_it_has_no_effect(images, stated):
    """Look at the first image, since others are most often of its kind; one that is made on access does not tell."""
    with suppress(ImageReadError):  # which is raised where images are read
        follows_range = getattr(images.open(0), "follows_range", None)
        if follows_range is not None and not follows_range():
            low, high = stated
            warn(
                f"value_range=({low}, {high}) has no effect on files and PIL images of 8 bits, such as "
                f"{images.describe(0)}: their black and white are 0 and 255. Leave it out, or pass arrays.",
                stacklevel=2,
            )


def checked_range(value_range):
    """Return a range as two floats, or refuse it."""
    try:
        low, high = (float(limit) for limit in value_range)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not (np.isfinite(high - low) and low <= high):
        raise ValueError(
            f"value_range must be two finite numbers, the values of black and white, in ascending order. "
            f"Got {shortened(repr(value_range), 80)} instead."
        )
    return low, high


def range_of(pixels, value_range, learned):
    """Return the range that applies to the pixels of one array: a learned one spares dtypes that say their own."""
    if learned and has_own_range(pixels.dtype):
        return None
    if learned and value_range is None:
        _check_unit_range(pixels)
    if learned == FROM_THE_FIRST and value_range == (0.0, 1.0):
        _check_scale(pixels)
    return value_range


def _check_unit_range(pixels):
    """Refuse numbers of unknown range: taken as they are, bytes turned into floats would be 255 times too bright."""
    low, high = value_limits(pixels)
    if low < 0 or high > 1:
        raise ImageReadError(
            f"numbers of this kind must lie in [0, 1], since fit has seen none from which to learn black and white. "
            f"Got {low:g} to {high:g} instead. Pass uint8, or set value_range=(0, 255), for instance."
        )


def _check_scale(pixels):
    """Refuse numbers that are far from the range that the first image showed: they are on another scale."""
    low, high = value_limits(pixels)
    if low < -1 or high > 2:
        raise ImageReadError(
            f"numbers must lie in [0, 1], as those of the first image of an X that is read on access. "
            f"Got {low:g} to {high:g} instead. Set value_range=(0, 255), for instance."
        )
