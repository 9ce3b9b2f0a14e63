"""The files behind an X, for whoever must not write onto them."""

import numpy as np

from sktl.images._reading import path_of

__all__ = ["files_in"]


def files_in(X):
    """Yield the paths in a list, array, Series or frame; sequences that make their items on access are left alone."""
    if hasattr(X, "iloc"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        X = X.ravel() if X.dtype.kind in "OUT" else ()
    if isinstance(X, list | tuple | np.ndarray):
        for item in X:
            if path := path_of(item):
                yield path
