"""Rows of numbers (n, n_features) → pictures."""

from __future__ import annotations

from math import isqrt
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from sktl._text import shortened
from sktl.images._arrays import CHANNELS
from sktl.images._collection import ImageCollection

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def rows_as_images(rows: ArrayLike, *, image_shape: tuple[int, ...] | None = None) -> ImageCollection:
    """Fold flattened images back into pictures.

    Parameters
    ----------
    rows : array-like of shape (n, n_features)
        Numbers, one image per row.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) with 1, 3 or 4 channels. None: s × s grey where n_features = s²,
        otherwise a grey strip of height 1.

    Returns
    -------
    ImageCollection
        A view of the rows.

    Raises
    ------
    ValueError
        If `image_shape` does not fit the rows, or it is missing and n_features = 3·s² with s ≥ 4, which are most likely
        colour pictures: whether their channels come first or last, nobody knows but the user.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import rows_as_images
    >>> rows_as_images(np.zeros((2, 64)))[0].shape
    (8, 8, 3)
    >>> rows_as_images(np.zeros((2, 60)), image_shape=(4, 5, 3))[0].shape
    (4, 5, 3)
    """
    rows = np.asarray(rows)
    n_features = rows.shape[1]
    if image_shape is None:
        image_shape = _default_shape(n_features)
    else:
        image_shape = _checked_shape(image_shape, n_features)
    return ImageCollection(rows.reshape(len(rows), *image_shape))


def _default_shape(n_features):
    side = isqrt(n_features)
    if side * side == n_features:
        return side, side
    colour_side = isqrt(n_features // 3)
    if colour_side >= 4 and 3 * colour_side**2 == n_features:
        raise ValueError(
            f"image_shape must be given for rows of {n_features} features, which may be colour pictures of "
            f"{colour_side} × {colour_side} or anything else. Got None instead; pass "
            f"image_shape=({colour_side}, {colour_side}, 3) if the channels of a pixel lie together, "
            f"X.reshape(-1, 3, {colour_side}, {colour_side}) if the channels come one after the other, "
            f"or image_shape=(1, {n_features}) if they are no pictures."
        )
    return 1, n_features


def _checked_shape(image_shape, n_features):
    sizes = tuple(image_shape) if isinstance(image_shape, (tuple, list, np.ndarray)) else ()
    whole = all(isinstance(size, Integral) and not isinstance(size, bool) and size >= 1 for size in sizes)
    if len(sizes) not in (2, 3) or not whole or (len(sizes) == 3 and sizes[2] not in CHANNELS):
        raise ValueError(
            f"image_shape must be (height, width) or (height, width, channels) with 1, 3 or 4 channels. "
            f"Got {shortened(repr(image_shape), 80)} instead."
        )
    if np.prod(sizes, dtype=object) != n_features:
        raise ValueError(
            f"image_shape must multiply to the number of features, {n_features}. "
            f"Got {sizes} instead, which makes {np.prod(sizes, dtype=object)}."
        )
    return tuple(int(size) for size in sizes)
