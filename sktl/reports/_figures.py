"""Plots and thumbnails as data URIs, for a page that loads nothing."""

import warnings
from base64 import b64encode
from io import BytesIO

from PIL import Image

from sktl._optional import import_optional

__all__ = ["as_data_uri", "drawn", "figure_of"]

DOTS_PER_INCH = 200  # sharp on screens with several dots per CSS pixel
SMALL = 64  # pixels; below that every one of them is to be seen


def figure_of(width, height, **layout):
    """Make a figure and its axes without pyplot, which would need a window system to be chosen."""
    figure_module = import_optional("matplotlib.figure", extra="plot", caller="report")
    figure = figure_module.Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots(**layout)


def drawn(figure):
    """Turn a figure into a PNG."""
    file = BytesIO()
    with warnings.catch_warnings():
        # a script that the font does not have: the names are in the text of the page as well
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    picture = Image.open(file).convert("RGB").quantize(128, dither=Image.Dither.NONE)  # a third of the size
    return _uri(picture, "png", optimize=True)


def as_data_uri(picture):
    """Turn a small picture into a JPEG, or into a PNG when it has few pixels."""
    image = Image.fromarray(picture)
    if max(image.size) <= SMALL:
        return _uri(image, "png", optimize=True), True
    return _uri(image, "jpeg", quality=85), False


def _uri(image, kind, **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"
