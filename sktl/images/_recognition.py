"""Is this X a collection of images? If so, make it one; if it is nearly one, say what to write instead."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from sktl.exceptions import ImageReadError
from sktl.images._arrays import channels_last, is_array, is_tensor, to_numpy, unusable
from sktl.images._cells import holds_image, image_in, is_one_cell
from sktl.images._collection import ImageCollection
from sktl.images._lazy import LazyItems
from sktl.images._reading import is_image_item
from sktl.images._refusals import (
    described,
    makes_items,
    refuse_a_single_image,
    refuse_rows_with_images,
    refuse_what_is_no_sequence,
)
from sktl.images.dask_collections import is_dask_collection

_IN_MEMORY = (list, tuple, deque, UserList)
_N_LOOKED_AT = 16  # items that may be missing or damaged before one shows what all of them are
_EMPTY = "X must hold at least one image. Got an empty {} instead."


def as_images(X: Any) -> Any:
    """Recognise `X` as images.

    Parameters
    ----------
    X : object
        A sequence, Series, column of Arrow or one-column frame of paths, URLs, PIL images, encoded bytes, open files,
        arrays or tensors, or of pairs of one of these and a target, which is left alone; a torch data set, or any
        other object with a length that makes its images on access; or an array or tensor (n, H, W), (n, H, W, C) or
        (n, C, H, W) with C in 1, 3, 4. Where both layouts fit, an array has its channels last and a torch tensor has
        them first. What looks like a single colour image is refused: (H, W, C),
        and of a tensor (C, H, W), with C in 3, 4 and more than 4 pixels each way; n = 3 or 4 grey images in a tensor
        are passed as ``X[:, None]``.

    Returns
    -------
    ImageCollection or None
        None when `X` is something else, such as rows of numbers, and scikit-learn's own validation should judge it.

    Raises
    ------
    TypeError, ValueError
        If `X` is meant as images and cannot be used: a single image, a folder, a generator, rows of which the images
        are one column, no images at all, an array of the wrong shape or dtype, with masked values, or without numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import as_images
    >>> as_images(["a.png", "b.png"])
    ImageCollection(2 images)
    >>> as_images([[0.0, 1.0], [2.0, 3.0]]) is None
    True
    """
    if isinstance(X, ImageCollection):
        return X
    if issparse(X):
        return None
    if found := unusable(X):
        raise ValueError(f"X must have a number at each place. Got {found}.")
    refuse_a_single_image(X)
    if is_frame(X):
        return _from_frame(X)
    if is_array(X):
        return _from_array(X)
    if isinstance(X, _IN_MEMORY):
        return _from_items(list(X), type(X).__name__)
    if isinstance(X, Mapping):
        raise TypeError(f"X must be a sequence of images. Got a {type(X).__name__} instead; write list(X.values()).")
    if hasattr(X, "column_names") and makes_items(X):  # a streaming data set has them too
        return _from_table(X)
    refuse_what_is_no_sequence(X)
    return _from_lazy(X) if makes_items(X) else None


def has_rows_of_its_own(X):
    """Whether rows of X can be selected without making what is in them: not of what is read on access."""
    in_memory = (*_IN_MEMORY, ImageCollection, str)
    if isinstance(X, in_memory) or is_dask_collection(X) or is_frame(X):
        return True
    return (is_array(X) and not _is_on_disk(X)) or not makes_items(X)


def is_frame(X):
    """Whether X is a table with named columns, as pandas and polars have it."""
    return len(getattr(X, "shape", ())) == 2 and hasattr(X, "columns") and (hasattr(X, "iloc") or hasattr(X, "row"))


def is_column(X):
    """Whether X is a table with one column, rather than a plain sequence."""
    if hasattr(X, "shape"):
        return len(X.shape) == 2 and X.shape[1] == 1
    return isinstance(X, _IN_MEMORY) and len(X) > 0 and is_one_cell(X[0]) and not is_image_item(X[0])


def _from_frame(frame):
    if frame.shape[0] == 0:
        return None
    if frame.shape[1] == 1:
        column = frame[frame.columns[0]]
        items = list(column)
        return ImageCollection(items) if _are_images(items) or _is_text(column.dtype) else None
    first_row = list(frame.row(0)) if hasattr(frame, "row") else frame.iloc[0].tolist()
    for name, cell in zip(frame.columns, first_row, strict=True):
        if is_image_item(cell):
            raise ValueError(
                f"X must have one column when it holds images or paths. Got {frame.shape[1]} columns instead; "
                f"select the one with the images, for instance X[[{name!r}]]."
            )
    return None


def _from_array(array):
    n_dims = len(array.shape)
    if n_dims == 1:
        return _from_vector(array)
    if n_dims == 2:
        return _from_matrix(array)
    return _from_pixels(array) if n_dims > 2 else None


def _from_vector(array):
    kind = getattr(array.dtype, "kind", "O")
    if kind in "buifcmM" and isinstance(array.dtype, np.dtype):
        return None
    if _is_on_disk(array):
        return _from_lazy(array)
    if kind == "S":
        raise TypeError(
            "X must not be an array of dtype bytes, which loses zeros at the end. Got dtype "
            f"{array.dtype} instead; pass a list of bytes."
        )
    items = list(array)
    if items and _is_text(array.dtype):
        return ImageCollection(items)
    return _from_items(items, type(array).__name__)


def _from_matrix(array):
    """Judge a matrix: one column of images, or numbers, which are not ours."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "OUT" or len(array) == 0:
        return None
    if array.shape[1] == 1:
        items = list(array[:, 0])
        return ImageCollection(items) if _are_images(items) or array.dtype.kind in "UT" else None
    if any(is_image_item(cell) for cell in array[0]):
        raise ValueError(
            f"X must have one column when it holds images or paths. Got {array.shape[1]} columns instead; "
            f"select the one with the images, for instance X[:, [0]]."
        )
    return None


