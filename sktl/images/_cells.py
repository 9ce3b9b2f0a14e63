"""The image in one item of X: in a row of one cell, in a pair of image and target, in a scalar of Arrow."""

import numpy as np

from sktl.images._arrays import is_array
from sktl.images._reading import is_encoded, is_image_item, is_path, is_pil, is_record, is_stream

_KINDS = (is_path, is_encoded, is_pil, is_array, is_record, is_stream)


def image_in(item):
    """Return the image that an item holds beside other things or within a container; any other item as it is."""
    if hasattr(item, "as_py"):
        item = item.as_py()
    while isinstance(item, np.ndarray) and item.ndim == 0:  # as zarr has texts and bytes
        item = item.tobytes() if item.dtype.kind == "S" else item.item()  # which would cut zeros off
    if is_one_cell(item) and not is_image_item(item):
        return item[0]
    return item[0] if is_pair(item) else item


def holds_image(item):
    """Whether an item is one image, or holds one."""
    return is_image_item(image_in(item))


def is_one_cell(row):
    """Whether an item is a row of a table with one column."""
    return isinstance(row, (list, tuple, np.ndarray)) and getattr(row, "ndim", 1) > 0 and len(row) == 1


def is_pair(item):
    """Whether an item is a tuple of an image and its target, as data sets of torch have it, and not of two images."""
    if not isinstance(item, tuple) or len(item) < 2 or not is_image_item(item[0]):
        return False
    (kind,) = [kind for kind in _KINDS if kind(item[0])][:1]
    return not any(kind(other) and is_image_item(other) for other in item[1:])
