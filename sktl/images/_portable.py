"""One item of X as another process can read it, wherever that process works: small where a path or URL will do."""

import os
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps

from sktl.images._arrays import canonical, is_array
from sktl.images._pillow import follows_range, from_pil
from sktl.images._reading import content, is_encoded, is_path, is_pil, is_record, is_stream, names_a_file


def portable(item, stated_range=None):
    """Return an item that makes the same picture, and the same digest, where it is unpickled.

    Paths become absolute, since a worker may have another working directory. Raises `ImageReadError` where the item
    has to be read for that, and cannot be.
    """
    if is_record(item):
        item = item.get("path") if item.get("bytes") is None else item["bytes"]
    if is_path(item):
        path = str(os.fsdecode(item))
        return os.path.abspath(path) if names_a_file(path) else path
    if is_pil(item):
        return _without_file(item, stated_range)
    if is_stream(item):
        return content(item)
    if is_encoded(item):
        return bytes(item)
    return np.asarray(canonical(item)) if is_array(item) else item


def _without_file(image, stated_range):
    """Return a PIL image upright: what it knows beside its pixels does not outlast a pickle in all formats."""
    picture = from_pil(image, stated_range)
    if stated_range is None or not follows_range(image):
        return Image.fromarray(picture)
    with suppress(Exception):  # a readable picture with unreadable metadata is a readable picture
        return ImageOps.exif_transpose(image)
    return image
