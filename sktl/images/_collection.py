"""A whole X of images, read one at a time."""

from __future__ import annotations

from functools import partial
from operator import index as as_index
from typing import Any, Literal

import numpy as np

from sktl.exceptions import ImageReadError
from sktl.images._arrays import canonical, has_own_range, is_array, length, value_limits
from sktl.images._lazy import IdentifiedImage, LazyItems
from sktl.images._opened import OpenedImage
from sktl.images._portable import portable
from sktl.images._reading import is_remote, named, path_of
from sktl.images._remote import DIGESTS
from sktl.images.value_range import FROM_THE_FIRST, checked_range, range_of


class ImageCollection:
    """Images of any kind behind one face: a length, and a picture for each position.

    Nothing is read when it is made, nothing is kept after reading; files are opened and closed one at a time. Several
    threads may read at once. Made by `as_images` and `rows_as_images`.

    An `X` that makes its images on access (a torch data set, a column of a Hugging Face data set) is asked for each
    when it is needed; up to 256 MiB of them are kept. scikit-learn can index a collection, so
    ``X = as_images(dataset)`` goes into a cross-validation or a search, whose folds share what is kept.

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

    def __init__(self, items: Any) -> None:
        self._items = items
        self._positions = range(length(items))
        self._value_range = None
        self._learned = False

    def __repr__(self):
        return f"ImageCollection({len(self)} images)"

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, i):
        """Read image i: (H, W, 3), uint8, or float32 in which the value range is mapped to [0, 1]; else a `subset`."""
        if isinstance(i, tuple):  # scikit-learn selects rows with X[rows, ...]
            i = i[0]
        return self.open(i).picture() if hasattr(i, "__index__") and np.ndim(i) == 0 else self.subset(i)

    @property
    def shape(self) -> Any:
        """(n_images,), by which scikit-learn knows that rows can be selected."""
        return (len(self),)

    def open(self, i: int) -> OpenedImage | IdentifiedImage:
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
        position = self._position(i)
        if self._is_lazy():
            key = position, self._value_range, self._learned
            return IdentifiedImage(partial(self._made, position), self._items.digests, key, position)
        item = self._items[position]
        make = partial(OpenedImage, item, position, self._value_range, self._learned)
        if not is_remote(item):
            return make()
        key = str(item), self._value_range, self._learned  # the range is part of what identifies an image
        return IdentifiedImage(make, DIGESTS, key, position)

    def item(self, i: int) -> Any:
        """Return image i in a form that another process can read, to be passed there in a list.

        Parameters
        ----------
        i : int
            Position in this collection.

        Returns
        -------
        str, bytes, ndarray or PIL image
            The absolute path of a file, or a URL, neither of which is read; what is in memory, or is made on access,
            with its values untouched.

        Raises
        ------
        ImageReadError
            If the image is made on access, and cannot be made.
        """
        position = self._position(i)
        item = self._items[position]
        with named(item, position):
            made = portable(item, None if self._learned else self._value_range)
            if self._is_lazy() and is_array(made):
                range_of(made, self._value_range, FROM_THE_FIRST if self._learned else False)  # checks it
        return made

    def read_error(self, i: int, reason: str) -> ImageReadError:
        """Make the error that says why image i cannot be read.

        Parameters
        ----------
        i : int
            Position in this collection.
        reason : str
            Why, as one phrase.

        Returns
        -------
        ImageReadError
            With the position in the first `X`, and the path of the file, if there is one.
        """
        return ImageReadError(reason, *self._named(i))

    def subset(self, indices: Any) -> ImageCollection:
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

    def learn_value_range(self, *, on_error: Literal["raise", "nan"] = "raise") -> Any:
        """Find the values of black and white for the images that do not say them.

        Files, PIL images, and arrays of bool, uint8 and uint16 do. The others, arrays of floats and of other integers,
        are read through once; but where they are made on access, and the values of the first one lie in [0, 1], it
        speaks for all.

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
        limits: list[Any] = []
        for i in range(len(self)):
            try:
                found = self._limits(i)
            except ImageReadError:
                if on_error == "raise":
                    raise
                continue
            limits += found or ()
            if self._is_lazy() and found is not None and _in_unit_range(limits):
                break
        if not limits:
            return None
        low, high = min(limits), max(limits)
        return (0.0, 1.0) if _in_unit_range(limits) else (low, high)

    def with_value_range(self, value_range: tuple[float, float] | None, *, learned: bool = False) -> ImageCollection:
        """Return the same images, with numbers mapped so that the value range becomes [0, 1].

        Parameters
        ----------
        value_range : tuple of two floats or None
            Values of black and white. Values outside are not clipped. None: arrays of floats and wide integers are
            taken as they are, and with `learned` have to lie in [0, 1].
        learned : bool, default=False
            Whether the range comes from `learn_value_range`. Such a range leaves arrays of bool, uint8 and uint16
            alone, which say their range themselves, and files and PIL images; one that the user states applies to those
            arrays too, and to files and PIL images of more than 8 bits.

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

    def digest(self, i: int) -> bytes:
        """Identify the content of image i in 16 bytes; identical images have identical digests.

        A file is identified by its bytes, which need no decoding, and shares its digest with those bytes; where a range
        that the user states applies to it, by its bytes and the range. Everything else is identified by the picture
        that `__getitem__` returns, whatever the container: PIL image, array or tensor, channels first or last.

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

    def describe(self, i: int) -> str:
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
        position, path = self._named(i)
        return f"image {position}" + ("" if path is None else f" ({path!r})")

    def name(self, i: int) -> str:
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
        position, path = self._named(i)
        return path or f"image {position}"

    def _position(self, i):
        return int(self._positions[as_index(i)])

    def _named(self, i):
        """Return the position of image i in the first X, and its path where it has one."""
        position = self._position(i)
        return position, None if self._is_lazy() else path_of(self._items[position])

    def _is_lazy(self):
        return isinstance(self._items, LazyItems)

    def _made(self, position):
        learned = FROM_THE_FIRST if self._learned else False
        return OpenedImage(self._items[position], position, self._value_range, learned)

    def _copy(self):
        other = ImageCollection(self._items)
        other._positions, other._value_range, other._learned = self._positions, self._value_range, self._learned
        return other

    def _limits(self, i):
        position = self._position(i)
        item = self._items[position]
        if not is_array(item):
            return None if item is None else ()
        with named(item, position):
            pixels = canonical(item)
            return () if has_own_range(pixels.dtype) else value_limits(pixels)


def _in_unit_range(limits):
    return min(limits, default=0.0) >= 0.0 and max(limits, default=1.0) <= 1.0
