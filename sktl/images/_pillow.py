"""Encoded bytes or a PIL image → the picture that a person sees, as an array (H, W, 3) of uint8."""

import io
import os
import re
import struct
import threading
import warnings
from contextlib import contextmanager, nullcontext, suppress

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from sktl.exceptions import ImageReadError
from sktl.images._arrays import array_to_picture
from sktl.images._completeness import load_whole
from sktl.images._plugins import hint, register_plugin
from sktl.images.formats import FORMATS

SIGNATURE_LENGTH = 16  # what Pillow shows to its plug-ins
_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_BOMB = "If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS, or make the picture smaller."
_ORIENTATION = 0x0112  # tag of EXIF
_BLOCK = 1 << 20  # pixels
_SIXTEEN_BIT = (0, 65535)  # of which the upper 8 bits are 0 to 255
_WIDE_COLOUR = (
    "the image must be grey where it has more than 8 bits and value_range is set. Got 16-bit colour instead, of which "
    "Pillow keeps the upper 8 bits; read it with tifffile or OpenCV, and pass arrays."
)

# EXIF orientation → what makes the stored pixels upright (rows, columns, colours).
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


class _StrictPillow:
    """Hold Pillow's process-wide switches while at least one thread reads, and put them back after the last one.

    Pillow's warnings (odd metadata, large pictures) are ignored, since what matters is raised as an error here, and
    ``LOAD_TRUNCATED_IMAGES`` is off, since it turns damage into grey areas without a word. Counting the readers is what
    makes this safe in threads: ``warnings.catch_warnings`` blocks that overlap put back each other's filters.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._readers = 0

    def __enter__(self):
        with self._lock:
            if self._readers == 0:
                self._filters = warnings.filters
                self._filters.insert(0, _SILENCE)
                self._tolerant = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._readers += 1

    def __exit__(self, *exception):
        with self._lock:
            self._readers = max(self._readers - 1, 0)  # none is left in a child of a fork
            if self._readers == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._tolerant
                with suppress(ValueError):
                    self._filters.remove(_SILENCE)

    def forget_readers(self):
        """Put everything back in a child process, which has the counts and locks of threads that it does not have."""
        self._lock = threading.Lock()
        if self._readers:
            self._readers = 1
            self.__exit__()


_STRICT = _StrictPillow()
_LOADING = threading.RLock()  # one PIL image may occur twice in X, and reads its file on first use, unsafe in threads


def _after_fork_in_child():
    _LOADING.release()
    _STRICT.forget_readers()


if hasattr(os, "register_at_fork"):  # held meanwhile, so that no image is half read in the child
    os.register_at_fork(before=_LOADING.acquire, after_in_parent=_LOADING.release, after_in_child=_after_fork_in_child)


@contextmanager
def _pillow_errors_named(start=b""):
    """Turn whatever Pillow raises on damaged data, with these first bytes, into one kind of error."""
    try:
        yield
    except (ImageReadError, MemoryError):
        raise
    except UnidentifiedImageError:
        known = "the image is damaged or cut off, Pillow finds no picture in it" if _is_known(start) else None
        raise ImageReadError(
            hint(start)
            or known
            or "the data must be an image in a format that Pillow reads (PNG, JPEG, GIF, BMP, TIFF, WebP, …). "
            "Got something else instead."
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageReadError(f"{error} {_BOMB}") from None
    except Exception as error:  # plug-ins raise nearly everything: SyntaxError, struct.error, EOFError, KeyError, …
        raise ImageReadError(f"the image is damaged or cut off, Pillow says: {error}") from error


def check_signature(start):
    """Refuse a file by its first bytes, before the rest is read."""
    Image.init()
    with _pillow_errors_named(start):
        register_plugin(start)
        if start and not _is_known(start):
            raise UnidentifiedImageError


def _is_known(start):
    return any(_accepts(Image.OPEN[name][1], start) for name in FORMATS if name in Image.OPEN)


def _accepts(accept, start):
    try:
        return accept is None or bool(accept(start))  # a text is for decode, it says which plug-in lacks a library
    except (SyntaxError, IndexError, TypeError, struct.error):  # too few bytes
        return False


def check_file_size(n_bytes, *, is_all=True):
    """Refuse a file that is larger than any picture in it may be; of one that is being read, as soon as that shows."""
    limit = None if Image.MAX_IMAGE_PIXELS is None else 8 * Image.MAX_IMAGE_PIXELS + 2**26
    if limit is not None and n_bytes > limit:
        raise ImageReadError(
            f"the file must have at most {limit} bytes, which hold {Image.MAX_IMAGE_PIXELS} pixels of 16-bit RGBA. "
            f"Got {'' if is_all else 'at least '}{n_bytes} bytes instead. If you trust the file, raise "
            "PIL.Image.MAX_IMAGE_PIXELS; of several pages or frames, save the first one as a file."
        )


def decode(data, value_range=None):
    """Decode the bytes of an image file to (H, W, 3): the first frame of an animation, or page of a TIFF.

    uint8, or float32 where a range is stated and pixels have more than 8 bits.
    """
    if len(data) == 0:
        raise ImageReadError("the image must have content. Got 0 bytes instead.")
    with _opened(data) as image:
        _check_size(image)
        return _picture(image, lambda: data, value_range, nullcontext())


def encoded_size(data):
    """Return height and width of an image file from its first bytes, before it is turned upright."""
    with _opened(data) as image:
        return image.height, image.width


def encoded_mode(data):
    """Return what the pixels of an image file are, by Pillow's name ("L", "RGB", "I;16", …), from its first bytes."""
    with _opened(data) as image:
        return image.mode