def _from_pixels(array):
    shape = tuple(array.shape)
    dtype = array.dtype if isinstance(array.dtype, np.dtype) else to_numpy(array[:0]).dtype
    if dtype.kind not in "buif":
        raise TypeError(
            f"X must hold booleans, integers or floats when it has {len(shape)} dimensions. Got dtype {dtype} instead; "
            f"convert it, for instance X.astype(numpy.uint8), or pass a list of images."
        )
    if len(shape) > 4:
        raise ValueError(
            f"X must be (n, height, width), (n, height, width, channels) or (n, channels, height, width). "
            f"Got shape {shape} instead."
        )
    if shape[0] == 0:
        raise ValueError(_EMPTY.format(f"array of shape {shape}"))
    if 0 in shape:
        raise ValueError(f"X must hold images that have pixels. Got shape {shape} instead.")
    if len(shape) == 4:
        try:
            channels_last(shape[1:], first_wins=is_tensor(array))
        except ValueError as error:
            raise ValueError(f"In X, {error}") from None
    elif is_tensor(array) and shape[0] in (3, 4) and min(shape[1:]) > 4:
        raise ValueError(
            f"X must be several images. Got a tensor of shape {shape} instead, which looks like a single one: pass "
            f"X[None]; if they are {shape[0]} grey images after all, pass X[:, None], that is X.unsqueeze(1)."
        )
    elif shape[2] in (3, 4) and shape[1] > 4:
        raise ValueError(
            f"X must be several images. Got shape {shape} instead, which looks like a single one: pass X[None]; if "
            f"they are {shape[0]} grey images after all, pass X[..., None]."
        )
    return ImageCollection(array)


def _from_items(items, name):
    if not items:
        raise ValueError(_EMPTY.format(name))
    if _are_images(items) or any(map(holds_image, items)):
        return ImageCollection([image_in(item) for item in items])
    refuse_rows_with_images(items[0])
    if _is_nested(items[0]) and any(_is_nested(row) for row in items[0]):
        return _from_nested(items)
    return None


def _from_table(table):
    """Judge a table of Arrow, or a data set of the Hugging Face Hub."""
    names = list(table.column_names)
    if len(names) == 1:
        return as_images(table[names[0]])
    for name in names if len(table) else ():
        if holds_image(table[name][0]):
            raise ValueError(
                f"X must have one column when it holds images or paths. Got {len(names)} columns instead; select the "
                f"one with the images, for instance X[{name!r}]."
            )
    return None


def _from_lazy(X):
    """Let the first item that is there speak for all of an X that makes its items on access."""
    if len(items := LazyItems(X)) == 0:
        raise ValueError(_EMPTY.format(type(X).__name__))
    item = _first_of(items)
    if item is None or is_image_item(item):
        return ImageCollection(items)
    refuse_rows_with_images(item)
    if isinstance(X, Sequence):
        return _from_items(list(X), type(X).__name__)
    if hasattr(X, "shape"):
        return None
    raise TypeError(
        f"X must be several images. Got a {type(X).__name__} whose first item is {described(item)} instead; if it "
        "holds an image, write a list or a class with __len__ and __getitem__ that gives the images."
    )


def _first_of(items):
    for i in range(min(len(items), _N_LOOKED_AT)):
        try:
            if items[i] is not None:
                return items[i]
        except ImageReadError:  # whoever needs the picture says what is wrong with it
            continue
    return None


def _is_on_disk(array):
    """Whether an array is one of h5py, zarr or dask, which read when they are indexed."""
    return hasattr(array, "chunks") and not is_tensor(array)


def _from_nested(items):
    try:
        array = np.asarray(items)
    except ValueError:
        array = None
    if array is None or array.dtype.kind not in "buif":
        raise ValueError(
            "X must not be a ragged nest of lists. Got lists of different lengths, or without numbers, instead; "
            "make every image an array: [numpy.asarray(image) for image in X]."
        )
    return _from_array(array)


def _are_images(items):
    return any(is_image_item(item) for item in items) or all(item is None for item in items)


def _is_nested(row):
    return isinstance(row, (list, tuple))


def _is_text(dtype):
    """Whether a column is declared as text or binary, so that it holds paths or files even if all are missing."""
    return getattr(dtype, "kind", "") in ("U", "T") or str(dtype).lower().startswith(("str", "binary", "large_string"))
