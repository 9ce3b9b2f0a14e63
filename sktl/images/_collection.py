"""A whole X of images, read one at a time."""

from operator import index as as_index

import numpy as np

from sktl.exceptions import ImageReadError
from sktl.images._arrays import canonical, has_own_range, is_array, value_limits
from sktl.images._opened import OpenedImage
from sktl.images._reading import named, path_of
from sktl.images.value_range import checked_range


class ImageCollection:
    """Images of any kind behind one face: a length, and a picture for each position.

    Nothing is read when it is made, nothing is kept after reading; files are opened and closed one at a time. Several
    threads may read at once. Made by `as_images` and `rows_as_images`.

    Parameters
    ----------
    items : sequence or array
        One image per position, each as `read_image` takes it. Arrays may be memory-mapped: only the picture asked for
        is copied.

    Notes
    -----
    Error messages name the position in the `X` that was passed at first, also after `subset`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.images import as_images
    >>> images = as_images(np.zeros((5, 8, 8, 3), dtype=np.uint8))
    >>> len(images), images[0].shape, len(images.subset([4, 1]))
    (5, (8, 8, 3), 2)
    """

    def __init__(self, items):
        self._items = items
        self._positions = range(len(items))
        self._value_range = None
        self._learned = False

    def __repr__(self):
        return f"ImageCollection({len(self)} images)"

    def __len__(self):
        return len(self._positions)

    def __getitem__(self, i):
        """Read image i: (H, W, 3), uint8, or float32 in which the value range is mapped to [0, 1]."""
        return self.open(i).picture()

    def open(self, i):
        """Read the bytes of image i, and decode nothing yet.

        Parameters
        ----------
        i : int
            Position in this collection.

        Returns
        -------
        OpenedImage
            With `digest` and `picture`, both of the very same bytes.

        Raises
        ------
        ImageReadError
            If the image cannot be read.
        """
        return OpenedImage(*self._item(i), self._value_range, self._learned)

    def subset(self, indices):
        """Return some of the images, in the order asked for, without reading any.

        Parameters
        ----------
        indices : sequence of int, mask of bool, or slice
            Positions in this collection.

        Returns
        -------
        ImageCollection
            With the same value range.
        """
        positions = np.asarray(self._positions, dtype=np.intp)
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices if indices.dtype == np.bool_ else indices.astype(np.intp)
        other = self._copy()
        other._positions = positions[indices]
        return other

    def learn_value_range(self, *, on_error="raise"):
        """Find the values of black and white for the images that do not say them.

        Files, PIL images, and arrays of bool, uint8 and uint16 do. The others, arrays of floats and of other integers,
        are read through once.

        Parameters
        ----------
        on_error : {"raise", "nan"}, default="raise"
            Whether an image that cannot be read is an error, or has no say.

        Returns
        -------
        tuple of two floats or None
            (0.0, 1.0) when all values lie in [0, 1], else the smallest and the largest; None when no image needs it.

        Raises
        ------
        ImageReadError
            If an array holds NaN or infinity, or is no picture, and ``on_error="raise"``.
        """
        dtype = getattr(self._items, "dtype", None)  # of h5py and zarr as well, where reading everything takes long
        if isinstance(dtype, np.dtype) and len(self._items.shape) > 1 and has_own_range(dtype):
            return None
        limits = []
        for i in range(len(self)):
            try:
                limits += self._limits(i)
            except ImageReadError:
                if on_error == "raise":
                    raise
        if not limits:
            return None
        low, high = min(limits), max(limits)
        return (0.0, 1.0) if low >= 0.0 and high <= 1.0 else (low, high)

    def with_value_range(self, value_range, *, learned=False):
        """Return the same images, with arrays mapped so that the value range becomes [0, 1].

        Parameters
        ----------
        value_range : tuple of two floats or None
            Values of black and white. Values outside are not clipped. None: arrays of floats and wide integers are
            taken as they are, and with `learned` have to lie in [0, 1].
        learned : bool, default=False
            Whether the range comes from `learn_value_range`. Such a range leaves arrays of bool, uint8 and uint16
            alone, which say their range themselves; one that the user states applies to them too. Files and PIL images
            are never mapped.

        Returns
        -------
        ImageCollection
            The same positions.

        Raises
        ------
        ValueError
            If the range is not two finite numbers in ascending order.
        """
        if value_range is not None:
            value_range = checked_range(value_range)
        other = self._copy()
        other._value_range, other._learned = value_range, learned
        return other

    def digest(self, i):
        """Identify the content of image i in 16 bytes; identical images have identical digests.

        A file is identified by its bytes, which need no decoding, and shares its digest with those bytes. Everything
        else is identified by the picture that `__getitem__` returns, whatever the container: PIL image, array or
        tensor, channels first or last.

        Parameters
        ----------
        i : int
            Position in this collection.

        Returns
        -------
        bytes
            The first 16 of SHA-256, for which processors have instructions of their own.

        Raises
        ------
        ImageReadError
            If the image cannot be read.
        """
        return self.open(i).digest()

    def describe(self, i):
        """Name image i for a message, for instance "image 37 ('cats/12.jpg')".

        Parameters
        ----------
        i : int
            Position in this collection.

        Returns
        -------
        str
            The position in the first `X`, and the path of the file, if there is one.
        """
        item, position = self._item(i)
        path = path_of(item)
        return f"image {position}" + ("" if path is None else f" ({path!r})")

    def name(self, i):
        """Return the path of image i, or "image 37" where there is none.

        Parameters
        ----------
        i : int
            Position in this collection.

        Returns
        -------
        str
            The path as it was passed; otherwise the position in the first `X`.
        """
        item, position = self._item(i)
        return path_of(item) or f"image {position}"

    def _item(self, i):
        position = int(self._positions[as_index(i)])
        return self._items[position], position

    def _copy(self):
        other = ImageCollection(self._items)
        other._positions, other._value_range, other._learned = self._positions, self._value_range, self._learned
        return other

    def _limits(self, i):
        item, position = self._item(i)
        if not is_array(item):
            return ()
        with named(item, position):
            pixels = canonical(item)
            return () if has_own_range(pixels.dtype) else value_limits(pixels)
