"""Formats that Pillow reads with the help of another package, which is used when it is there, and else named."""

from PIL import Image, features

from sktl._optional import import_optional
from sktl.exceptions import ImageReadError

__all__ = ["hint", "register_plugin"]

# At the fourth byte of a file, and what follows it.
_BOX = b"ftyp"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_EITHER = (b"mif1", b"msf1")  # pictures in HEVC, AV1 or another code
_AVIF = (b"avif", b"avis")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")


def register_plugin(start):
    """Let Pillow read HEIC from the first file of it on, where pillow-heif is installed."""
    if start[4:8] != _BOX or start[8:12] not in _HEIC + _EITHER or "HEIF" in Image.OPEN:
        return
    try:
        import_optional("pillow_heif", extra="heif", caller="HEIC").register_heif_opener()
    except ImportError:
        if start[8:12] in _HEIC:
            raise ImageReadError(hint(start)) from None


def hint(start):
    """Say of a format that Pillow does not read here, by the first bytes of a file, what reads it; or nothing."""
    if start[4:8] == _BOX and start[8:12] in _HEIC + _EITHER and "HEIF" not in Image.OPEN:
        return _needs("HEIC", "the package pillow-heif. Install it with: pip install 'sktl[heif]'")
    if start[4:8] == _BOX and start[8:12] in _AVIF and not features.check("avif"):
        return _needs("AVIF", "Pillow 11.3 or later, as wheels have it. Install it with: pip install -U pillow")
    if start.startswith(_JPEG_XL) and "JXL" not in Image.OPEN:
        return _needs("JPEG XL", "a plug-in of Pillow such as pillow-jxl-plugin. Install one, and import it first")
    return None


def _needs(form, what):
    return (
        f"the image must be in a format that is read here. Got {form} instead, which needs {what}; or save it as PNG."
    )
