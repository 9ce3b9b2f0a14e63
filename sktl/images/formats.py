"""Formats of image files that can be read, and the endings of their names."""

__all__ = ["EXTENSIONS", "FORMATS"]

# Formats with a signature, read by Pillow without another program. Left out on purpose: EPS runs Ghostscript, TGA and
# PCD have no signature and take junk for a picture. HEIF comes from pillow-heif, JXL from a plug-in that users import.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO", "QOI", "HEIF", "JXL")

EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "tif", "tiff", "webp", "avif", "avifs"),
        *("jp2", "j2k", "jpc", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm", "ico", "qoi", "heic", "heif", "jxl"),
    )
)
