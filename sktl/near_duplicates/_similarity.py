"""Similarity of two pictures: the correlation of their structure after a small crop is undone (numpy only).

A network calls two different digits, X-rays or aerial views alike. Copies of one picture agree in their structure,
edges and texture, once the difference of their frames is undone; different pictures do not.
"""

import numpy as np
from PIL import Image

from sktl.images.pixels import as_bytes

__all__ = ["rough_similarity", "similarity", "thumbnail"]

SIDE = 48  # pixels: enough structure to tell pictures apart, and coarse enough for JPEG and resizing to leave it alone
REACH = 0.16  # a frame may be this much smaller or larger, and its middle lie this far off, in units of half a side
FLAT = 1.0  # grey levels: pictures with less structure than this have none to compare
MARGIN = 3  # pixels at the border that are not compared: a moved picture has nothing there

WHOLE = np.array([1, 0, 1, 0], dtype=np.float32)  # the frame that shows a picture as it is


def thumbnail(picture):
    """Shrink a picture to a small square one in grey."""
    grey = Image.fromarray(as_bytes(picture)).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0))


def rough_similarity(one, other):
    """Correlate the coarse structure of pairs of thumbnails as they lie; a cheap first look."""
    one, other = one.astype(np.float32), other.astype(np.float32)
    return _flat_ones_judged(_correlation(_band(one, COARSE), _band(other, COARSE)), one, other)


def similarity(one, other):
    """Correlate the structure of pairs of thumbnails, once one is moved and scaled onto the other."""
    one, other = one.astype(np.float32), other.astype(np.float32)
    frames = np.tile(WHOLE, (len(one), 1))
    for blur, steps in ((COARSE[::2], 5), (FINE, 3)):  # blurred so much, every other pixel will do
        blurred_one, blurred_other = blur @ one @ blur.T, blur @ other @ blur.T
        for _ in range(steps):
            frames = _improved(blurred_one, blurred_other, frames)
    back = np.stack([1 / frames[:, 0], -frames[:, 1] / frames[:, 0], 1 / frames[:, 2], -frames[:, 3] / frames[:, 2]], 1)
    detail_one, detail_other = _band(one, FINE), _band(other, FINE)
    # The larger picture shows what the smaller one does; the smaller one cannot show all of the larger.
    best = np.maximum.reduce(
        [
            _correlation(detail_one, detail_other),
            _correlation(detail_one, _band(_framed(other, frames), FINE)),
            _correlation(_band(_framed(one, back), FINE), detail_other),
        ]
    )
    return _flat_ones_judged(best, one, other)


def _flat_ones_judged(correlations, one, other):
    flat = (one.std(axis=(1, 2)) < FLAT) | (other.std(axis=(1, 2)) < FLAT)
    correlations[flat] = np.abs(one[flat] - other[flat]).mean(axis=(1, 2)) <= FLAT
    return correlations


def _blur(times):
    """Matrix of a binomial blur along one axis, done so often; the borders repeat."""
    once = 0.5 * np.eye(SIDE) + 0.25 * np.eye(SIDE, k=1) + 0.25 * np.eye(SIDE, k=-1)
    once[0, 0] = once[-1, -1] = 0.75
    return np.linalg.matrix_power(once, times).astype(np.float32)


COARSE, FINE, LAYOUT = _blur(4), _blur(1), _blur(16)


def _band(pictures, blur):
    """Keep what lies between the layout, which all X-rays share, and what the blur removes, which JPEG changes."""
    return blur @ pictures @ blur.T - LAYOUT @ pictures @ LAYOUT.T


def _correlation(one, other):
    one, other = (part[:, MARGIN:-MARGIN, MARGIN:-MARGIN].reshape(len(part), -1) for part in (one, other))
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.einsum("ij,ij->i", one, other) / np.maximum(norms, 1e-6)


def _framed(pictures, frames):
    """Look at every picture through its frame (x scale, x middle, y scale, y middle), bilinearly."""
    side = pictures.shape[-1]
    return _hats(frames[:, 2:], side) @ pictures @ _hats(frames[:, :2], side).swapaxes(1, 2)


def _grid(side):
    return np.linspace(-1, 1, side, dtype=np.float32)


def _hats(frames, side):
    """Weights of the pixels of one axis for the positions that the frames ask for."""
    positions = (frames[:, :1] * _grid(side) + frames[:, 1:] + 1) * (side - 1) / 2
    away = np.clip(positions, 0, side - 1)[:, :, None] - np.arange(side, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(away))


def _improved(one, other, frames):
    """One step of Gauss and Newton towards the frames through which the others look most like the first."""
    seen, grid = _framed(other, frames), _grid(other.shape[-1])
    slope = (len(grid) - 1) / 4
    dx, dy = np.zeros_like(seen), np.zeros_like(seen)
    dx[:, :, 1:-1] = (seen[:, :, 2:] - seen[:, :, :-2]) * slope
    dy[:, 1:-1] = (seen[:, 2:] - seen[:, :-2]) * slope
    dx, dy = dx / frames[:, 0, None, None], dy / frames[:, 2, None, None]
    # Brightness and contrast are fitted beside the frame.
    design = np.stack([dx * grid, dx, dy * grid[:, None], dy, seen, np.ones_like(seen)], axis=1)
    design = design[:, :, 2:-2, 2:-2].reshape(len(one), 6, -1)
    target = (one - seen)[:, 2:-2, 2:-2].reshape(len(one), -1, 1)
    lengths = np.linalg.norm(design, axis=2, keepdims=True) + 1e-3
    design /= lengths
    normal = design @ design.swapaxes(1, 2) + 1e-3 * np.eye(6, dtype=np.float32)
    step = (np.linalg.solve(normal, design @ target) / lengths)[:, :4, 0]
    return WHOLE + np.clip(frames + np.clip(step, -0.1, 0.1) - WHOLE, -REACH, REACH)
