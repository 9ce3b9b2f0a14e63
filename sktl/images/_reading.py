"""One item of X → one picture (H, W, 3): a path, encoded bytes, a PIL image, an array or a tensor."""

import os
import re
import stat
from contextlib import contextmanager

from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.images._arrays import array_to_picture, canonical, is_array
from sktl.images._pillow import SIGNATURE_LENGTH, check_file_size, check_signature, decode, from_pil

_FIRST_READ = 1 << 16
_URL = re.compile(r"[a-z][a-z0-9+.-]+:(//|image/)", re.IGNORECASE)  # two letters at least: "C:/…" is a path


def is_path(item):
    """Whether the item names a file."""
    return isinstance(item, (str, os.PathLike))


def is_encoded(item):
    """Whether the item is the content of an image file."""
    return isinstance(item, (bytes, bytearray, memoryview))


def is_pil(item):
    """Whether the item is a PIL image."""
    return isinstance(item, Image.Image)


def is_image_item(item):
    """Whether the item cannot be anything but one image: a row of numbers is not, None is not."""
    if is_path(item) or is_encoded(item) or is_pil(item):
        return True
    return is_array(item) and len(item.shape) >= 2


def path_of(item):
    """Path of the file behind an item as str, None when there is none."""
    if is_path(item):
        # A plain str: numpy's own would show its type in messages.
        return str(os.fsdecode(item))
    return os.fsdecode(getattr(item, "filename", None) or "") or None if is_pil(item) else None


@contextmanager
def named(item, index):
    """Add index and path to an error that does not know them."""
    try:
        yield
    except ImageReadError as error:
        raise ImageReadError(error.reason, index, path_of(item)) from error.__cause__


def read_image(item, *, index=None):
    """Read one image.

    It is not resized, and a value range is not looked for: that is the business of the whole `X`.

    Parameters
    ----------
    item : str, path-like, bytes, PIL image, array or torch tensor
        The image. An array is (H, W), (H, W, C) or (C, H, W) with C in 1, 3, 4; where both layouts fit, an array has
        its channels last and a tensor has them first.
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
    """Return the bytes of an image file, given as path or as bytes; the file is closed again."""
    if is_encoded(item):
        return bytes(item)
    if not is_path(item):
        raise ImageReadError(_junk(item))
    path = os.fsdecode(item)
    if _URL.match(path):
        raise ImageReadError("the path must name a file on this machine. Got a URL instead; download it first.")
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


def _junk(item):
    missing = item is None or item != item  # NaN and NaT differ from themselves
    got = f"{item!r}, a missing value," if missing is True else f"an object of type {type(item).__name__}"
    return f"an image must be a path, bytes, a PIL image or an array of numbers. Got {got} instead."
