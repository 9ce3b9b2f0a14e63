"""Rows of X in the kind X came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sktl.images._recognition import as_images, has_rows_of_its_own

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["read_once", "take_rows"]


def read_once(X: Any) -> Any:
    """Return an X whose rows can be selected, and whose images are not made anew by everyone who asks.

    Parameters
    ----------
    X : sequence of length n_images
        Whatever an estimator takes.

    Returns
    -------
    sequence of length n_images
        `X` itself where its images are in memory or its items are paths; an `ImageCollection` where they are made or
        read on access, as by a torch data set, a column of a Hugging Face data set or an array of h5py or zarr.

    Examples
    --------
    >>> from sktl.images import read_once
    >>> read_once(["a.png", "b.png"])
    ['a.png', 'b.png']
    """
    try:
        images = None if has_rows_of_its_own(X) else as_images(X)
    except (TypeError, ValueError):  # whoever needs images says so
        images = None
    return X if images is None else images


def take_rows(X: Any, indices: NDArray[Any]) -> Any:
    """Select rows of X in the kind X came in: array, tensor, data frame, Series, `ImageCollection`, or list.

    Parameters
    ----------
    X : sequence of length n_images
        Whatever an estimator takes.
    indices : ndarray of int
        Positions in `X`.

    Returns
    -------
    sequence of length n_indices
        Of the kind of `X`; a list for every other sequence.

    Examples
    --------
    >>> from sktl.images import take_rows
    >>> take_rows(["a.png", "b.png", "c.png"], [2, 0])
    ['c.png', 'a.png']
    """
    if hasattr(X, "iloc"):
        return X.iloc[indices]
    if type(X).__module__.startswith("pyarrow"):
        return X.take(indices)
    if hasattr(X, "shape"):
        return X[indices]
    return [X[i] for i in indices]
