"""Features without any network: each image as a small picture. What they score, a network has to beat."""

from __future__ import annotations

import time
from collections import OrderedDict
from numbers import Integral
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sktl._forking import free_after_fork
from sktl._pages import PageMixin
from sktl._validation import Interval, check_feature_names_in, fit_context
from sktl.feature_extraction._read_once import ReadOnceMixin
from sktl.images import check_images
from sktl.images.value_range import fit_value_range
from sktl.inference.progress import keep

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


__all__ = ["PixelFeatures"]

COLOURS = ("red", "green", "blue")
# Decoding photographs takes far longer than anything else here, and cross-validation comes back to each of them.
_KEPT: OrderedDict = OrderedDict()  # (digest, size) → vector
_LOCK = free_after_fork(Lock())
_MAX_BYTES = 64 << 20


class PixelFeatures(ReadOnceMixin, PageMixin, BaseEstimator):
    """Each image as a small picture, flattened: features without a network.

    The picture that a person sees, turned upright and in colour, is divided into ``size`` × ``size`` fields, whatever
    its proportions, and each field gives the mean of its red, green and blue. A classifier on these features knows
    colours and coarse shapes and nothing else.

    Parameters
    ----------
    size : int, default=16
        Fields along each side.
    image_shape : tuple of int, default=None
        Shape of the images when `X` holds flattened ones: (height, width) or (height, width, channels).
    value_range : tuple of two float, default=None
        Values of black and white in images of floats. None: (0, 1) when all values in `fit` lie in it, otherwise the
        smallest and the largest.

    Attributes
    ----------
    value_range_ : tuple of two float or None
        The range in use; None when the images say it themselves.
    n_features_in_ : int
        Number of columns of `X`; only there when `X` is a table.
    feature_names_in_ : ndarray of str
        Names of the columns of `X`; only there when it has some.

    See Also
    --------
    sktl.PretrainedFeatureExtractor : Features from a network.

    Notes
    -----
    The vectors of some thousand images are kept in memory by their content, so that cross-validation decodes each
    image once per process.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.feature_extraction import PixelFeatures
    >>> digits = load_digits()
    >>> PixelFeatures(size=4).fit_transform(digits.images[:20]).shape
    (20, 48)
    """

    _parameter_constraints: dict = {
        "size": [Interval(Integral, 1, None, closed="left")],
        "image_shape": ["array-like", None],
        "value_range": ["array-like", None],
    }

    def __init__(
        self,
        size: int = 16,
        *,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.size = size
        self.image_shape = image_shape
        self.value_range = value_range

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the range of values of pictures that are made of numbers.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Whatever sktl reads; see the user guide on images.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        self : PixelFeatures
            The fitted transformer.

        Raises
        ------
        ImageReadError
            If a picture made of numbers cannot be read.
        ValueError
            If `X` holds no images, or `image_shape` or `value_range` do not fit them.
        """
        images = check_images(self, X, reset=True, image_shape=self.image_shape)
        self.value_range_ = fit_value_range(images, self.value_range)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Turn images into vectors.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Of the same kind as in `fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, 3 * size**2), float32
            From 0, black, to 1, white.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        check_is_fitted(self)
        images = check_images(self, X, reset=False, image_shape=self.image_shape)
        images = images.with_value_range(self.value_range_, learned=self.value_range is None)
        features = np.empty((len(images), self._n_features_out), dtype=np.float32)
        for position in range(len(images)):
            features[position] = _vector(images.open(position), self.size)
        return features

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Name the features by row, column and colour of their field.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            The names of the columns of `X`, which say nothing about the features: only checked, when `X` had columns.

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (3 * size**2,)
            For instance ``pixel_00_07_red``.

        Raises
        ------
        ValueError
            If `input_features` are others than those seen in `fit`.
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features, generate_names=False)
        fields = [f"{number:0{len(str(self.size - 1))}d}" for number in range(self.size)]
        names = [f"pixel_{row}_{column}_{colour}" for row in fields for column in fields for colour in COLOURS]
        return np.array(names, dtype=object)

    @property
    def _n_features_out(self):
        return 3 * self.size**2

    def __sklearn_is_fitted__(self):
        return hasattr(self, "value_range_")

    def __sklearn_tags__(self):
        """Say that vectors are always float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _vector(opened, size):
    """Return the vector of one image, from memory where it was computed before."""
    key = opened.digest(), size
    with _LOCK:
        if key in _KEPT:
            _KEPT.move_to_end(key)
            return _KEPT[key]
    start = time.perf_counter()
    picture = opened.picture()
    highest = 255 if picture.dtype == np.uint8 else 1
    small = _averaged(_averaged(picture, size, axis=0), size, axis=1) / highest
    vector = np.clip(small, 0, 1, dtype=np.float32).ravel()
    with _LOCK:
        _KEPT[key] = vector
        while len(_KEPT) * vector.nbytes > _MAX_BYTES:
            _KEPT.popitem(last=False)
    keep(time.perf_counter() - start)
    return vector


def _averaged(picture, size, axis):
    """Divide one axis into so many parts and average each; a shorter axis is repeated instead."""
    n_pixels = picture.shape[axis]
    starts = np.arange(size) * n_pixels // size
    if n_pixels < size:
        return np.take(picture, starts, axis).astype(np.float32)
    n_in_part = np.diff(starts, append=n_pixels).astype(np.float32)
    sums = np.add.reduceat(picture, starts, axis, dtype=np.float32)
    return sums / (n_in_part[:, None, None] if axis == 0 else n_in_part[:, None])
