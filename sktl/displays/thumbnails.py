"""Small pictures of the images that were compared on, as a person sees them."""

import numpy as np
from PIL import Image

from sktl.images import as_images, rows_as_images
from sktl.images.pixels import as_bytes
from sktl.images.value_range import fit_value_range

__all__ = ["images_compared", "thumbnail"]

LONGEST = 160  # pixels of the longer side


def images_compared(X, comparison):
    """Take the images as the candidates read them: rows are folded, and numbers have the same black and white."""
    images = as_images(X)
    if images is None:
        images = rows_as_images(np.asarray(X, dtype=np.float32), image_shape=comparison.settings.get("image_shape"))
    if len(images) != len(comparison.y):
        raise ValueError(
            f"X must be the images that were compared on, {len(comparison.y)} of them. Got {len(images)} instead."
        )
    stated = comparison.settings.get("value_range")
    return images.with_value_range(fit_value_range(images, stated), learned=stated is None)


def thumbnail(picture):
    """Make a picture small, of 8 bits."""
    image = Image.fromarray(as_bytes(picture))
    image.thumbnail((LONGEST, LONGEST))
    return np.asarray(image)
