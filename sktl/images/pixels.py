"""The values of pixels: from numbers between black and white to bytes."""

import numpy as np

__all__ = ["as_bytes"]


def as_bytes(picture):
    """Return a picture as uint8; numbers outside of 0 to 1 are black or white."""
    return picture if picture.dtype == np.uint8 else np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
