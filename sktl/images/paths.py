"""The paths of images, where X names files: for whatever is said of them."""

import os
from pathlib import Path

import numpy as np

from sktl.images._collection import ImageCollection
from sktl.images._selection import take_rows

__all__ = ["common_folder", "path_at"]


def path_at(X, index):
    """Return the path of one image; None where X does not name files."""
    if isinstance(X, ImageCollection):
        return None
    row = take_rows(X, [index])
    item = next(iter(row.to_numpy().ravel() if hasattr(row, "to_numpy") else row), None)
    if isinstance(item, np.ndarray) and item.size == 1:  # a table of one column
        item = item.flat[0]
    return str(os.fspath(item)) if isinstance(item, (str, os.PathLike)) else None


def common_folder(X):
    """Name the folder that holds all images, after the one above it; None where X does not name files of one folder."""
    try:
        if path_at(X, 0) is None:
            return None
        rows = np.asarray(X, dtype=object).reshape(len(X), -1)
        folder = Path(os.path.commonpath([os.fspath(path) for path in rows[:, 0]]))
    except (TypeError, ValueError):  # not all are paths, or they have nothing in common
        return None
    above = folder.parent.name if folder.parent != Path.home() else ""
    return os.path.join(above, folder.name) or None
