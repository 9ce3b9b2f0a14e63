"""One item of X → one picture (H, W, 3): a path, a URL, encoded bytes, a file, a PIL image, an array or a tensor."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

from sktl._forking import free_after_fork
from sktl._text import shortened
from sktl.exceptions import ImageReadError
from sktl.images._arrays import array_to_picture, canonical, is_array, n_dims
from sktl.images._pillow import SIGNATURE_LENGTH, check_file_size, check_signature, decode, from_pil
from sktl.images._remote import fetched

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FIRST_READ = 1 << 16
_LONGEST_PATH = 4096
# Two letters at least: "C:/…" is a path. fsspec writes "simplecache::s3://…".
_URL = re.compile(r"([a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[a-z]+/", re.IGNORECASE)
_seeking = free_after_fork(threading.Lock())  # one open file may occur twice in X, and has one position


def is_path(item):
    """Whether the item names a file."""
    return isinstance(item, (str, os.PathLike))


def is_encoded(item):
    """Whether the item is the content of an image file."""
    return isinstance(item, (bytes, bytearray, memoryview))


def is_pil(item):
    """Whether the item is a PIL image."""
    return isinstance(item, Image.Image)


def is_stream(item):
    """Whether the item is an open file, or BytesIO."""
    return hasattr(item, "read") and hasattr(item, "seek")


def is_record(item):
    """Whether the item is a file as data sets of the Hugging Face Hub hold it: a dictionary of bytes and path."""
    return isinstance(item, Mapping) and bool(item) and {*item} <= {"bytes", "path"}


def is_remote(item):
    """Whether the item is the URL of an image."""
    return isinstance(item, str) and _URL.match(item) is not None


def names_a_file(path):
    """Whether a text may be the path of a file on this system: no URL, and not the content of one."""
    return not is_remote(path) and not _DATA_URL.match(path) and len(path) <= _LONGEST_PATH


def is_image_item(item):
    """Whether the item cannot be anything but one image: a row of numbers is not, None is not."""
    if is_path(item) or is_encoded(item) or is_pil(item) or is_stream(item) or is_record(item):
        return True
    return is_array(item) and n_dims(item) >= 2


def path_of(item):
    """Path of the file behind an item as str, None when there is none; a text that is no path is cut."""
    if is_record(item):
        item = item.get("path")
    if is_path(item):
        # A plain str: numpy's own would show its type in messages.
        path = str(os.fsdecode(item))
        return path if len(path) <= _LONGEST_PATH else f"{path[:60]}…"
    if is_stream(item) and not is_pil(item):
        name = getattr(item, "name", None)
        return os.fsdecode(name) if is_path(name) else None
    return os.fsdecode(getattr(item, "filename", None) or "") or None if is_pil(item) else None


@contextmanager
def named(item, index):
    """Add index and path to an error that does not know them."""
    try:
        yield
    except ImageReadError as error:
        raise ImageReadError(error.reason, index, path_of(item)) from error.__cause__


def read_image(item: Any, *, index: int | None = None) -> NDArray[Any]:
    """Read one image.

    It is not resized, and a value range is not looked for: that is the business of the whole `X`.

    Parameters
    ----------
    item : str, path-like, bytes, open file, dict, PIL image, array or torch tensor
        The image. A str may be a URL; a dict has the keys ``"bytes"`` and ``"path"``; an array is (H, W), (H, W, C) or
        (C, H, W) with C in 1, 3, 4; where both layouts fit, an array has its channels last and a tensor has them first.
    index : int or None, default=None
        Position of the image in `X`, for error messages.

    Returns
    -------
    ndarray of shape (H, W, 3)
        What a person sees, upright, without transparency (over white), grey repeated three times. uint8; float32 with
        untouched values for arrays of floats and of integers other than uint8 and uint16, where opacity, if any, is
        taken to lie in [0, 1]. Contiguous, and always a copy.

    Raises
    ------
    ImageReadError
        If the item cannot be read in full; a picture is never returned in part.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import read_image
    >>> picture = read_image(np.full((4, 6), True))
    >>> picture.shape, picture.dtype.name, int(picture.max())
    ((4, 6, 3), 'uint8', 255)
    """
    with named(item, index):
        if is_array(item):
            return array_to_picture(canonical(item))
        return from_pil(item) if is_pil(item) else decode(content(item))


def content(item):
    """Return the bytes of an image file, given as path, URL, bytes or open file; what is opened is closed again."""
    if is_record(item):
        item = item.get("path") if item.get("bytes") is None else item["bytes"]
    if is_encoded(item):
        return bytes(item)
    if is_stream(item):
        return _stream_content(item)
    if not is_path(item):
        raise ImageReadError(_junk(item))
    path = os.fsdecode(item)
    if is_remote(path):
        return fetched(path)
    if _DATA_URL.match(path):
        raise ImageReadError(
            "the path must name a file. Got a data URL instead; pass base64.b64decode(text.partition(',')[2])."
        )
    if len(path) > _LONGEST_PATH:
        raise ImageReadError(
            f"the path must have at most {_LONGEST_PATH} characters. Got a text of {len(path)} instead; if it is the "
            "content of a file in base64, pass base64.b64decode(text)."
        )
    try:
        return _file_content(path)
    except FileNotFoundError:
        reason = "the file does not exist. Check the spelling; a relative path starts at the working directory."
        raise ImageReadError(reason) from None
    except OSError as error:
        raise ImageReadError(f"the file cannot be opened, the system says: {error}") from error


def _file_content(path):
    if "\0" in path:
        raise ImageReadError("the path must name a file. Got a NUL character in it instead; was it meant as bytes?")
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ImageReadError(
            "the path must name a file. Got a directory instead; sktl.images.load_image_folder lists the images of one."
        )
    if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
        raise ImageReadError("the path must name a regular file. Got a pipe, socket or device instead.")
    with open(path, "rb", buffering=0) as file:
        start = file.read(_FIRST_READ)  # all of most pictures, and not all of what is none
        check_signature(start[:SIGNATURE_LENGTH])
        check_file_size(status.st_size)
        return start + file.readall()


def _stream_content(file):
    """Return all that an open file holds, wherever it stands, and leave it there."""
    if isinstance(file, io.TextIOBase):
        raise ImageReadError("the file must be open for bytes. Got one open for text; use open(path, 'rb').")
    try:
        with _seeking:
            position = file.tell()
            try:
                n_bytes = file.seek(0, os.SEEK_END)
                file.seek(0)
                start = file.read(_FIRST_READ)
                check_signature(start[:SIGNATURE_LENGTH])
                check_file_size(n_bytes)
                return start + file.read()
            finally:
                file.seek(position)
    except (OSError, ValueError, AttributeError, TypeError) as error:  # closed, a connection, or asynchronous
        if isinstance(error, ImageReadError):
            raise
        raise ImageReadError(
            f"the open file cannot be read from its beginning, the system says: {error}. Pass its bytes, file.read()."
        ) from error


def _junk(item):
    missing = item is None or item != item  # NaN and NaT differ from themselves
    if missing is True:
        got = f"{item!r}, a missing value,"
    elif isinstance(item, Mapping):
        got = f"a dictionary with the keys {shortened(list(item), 80)}"
    else:
        got = f"an object of type {type(item).__name__}"
    return f"an image must be a path, a URL, bytes, a file, a PIL image or an array of numbers. Got {got} instead."
