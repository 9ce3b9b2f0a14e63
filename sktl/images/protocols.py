"""What the code that embeds images needs of a collection, so that images may come from elsewhere than `as_images`."""

from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["Image", "Images"]


@runtime_checkable
class Image(Protocol):
    """One image whose bytes have been read; what has no content raises `sktl.exceptions.ImageReadError`."""

    def digest(self) -> bytes:
        """Identify the content in 16 bytes, without decoding it where it is encoded."""

    def picture(self) -> np.ndarray:
        """Decode the content that `digest` identifies to (H, W, 3), uint8 or float32 in [0, 1]."""


@runtime_checkable
class Images(Protocol):
    """A collection of images, read by several threads at once."""

    def __len__(self) -> int:
        """Count the images."""

    def open(self, i: int) -> Image:
        """Read image i, from 0; an `ImageReadError` says why it cannot be."""
