"""Collections of dask as X: known without importing dask, and judged without computing anything of them."""

import numpy as np

from sktl._optional import import_optional
from sktl._text import shortened
from sktl.images._arrays import has_own_range

__all__ = ["is_dask_collection", "stand_in"]

_SIDE = 8


def is_dask_collection(X):
    """Whether X is a collection of dask: a bag, an array, a series or a frame."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(X, "__dask_graph__")


def stand_in(X, *, value_range=None):
    """Return a small X of the kind of a dask collection, in whose place it can be checked: nothing is computed.

    Raises
    ------
    TypeError
        If X is no bag, array, series or frame.
    ValueError
        If its images are arrays of numbers whose range would have to be read, and no `value_range` is stated.
    """
    picture = np.zeros((_SIDE, _SIDE), dtype=np.uint8)
    if not hasattr(type(X), "to_delayed"):  # of the class: an object of dask.delayed has every attribute
        raise TypeError(
            "X must be a bag, an array, a series or a frame when it is of dask. Got a "
            f"{type(X).__name__} instead; write X.compute()."
        )
    if hasattr(X, "chunks"):
        return [picture] if X.ndim == 1 else _one_of(X, value_range)
    if hasattr(X, "columns"):
        pandas = import_optional("pandas", extra="dask", caller="A frame of dask as X")
        return pandas.DataFrame({name: [picture] for name in X.columns})
    return [picture]


def _one_of(array, value_range):
    """Return an array of zeros with the shape of one image, or row, of an array of dask."""
    shape = (1, *array.shape[1:])
    if np.isnan(shape).any():
        raise ValueError(
            f"X must have images of a known size when it is an array of dask. Got shape {shortened(array.shape, 80)} "
            "instead; call X.compute_chunk_sizes() first."
        )
    if value_range is None and (array.ndim == 2 or not has_own_range(array.dtype)):
        raise ValueError(
            "value_range must be stated for an array of dask whose numbers do not say what black and white are, "
            f"since its values are not read in fit. Got None for dtype {array.dtype} instead; pass "
            "value_range=(0, 1), for instance."
        )
    return np.zeros(shape, dtype=array.dtype)
