"""One image between reading and decoding: its bytes are in hand, so what is identified is what is decoded."""

from contextlib import suppress
from hashlib import sha256

import numpy as np

from sktl.exceptions import ImageReadError
from sktl.images._arrays import array_to_picture, canonical, is_array
from sktl.images._pillow import decode, encoded_follows_range, encoded_size, follows_range, from_pil
from sktl.images._reading import content, is_pil, named
from sktl.images.value_range import range_of

_DIGEST_SIZE = 16


class OpenedImage:
    """One image, read once: a digest of its content without decoding, and the picture on request.

    A file may be replaced at any moment. Whoever asks this object for the digest and for the picture gets both from
    the same bytes.
    """

    __slots__ = ("_content", "_follows_range", "_item", "_pixels", "_position", "_range")

    def __init__(self, item, position, value_range, learned):
        self._item = item
        self._position = position
        self._content = self._pixels = None
        self._follows_range = True
        self._range = None if learned else value_range
        with named(item, position):
            if is_array(item):
                self._pixels = canonical(item)
                self._range = range_of(self._pixels, value_range, learned)
            elif is_pil(item):
                self._follows_range = follows_range(item)
                self._pixels, self._range = from_pil(item, self._range), None
            else:
                self._content = content(item)

    def picture(self):
        """Return the picture: (H, W, 3), uint8, or float32 in which the value range is mapped to [0, 1]."""
        with named(self._item, self._position):
            if self._content is not None:
                return decode(self._content, self._range)
            return array_to_picture(self._pixels, self._range)

    def size(self):
        """Return height and width in pixels, without decoding."""
        with named(self._item, self._position):
            return self._pixels.shape[:2] if self._content is None else encoded_size(self._content)

    def follows_range(self):
        """Whether a range that the user states applies to the image, as it does not to files of 8 bits."""
        if self._content is None:
            return self._follows_range
        with named(self._item, self._position):
            return encoded_follows_range(self._content)

    def digest(self):
        """Identify the image in 16 bytes, see `ImageCollection.digest`."""
        if self._content is not None:
            return sha256(self._range_in_use() + self._content).digest()[:_DIGEST_SIZE]
        pixels = self._pixels
        if pixels.dtype != np.uint8 or pixels.shape[2] != 3 or self._range is not None:
            pixels = self.picture()
        # Starts with what no image file starts with, so that pixels never pass for a file.
        digest = sha256(f"pixels {pixels.shape} {pixels.dtype.name} ".encode())
        digest.update(np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")))
        return digest.digest()[:_DIGEST_SIZE]

    def _range_in_use(self):
        """Return the range on which the picture of a file depends, as bytes that no file starts with."""
        with suppress(ImageReadError):  # which `picture` raises
            if self._range is not None and self.follows_range():
                return f"range {self._range[0]!r} {self._range[1]!r} ".encode()
        return b""
