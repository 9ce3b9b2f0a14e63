"""Defects planted into pictures: a scratch, a stain, a piece of another picture."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("scratch", "stain", "piece")
_OPACITY = {"scratch": 0.8, "stain": 0.6, "piece": 1.0}
_FINER = 4  # shapes are drawn so much larger, and averaged


def plant(picture, kind, rng, other):
    """Plant one defect.

    Parameters
    ----------
    picture : ndarray of shape (height, width, 3), uint8
        A picture.
    kind : {"scratch", "stain", "piece"}
        A straight line, black or white, a quarter to a half of the shorter side long and 1.5 % of it wide; an ellipse
        of any strong colour, or black or white in a grey picture, half transparent; or a rectangle of another picture.
        The latter two are 12 to 20 % of the shorter side long and wide.
    rng : numpy.random.Generator
        Draws where, how large, and which colour.
    other : PIL.Image.Image
        What the piece is from.

    Returns
    -------
    picture : ndarray of shape (height, width, 3), uint8
        With the defect.
    where : ndarray of shape (height, width), bool
        Its pixels.
    """
    height, width = picture.shape[:2]
    opacity = _shape(kind, height, width, rng)
    where = opacity >= 0.5
    if not where.any():
        where = opacity == opacity.max()
    is_grey = (picture == picture[..., :1]).all()
    if kind == "piece":
        paint = np.asarray(other.convert("L" if is_grey else "RGB").convert("RGB").resize((width, height)), dtype=float)
    elif kind == "scratch" or is_grey:
        paint = np.full(3, 255.0 if picture[where].mean() < 128 else 0.0)
    else:
        paint = 255 * np.array(colorsys.hsv_to_rgb(rng.uniform(), 1, 1))
    share = _OPACITY[kind] * opacity[..., None]
    return np.rint((1 - share) * picture + share * paint).astype(np.uint8), where


def _shape(kind, height, width, rng):
    """Return how much of each pixel a defect covers."""
    side = min(height, width)
    large = Image.new("L", (_FINER * width, _FINER * height))
    draw = ImageDraw.Draw(large)
    centre = rng.uniform(0.2, 0.8, 2) * (width, height)
    if kind == "scratch":
        angle, length = rng.uniform(0, np.pi), rng.uniform(0.25, 0.5) * side
        arm = length / 2 * np.array([np.cos(angle), np.sin(angle)])
        ends = [*(_FINER * (centre - arm)), *(_FINER * (centre + arm))]
        draw.line(ends, fill=255, width=max(_FINER, round(0.015 * _FINER * side)))
    else:
        radii = rng.uniform(0.06, 0.1, 2) * side
        box = [*(_FINER * (centre - radii)), *(_FINER * (centre + radii))]
        (draw.ellipse if kind == "stain" else draw.rectangle)(box, fill=255)
    return np.asarray(large.resize((width, height), Image.Resampling.BOX), dtype=float) / 255