def load(image):
    """Decode a PIL image that has not read its file yet, and so close the file."""
    with _STRICT, _pillow_errors_named(), _LOADING:
        load_whole(image, lambda: _file_of(image))


def encoded_follows_range(data):
    """Whether a stated range applies to an image file, by its first bytes."""
    with _opened(data) as image:
        return follows_range(image)


def follows_range(image):
    """Whether a stated range applies to a PIL image: where pixels have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F" or _is_wide_colour(image)


@contextmanager
def _opened(data):
    Image.init()
    start = bytes(data[:SIGNATURE_LENGTH])
    with _STRICT, _pillow_errors_named(start):
        register_plugin(start)
        formats = [name for name in FORMATS if name in Image.OPEN]
        with Image.open(io.BytesIO(data), formats=formats) as image:
            yield image


def from_pil(image, value_range=None):
    """Convert a PIL image as `decode` does, without changing it; a file that it has not read yet is read now."""
    with _STRICT, _pillow_errors_named():
        if 0 in image.size:
            raise ImageReadError(f"the image must have pixels. Got size {image.size} instead.")
        return _picture(image, lambda: _file_of(image), value_range, _LOADING)


def _file_of(image):
    """Return the bytes of the file that a PIL image has not read yet."""
    position = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(position)
    return data


def _picture(image, read, value_range, lock):
    with lock:
        if value_range is not None and tuple(value_range) != _SIXTEEN_BIT and _is_wide_colour(image):
            raise ImageReadError(_WIDE_COLOUR)
        load_whole(image, read)
        orientation = _orientation(image)
    return _upright_picture(image, orientation, value_range)


def _is_wide_colour(image):
    """Whether Pillow will keep the upper 8 bits of the 16 that a channel of a file has."""
    return not image.mode.startswith("I") and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _check_size(image):
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ImageReadError(
            f"the image must have at most {limit} pixels. Got {image.width} × {image.height} instead, which could be a "
            f"decompression bomb. {_BOMB}"
        )


def _upright_picture(image, orientation, value_range):
    """Convert some rows at a time, since what lies between is larger than the picture."""
    n_rows = max(_BLOCK // image.width, 1)
    picture = _some_rows(image, 0, n_rows, value_range)
    if n_rows < image.height:
        first, picture = picture, np.empty((image.height, image.width, 3), picture.dtype)
        picture[:n_rows] = first
        for start in range(n_rows, image.height, n_rows):
            picture[start : start + n_rows] = _some_rows(image, start, n_rows, value_range)
    return np.ascontiguousarray(_UPRIGHT[orientation](picture)) if orientation in _UPRIGHT else picture


def _some_rows(image, start, n_rows, value_range):
    if n_rows < image.height:
        image = image.crop((0, start, image.width, min(start + n_rows, image.height)))
    pixels = _pixels(image, value_range)
    return array_to_picture(pixels, None if pixels.dtype == np.uint8 else value_range)


def _orientation(image):
    """EXIF orientation, asked after loading because Pillow turns TIFF itself; broken EXIF counts as none."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a readable picture with unreadable metadata is a readable picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _pixels(image, value_range):
    """Pixels as uint8 or uint16 (H, W, C), C in 1, 3, 4, or any number where a range is stated."""
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image)[..., None].astype(np.uint16)
    if mode in ("I", "F") and value_range is not None:
        return np.asarray(image)[..., None]
    if mode == "I":
        return _sixteen_bit(np.asarray(image))[..., None]
    if mode == "F":
        raise ImageReadError(
            "the image must have integer pixels. Got floating-point ones instead, whose range no file states; "
            "set value_range, or pass numpy.asarray(image)."
        )
    if mode == "La":  # Pillow has one way only out of grey with premultiplied opacity
        image, mode = image.convert("LA"), "LA"
    if mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") or (mode in ("1", "L", "RGB") and "transparency" in image.info):
        return np.asarray(image.convert("RGBA"))
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _sixteen_bit(values):
    """Pillow hands 16-bit grey over as 32-bit integers in some versions and formats; more than 16 bits has no range."""
    if values.min() < 0 or values.max() > 65535:
        raise ImageReadError(
            f"32-bit integer pixels must lie in 0 … 65535. Got {values.min()} … {values.max()} instead; "
            f"set value_range, or pass numpy.asarray(image)."
        )
    return values.astype(np.uint16)
