"""The one door through which an estimator lets X in."""

from __future__ import annotations

import re
from contextlib import contextmanager
from numbers import Number
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sktl._text import shortened
from sktl._validation import check_feature_names
from sktl.images._arrays import is_tensor, to_numpy
from sktl.images._recognition import as_images, is_column, is_frame
from sktl.images._rows import rows_as_images

_RAW = re.compile(r"float\(\) argument|could not convert|setting an array element|must be real number")


def check_images(estimator: Any, X: Any, *, reset: bool, image_shape: tuple[int, ...] | None = None) -> Any:
    """Validate the `X` of an estimator, images or rows of numbers, and keep scikit-learn's bookkeeping.

    Rows of numbers, and whatever is not recognised, are judged by `sklearn.utils.validation.validate_data`, which sets
    or checks `n_features_in_` and `feature_names_in_`. A column of images (a frame, or shape (n, 1)) counts as one
    feature. Images in any other form have no features: both attributes are deleted.

    Parameters
    ----------
    estimator : estimator
        Gets the two attributes, and the private `_fitted_on`, "images" or "rows", when `reset`.
    X : object
        As `as_images` takes it, or rows of numbers.
    reset : bool
        True in `fit`; False where the `X` has to agree with that of `fit`.
    image_shape : tuple of int or None, default=None
        How rows are folded, see `rows_as_images`.

    Returns
    -------
    ImageCollection
        The images, unread.

    Raises
    ------
    TypeError, ValueError
        If `X` is neither, or is rows where `fit` had images, or the reverse, or its column has another name.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from sktl.images import check_images
    >>> estimator = BaseEstimator()
    >>> check_images(estimator, [[0.0, 1.0], [2.0, 3.0]], reset=True)
    ImageCollection(2 images)
    >>> estimator.n_features_in_
    2
    """
    images = as_images(X)
    if images is None:
        return rows_as_images(_check_rows(estimator, X, reset), image_shape=image_shape)
    if reset:
        _remember_images(estimator, X)
    else:
        _compare_images(estimator, X)
    return images


def _check_rows(estimator, X, reset):
    if is_tensor(X):
        X = to_numpy(X)
    if not reset and getattr(estimator, "_fitted_on", "rows") == "images":
        with np.errstate(over="ignore"), _raw_errors_named(X):
            check_array(X, dtype=np.float32, estimator=estimator)  # what is wrong in itself is said first
        raise ValueError(
            f"X must be images, as in fit. Got rows of numbers instead; fit {type(estimator).__name__} on rows, "
            f"or pass images."
        )
    with np.errstate(over="ignore"), _raw_errors_named(X):  # a value beyond float32 becomes infinity, refused by name
        rows = validate_data(estimator, X, reset=reset, dtype=np.float32, order="C")
    if reset:
        estimator._fitted_on = "rows"
    return np.asarray(rows)


@contextmanager
def _raw_errors_named(X):
    """Say what is in X that is no number, where numpy says that float() does not take it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not _RAW.search(str(error)):
            raise
        ragged = "inhomogeneous" in str(error) or "sequence" in str(error)
        raise type(error)(
            "X must be images or rows of numbers: each argument must be an image, such as a path as a string, or a "
            f"number, and rows have one length. Got {'rows of several lengths' if ragged else _odd_one(X)} instead."
        ) from error


def _odd_one(X):
    """Name the first thing in X that is no number."""
    for item in np.asarray(X, dtype=object).ravel():
        if isinstance(item, str):
            return f"the text {shortened(item, 40)!r}"
        if not isinstance(item, (Number, np.generic)):
            return f"an object of type {type(item).__name__}"
    return "something else"


def _remember_images(estimator, X):
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            delattr(estimator, name)
    if is_column(X):
        estimator.n_features_in_ = 1
        check_feature_names(estimator, X, reset=True)
    estimator._fitted_on = "images"


def _compare_images(estimator, X):
    if getattr(estimator, "_fitted_on", "images") == "rows":
        raise ValueError(
            f"X must be rows of numbers, as in fit. Got images instead; fit {type(estimator).__name__} on images, "
            f"or pass rows of {estimator.n_features_in_} numbers."
        )
    if is_frame(X) and hasattr(estimator, "feature_names_in_"):
        check_feature_names(estimator, X, reset=False)
