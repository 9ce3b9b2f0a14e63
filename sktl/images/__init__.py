"""What may be passed as X: files, PIL images, bytes, arrays and tensors, read one at a time."""

from sktl.images._checks import check_images
from sktl.images._collection import ImageCollection
from sktl.images._folder import load_image_folder
from sktl.images._reading import read_image
from sktl.images._recognition import as_images
from sktl.images._rows import rows_as_images
from sktl.images._selection import read_once, take_rows
from sktl.images._table import load_image_table

__all__ = [
    "ImageCollection",
    "as_images",
    "check_images",
    "load_image_folder",
    "load_image_table",
    "read_image",
    "read_once",
    "rows_as_images",
    "take_rows",
]
