"""When a photo was taken and by which camera, as its file says; the picture is not decoded."""

import os
import re
import warnings

from PIL import Image

from sktl.images.formats import FORMATS

__all__ = ["taken_at"]

_EXIF, _TAKEN, _CAMERA = 0x8769, 36867, 272  # tags
_TIME = re.compile(r"[1-9]\d{3}:\d\d:\d\d \d\d:\d\d")  # cameras without a clock write zeros or blanks


def taken_at(path):
    """Return the camera and the minute, "2026:11:29 18:42", of a file; None where it tells none or cannot be read."""
    if not os.path.isfile(path):
        return None
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=formats) as image:
                exif = image.getexif()
                time = _TIME.match(str(exif.get_ifd(_EXIF).get(_TAKEN)))
                return time and (str(exif.get(_CAMERA, "")).strip("\0 "), time[0])
    except Exception:  # whatever plug-ins raise: the pass over all images says what is wrong with a file
        return None
