"""Encoded bytes or a PIL image → the picture that a person sees, as an array (H, W, 3) of uint8."""

import io
import re
import struct
import threading
import warnings
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from sktl.exceptions import ImageReadError
from sktl.images._arrays import array_to_picture
from sktl.images.formats import FORMATS

SIGNATURE_LENGTH = 16  # what Pillow shows to its plug-ins
_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_BOMB = "If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS, or make the picture smaller."
_ORIENTATION = 0x0112  # tag of EXIF

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
            self._readers -= 1
            if self._readers == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._tolerant
                with suppress(ValueError):
                    self._filters.remove(_SILENCE)


_STRICT = _StrictPillow()
_LOADING = threading.Lock()  # one PIL image may occur twice in X, and reads its file on first use, unsafe in threads


@contextmanager
def _pillow_errors_named():
    """Turn whatever Pillow raises on damaged data into one kind of error."""
    try:
        yield
    except (ImageReadError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageReadError(
            "the data must be an image in a format that Pillow reads (PNG, JPEG, GIF, BMP, TIFF, WebP, …). "
            "Got something else instead."
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageReadError(f"{error} {_BOMB}") from None
    except Exception as error:  # plug-ins raise nearly everything: SyntaxError, struct.error, EOFError, KeyError, …
        raise ImageReadError(f"the image is damaged or cut off, Pillow says: {error}") from error


def check_signature(start):
    """Refuse a file by its first bytes, before the rest is read."""
    Image.init()
    with _pillow_errors_named():
        if start and not any(_accepts(Image.OPEN[name][1], start) for name in FORMATS if name in Image.OPEN):
            raise UnidentifiedImageError


def _accepts(accept, start):
    try:
        return accept is None or bool(accept(start))  # a text is for decode, it says which plug-in lacks a library
    except (SyntaxError, IndexError, TypeError, struct.error):  # too few bytes
        return False


def check_file_size(n_bytes):
    """Refuse a file that is larger than any picture in it may be."""
    limit = None if Image.MAX_IMAGE_PIXELS is None else 8 * Image.MAX_IMAGE_PIXELS + 2**26
    if limit is not None and n_bytes > limit:
        raise ImageReadError(
            f"the file must have at most {limit} bytes, which hold {Image.MAX_IMAGE_PIXELS} pixels of 16-bit RGBA. "
            f"Got {n_bytes} bytes instead. If you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS; of several pages "
            "or frames, save the first one as a file."
        )


def decode(data):
    """Decode the bytes of an image file to uint8 (H, W, 3): the first frame of an animation, or page of a TIFF."""
    if len(data) == 0:
        raise ImageReadError("the image must have content. Got 0 bytes instead.")
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with _STRICT, _pillow_errors_named(), Image.open(io.BytesIO(data), formats=formats) as image:
        _check_size(image)
        _check_end(image, data)
        image.load()
        return _upright_picture(image, _orientation(image))


def encoded_size(data):
    """Return height and width of an image file from its first bytes, before it is turned upright."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with _STRICT, _pillow_errors_named(), Image.open(io.BytesIO(data), formats=formats) as image:
        return image.height, image.width


def encoded_mode(data):
    """Return what the pixels of an image file are, by Pillow's name ("L", "RGB", "I;16", …), from its first bytes."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with _STRICT, _pillow_errors_named(), Image.open(io.BytesIO(data), formats=formats) as image:
        return image.mode


def from_pil(image):
    """Convert a PIL image to uint8 (H, W, 3) without changing it; a file that it has not read yet is read now."""
    with _STRICT, _pillow_errors_named():
        if 0 in image.size:
            raise ImageReadError(f"the image must have pixels. Got size {image.size} instead.")
        with _LOADING:
            image.load()
            orientation = _orientation(image)
        return _upright_picture(image, orientation)


def _check_size(image):
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ImageReadError(
            f"the image must have at most {limit} pixels. Got {image.width} × {image.height} instead, which could be a "
            f"decompression bomb. {_BOMB}"
        )


def _check_end(image, data):
    """Refuse a JPEG 2000 stream without its end marker, which the decoder would fill up with black."""
    if image.format == "JPEG2000" and b"\xff\xd9" not in data[data.find(b"\xff\x4f\xff\x51") :]:
        raise ImageReadError("the image is damaged or cut off: the end of the JPEG 2000 stream is missing")


def _upright_picture(image, orientation):
    pixels = _pixels(image)
    if orientation in _UPRIGHT:
        pixels = _UPRIGHT[orientation](pixels)
    return array_to_picture(pixels)


def _orientation(image):
    """EXIF orientation, asked after loading because Pillow turns TIFF itself; broken EXIF counts as none."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a readable picture with unreadable metadata is a readable picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _pixels(image):
    """Pixels as uint8 or uint16 (H, W, C), C in 1, 3, 4."""
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image)[..., None].astype(np.uint16)
    if mode == "I":
        return _sixteen_bit(np.asarray(image))[..., None]
    if mode == "F":
        raise ImageReadError(
            "the image must have integer pixels. Got floating-point ones instead, whose range no file states; "
            "pass numpy.asarray(image) and, if need be, value_range."
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
            f"pass numpy.asarray(image) and, if need be, value_range."
        )
    return values.astype(np.uint16)
