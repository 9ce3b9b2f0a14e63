"""Is this X a collection of images? If so, make it one; if it is nearly one, say what to write instead."""

import os
from collections.abc import Mapping, Sequence, Set

import numpy as np
from scipy.sparse import issparse

from sktl.images._arrays import channels_last, is_array, is_tensor, to_numpy
from sktl.images._collection import ImageCollection
from sktl.images._reading import is_encoded, is_image_item, is_path, is_pil

_EMPTY = "X must hold at least one image. Got an empty {} instead."


def as_images(X):
    """Recognise `X` as images.

    Parameters
    ----------
    X : object
        A sequence, Series or one-column frame of paths, PIL images, encoded bytes, arrays or tensors; or an array or
        tensor (n, H, W), (n, H, W, C) or (n, C, H, W) with C in 1, 3, 4. Where both layouts fit, an array has its
        channels last and a torch tensor has them first. What looks like a single colour image is refused: (H, W, C),
        and of a tensor (C, H, W), with C in 3, 4 and more than 4 pixels each way; n = 3 or 4 grey images in a tensor
        are passed as ``X[:, None]``.

    Returns
    -------
    ImageCollection or None
        None when `X` is something else, such as rows of numbers, and scikit-learn's own validation should judge it.

    Raises
    ------
    TypeError, ValueError
        If `X` is meant as images and cannot be used: a single image, a folder, a torch data set, a generator, no
        images at all, an array of the wrong shape or dtype.

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
    _refuse_a_single_image(X)
    if issparse(X):
        return None
    if is_frame(X):
        return _from_frame(X)
    if is_array(X):
        return _from_array(X)
    if isinstance(X, Sequence):
        return _from_items(list(X), type(X).__name__)
    _refuse_what_is_no_sequence(X)
    return None


def is_frame(X):
    """Whether X is a table with named columns, as pandas and polars have it."""
    return len(getattr(X, "shape", ())) == 2 and hasattr(X, "columns") and (hasattr(X, "iloc") or hasattr(X, "row"))


def is_column(X):
    """Whether X is a table with one column, rather than a plain sequence."""
    if hasattr(X, "shape"):
        return len(X.shape) == 2 and X.shape[1] == 1
    return isinstance(X, Sequence) and len(X) > 0 and _is_one_cell(X[0]) and not is_image_item(X[0])


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
    if _are_images(items):
        return ImageCollection(items)
    if _is_one_cell(items[0]) and any(is_image_item(cell[0]) for cell in items if _is_one_cell(cell)):
        return ImageCollection([cell[0] if _is_one_cell(cell) else cell for cell in items])
    if _is_nested(items[0]) and any(_is_nested(row) for row in items[0]):
        return _from_nested(items)
    return None


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


def _is_one_cell(row):
    return isinstance(row, (list, tuple, np.ndarray)) and getattr(row, "ndim", 1) > 0 and len(row) == 1


def _is_nested(row):
    return isinstance(row, (list, tuple))


def _is_text(dtype):
    """Whether a column is declared as text or binary, so that it holds paths or files even if all are missing."""
    return getattr(dtype, "kind", "") in ("U", "T") or str(dtype).lower().startswith(("str", "binary", "large_string"))


def _refuse_a_single_image(X):
    if is_path(X):
        if os.path.isdir(X):
            raise TypeError(
                f"X must be a sequence of images. Got the folder {os.fspath(X)!r} instead; "
                f"write sktl.images.load_image_folder({os.fspath(X)!r}).images."
            )
        raise TypeError(f"X must be a sequence of images. Got the single path {os.fspath(X)!r} instead; write [path].")
    if is_encoded(X) or is_pil(X):
        raise TypeError(f"X must be a sequence of images. Got a single {type(X).__name__} instead; write [image].")


def _refuse_what_is_no_sequence(X):
    name = type(X).__name__
    if any(hasattr(X, mark) for mark in ("__array__", "__dataframe__", "dtype")) or isinstance(X, type):
        return
    if isinstance(X, Mapping):
        raise TypeError(f"X must be a sequence of images. Got a {name} instead; write list(X.values()).")
    if isinstance(X, Set):
        raise TypeError(f"X must be a sequence of images. Got a {name} instead, which has no order; write sorted(X).")
    if hasattr(X, "__getitem__"):
        raise TypeError(
            f"X must be a sequence of images. Got a {name} instead; if it is a data set of (image, target) pairs, "
            f"write X = [pair[0] for pair in dataset] and y = [pair[1] for pair in dataset]."
        )
    if hasattr(X, "__iter__"):
        raise TypeError(
            f"X must be a sequence of images. Got a {name} instead, which can be read only once; write list(X)."
        )
