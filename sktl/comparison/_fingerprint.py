"""What a score depends on besides the candidate: the images by their content, and the versions of packages."""

import os
import platform
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib
import numpy as np

from sktl.exceptions import ImageReadError
from sktl.images import as_images

__all__ = ["digest_of_images", "versions"]

PACKAGES = ("sktl", "scikit-learn", "torch", "torchvision", "numpy", "scipy", "pillow", "skorch")


def versions():
    """Find the versions of Python and of the packages that a score depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found


def digest_of_images(X):
    """Identify all images of X by their content: files by their bytes."""
    try:
        images = as_images(X)
    except (TypeError, ValueError):
        images = None
    digest = sha256()
    if images is None:  # rows of numbers, or what only the user's own estimators understand
        digest.update(joblib.hash(X).encode())
        for path in _files_in(X):
            digest.update(_content_of(path))
        return digest.hexdigest()
    for position in range(len(images)):
        try:
            digest.update(images.digest(position))
        except ImageReadError as error:
            digest.update(str(error).encode())
    return digest.hexdigest()


def _files_in(part):
    """Cells of a table, or of rows in lists and dictionaries, that name a file."""
    if isinstance(part, (str, os.PathLike)):
        if os.path.isfile(part):
            yield part
        return
    if isinstance(part, Mapping):
        inside = part.values()
    elif hasattr(part, "columns") and (hasattr(part, "iloc") or hasattr(part, "get_column")):
        inside = (part[name] if hasattr(part, "get_column") else part.iloc[:, name] for name in _columns_of(part))
    elif hasattr(part, "to_list") and hasattr(part, "dtype"):  # a Series
        inside = part.to_list() if getattr(part.dtype, "kind", "O") == "O" else ()
    elif isinstance(part, np.ndarray):
        inside = part.ravel().tolist() if part.dtype.kind in "OUT" else ()
    elif isinstance(part, (list, tuple)):
        inside = part
    else:
        return
    for one in inside:
        yield from _files_in(one)


def _columns_of(frame):
    return frame.columns if hasattr(frame, "get_column") else range(frame.shape[1])


def _content_of(path):
    try:
        return sha256(Path(os.fsdecode(path)).read_bytes()).digest()
    except OSError as error:  # the fit will say so
        return type(error).__name__.encode()
