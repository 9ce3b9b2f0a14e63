"""An X that makes its images when they are asked for: each is read once, as far as there is room to keep it."""

import numpy as np

from sktl._text import shortened
from sktl.exceptions import ImageReadError
from sktl.images._arrays import is_tensor, length, unusable
from sktl.images._cells import image_in
from sktl.images._pillow import load
from sktl.images._reading import content, is_pil, is_stream, named

_MEMORY = 256 << 20  # bytes of images kept, for whoever comes back to them: a fold, a search, an epoch
_N_DIGESTS = 1 << 20
_MISSING = object()
_CHANGED = (
    "an image must be the same each time X is asked for it. Got another one at the second reading instead; leave out "
    "random transforms: augment of FineTuneClassifier draws views."
)


class LazyItems:
    """The items of a sequence, table column or data set that makes or fetches them on access.

    The first ones that fit into a bound are kept; of all of them it is remembered what identifies their content, so
    that what the store has is not read again.
    """

    def __init__(self, source):
        self._source = source
        self._converted = _converter_for(source)
        self._n_items = length(source)
        self._kept = {}
        self._n_bytes = 0
        self.digests = {}

    def __len__(self):
        return self._n_items

    def __getitem__(self, i):
        item = self._kept.get(i, _MISSING)
        return self._new(i) if item is _MISSING else item

    def __getstate__(self):
        """Leave the images behind: whoever gets the sequence can read them."""
        return self.__dict__ | {"_kept": {}, "_n_bytes": 0}

    def _new(self, i):
        try:
            item = image_in(self._converted(self._source[i]))
        except MemoryError:
            raise
        except Exception as error:  # whatever the author of the sequence thought of; one image more or less
            reason = f"X does not give it, {type(error).__name__} says: {shortened(error, 200)}"
            raise ImageReadError(reason, i) from error
        with named(item, i):
            if is_stream(item):  # files that are kept would stay open
                item = content(item)
            elif is_pil(item):
                load(item)
                if getattr(item, "_exclusive_fp", False):  # further frames would keep the file open
                    item = item.copy()
        size = _n_bytes(item)
        if self._n_bytes + size <= _MEMORY:
            self._kept[i] = item = _alone(item)
            self._n_bytes += size
        return item


class IdentifiedImage:
    """One image whose content is identified once, and which is read again only where its picture is needed."""

    __slots__ = ("_digests", "_image", "_key", "_make", "_position")

    def __init__(self, make, digests, key, position):
        self._make = make
        self._digests = digests
        self._key = key
        self._position = position
        self._image = None
        if len(digests) > _N_DIGESTS:
            digests.clear()
        if key not in digests:
            self._read()  # so that what cannot be read is found out here, as of every other image

    def digest(self):
        """Identify the image in 16 bytes, see `ImageCollection.digest`."""
        found = self._digests.get(self._key)
        if found is None:
            found = self._digests[self._key] = self._read().digest()
        return found

    def picture(self):
        """Return the picture, of the content that was identified."""
        return self._read().picture()

    def size(self):
        """Return height and width in pixels."""
        return self._read().size()

    def _read(self):
        if self._image is None:
            image, known = self._make(), self._digests.get(self._key)
            if known is not None and image.digest() != known:
                raise ImageReadError(_CHANGED, self._position)
            self._image = image
        return self._image


def _converter_for(source):
    """Return what turns the values of HDF5's strings and vectors of varying length into texts and content of files."""
    of = (getattr(getattr(source, "dtype", None), "metadata", None) or {}).get("vlen")
    if of in (str, bytes):
        return bytes.decode
    return np.ndarray.tobytes if of == np.uint8 else _unchanged


def _unchanged(item):
    return item


def _alone(item):
    """Return an array that keeps nothing but itself: a slice keeps all of the volume that it was cut from."""
    if isinstance(item, np.ndarray) and item.base is not None:
        return item.copy(order="K")
    if is_tensor(item) and not unusable(item) and item.untyped_storage().nbytes() > item.nbytes:
        return item.clone()
    return item


def _n_bytes(item):
    """Return about how many bytes an item takes."""
    if is_pil(item):
        return item.width * item.height * 4
    if hasattr(item, "nbytes"):
        return int(item.nbytes)
    return len(item) if hasattr(item, "__len__") else 0
