"""An X that is nearly a collection of images: what to write instead."""

import os
from collections.abc import Mapping, Set

from sktl._text import shortened
from sktl.images._reading import is_encoded, is_image_item, is_path, is_pil, is_record, is_stream, path_of

_TABLE_MARKS = ("__array__", "__dataframe__", "dtype")


def refuse_a_single_image(X):
    """Say how to write one image, or one folder, as an X."""
    if is_path(X):
        if os.path.isdir(X):
            raise TypeError(
                f"X must be a sequence of images. Got the folder {os.fspath(X)!r} instead; "
                f"write sktl.images.load_image_folder({os.fspath(X)!r}).images."
            )
        raise TypeError(f"X must be a sequence of images. Got the single path {path_of(X)!r} instead; write [path].")
    if is_encoded(X) or is_pil(X) or is_stream(X) or is_record(X):
        raise TypeError(f"X must be a sequence of images. Got a single {type(X).__name__} instead; write [image].")


def refuse_what_is_no_sequence(X):
    """Say what to write instead of an X that has no length, no order or no positions."""
    start = f"X must be a sequence of images. Got a {type(X).__name__} instead"
    if isinstance(X, type) or makes_items(X) or any(hasattr(X, mark) for mark in _TABLE_MARKS):
        return
    if hasattr(X, "dataset"):
        raise TypeError(f"{start}, which gives batches; write X.dataset.")
    if isinstance(X, Set):
        raise TypeError(f"{start}, which has no order; write sorted(X).")
    if hasattr(X, "__iter__"):
        raise TypeError(f"{start}, which can be read only once; write list(X).")
    if hasattr(X, "__getitem__"):
        raise TypeError(f"{start}, which has no length; give it a __len__, or write a list of its images.")


def refuse_rows_with_images(item):
    """Say how to take the images out of rows, where the first row has one in it."""
    cells = list(item.items()) if isinstance(item, Mapping) else []
    if isinstance(item, (list, tuple)):
        cells = list(enumerate(item))
    for key, cell in cells if len(cells) > 1 else ():
        if is_image_item(cell):
            raise ValueError(
                f"X must have one column when it holds images or paths. Got rows such as {described(item)} instead; "
                f"select the images, [row[{key!r}] for row in X]."
            )


def described(item):
    """Describe an item in a few words, whatever its size."""
    if isinstance(item, Mapping):
        return f"a dictionary with the keys {shortened(list(item), 80)}"
    if isinstance(item, (list, tuple)):
        kinds = ", ".join(type(cell).__name__ for cell in item[:4])
        return f"a {type(item).__name__} of ({kinds}{', …' if len(item) > 4 else ''})"
    return f"of type {type(item).__name__}"


def makes_items(X):
    """Whether X has a length and gives an item for each position."""
    has_length = hasattr(X, "__len__") or bool(getattr(X, "shape", ()))  # arrays of zarr have the latter alone
    return hasattr(X, "__getitem__") and has_length and not isinstance(X, type)
