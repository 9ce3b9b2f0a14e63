"""Handwritten digits that lie anywhere on a page: small, offline, and no task for plain pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import check_random_state

if TYPE_CHECKING:
    from numpy.random import RandomState


_PAGE = 16  # twice the side of a digit


def load_moved_digits(*, random_state: int | RandomState | None = 0) -> Any:
    """Load scikit-learn's digits, each moved to a random place of an empty page twice as wide.

    In the middle of the page, digits are told apart by the pixels themselves. Wherever they may lie, a model has to
    know what is the same in another place: with few labels that is what a pretrained network brings along.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=0
        Draws the places.

    Returns
    -------
    images : ndarray of shape (1797, 16, 16), uint8
        White on black.
    y : ndarray of shape (1797,)
        The digit on each, 0 to 9.

    See Also
    --------
    sklearn.datasets.load_digits : The digits as they are.

    References
    ----------
    .. [1] E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository,
           1998, :doi:`10.24432/C50P49`.

    Examples
    --------
    >>> from sktl.datasets import load_moved_digits
    >>> images, y = load_moved_digits()
    >>> images.shape, images.dtype, y[:3]
    ((1797, 16, 16), dtype('uint8'), array([0, 1, 2]))
    """
    digits, y = load_digits(return_X_y=True)
    digits = np.rint(digits.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = np.zeros((len(digits), _PAGE, _PAGE), dtype=np.uint8)
    places = check_random_state(random_state).randint(_PAGE - 8 + 1, size=(len(digits), 2))
    for page, digit, (top, left) in zip(images, digits, places, strict=True):
        page[top : top + 8, left : left + 8] = digit
    return images, y
