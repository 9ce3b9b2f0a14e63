"""Segments: immutable files of vectors in a folder that many machines share, which is read without any lock.

A segment is named by what it holds and written in one step; whoever reads finds it whole or not at all. What a folder
holds is not trusted: a vector counts when its checksum agrees.
"""

import warnings
from collections import OrderedDict
from contextlib import contextmanager
from threading import Lock

import numpy as np

from sktl._forking import free_after_fork
from sktl._optional import import_optional
from sktl.store._key_segments import KeySegments
from sktl.store._segment_format import encode
from sktl.store._segment_places import folder_of, place_at

__all__ = ["SegmentFolder", "write_segment"]

_TOGETHER = 1024  # digests that are looked up at a time
_MOST_KEYS = 32  # whose indices are kept


def write_segment(folder, key, vectors, *, seconds=0.0):
    """Write vectors to a folder of segments, as one file, in one step.

    Parameters
    ----------
    folder : str or Path
        Path, or URL as fsspec understands it.
    key : Key
        What the vectors depend on besides the image.
    vectors : dict of {bytes: ndarray}
        By digest of the image, 16 bytes.
    seconds : float, default=0.0
        What they took to compute.

    Returns
    -------
    name : str
        Of the file: a hash of what it holds.

    Raises
    ------
    ValueError
        If there is nothing to write, too much for one file, or something of another size.
    ImportError
        If pyarrow, or what the URL needs, is not installed.
    """
    name, content = encode(key, vectors, seconds)
    place_at(folder).put(folder_of(key.digest), name, content)
    return name


class SegmentFolder:
    """The segments of a folder, looked up by key and image; nothing is ever written.

    Of segments that hold different vectors of one image, the one whose name comes first counts, everywhere.

    Parameters
    ----------
    url : str or Path
        Path, or URL as fsspec understands it.
    """

    def __init__(self, url):
        import_optional("pyarrow", extra="segments", caller="Looking up segments")
        self.place = place_at(url)
        self.folder = self.place.url
        self._by_key: OrderedDict = OrderedDict()  # digest of a key → its segments
        self._lock = free_after_fork(Lock())
        self._warned: set = set()

    def read(self, key, digests):
        """Return the vectors among those asked for that are there, as {digest: read-only ndarray of float32}."""
        found = {}
        for segments, candidates in self._candidates(key, digests):
            with self.faults():
                found |= segments.read(candidates)
        return {digest: np.frombuffer(blob, dtype="<f4") for digest, blob in found.items()}

    def holds(self, key, digests):
        """Return the set of those digests whose vectors should be there; they are not read."""
        found = set()
        for _, candidates in self._candidates(key, digests):
            found |= candidates.keys()
        return found

    def seconds_per_image(self, key):
        """Return how long an image took to compute on average, 0 when that is unknown."""
        segments = self._segments(key)
        return segments.seconds_per_image() if segments else 0.0

    def look_again(self):
        """Have the next look-up find what was written by now, where looking costs little."""
        if not self.place.is_remote:
            with self._lock:
                for segments in self._by_key.values():
                    segments.look_again()

    def _candidates(self, key, digests):
        digests = list(digests)
        for start in range(0, len(digests), _TOGETHER):
            segments = self._segments(key)
            if segments is not None:
                with self.faults():
                    yield segments, segments.candidates(digests[start : start + _TOGETHER])

    def _segments(self, key):
        """Return the segments of a key as they are now, None when they cannot be listed."""
        with self._lock, self.faults():
            segments = self._by_key.get(key.digest)
            if segments is None:
                if not self.place.exists():
                    self.warn("missing", "is not there")
                segments = self._by_key[key.digest] = KeySegments(self.place, key, self.warn)
            self._by_key.move_to_end(key.digest)
            while len(self._by_key) > _MOST_KEYS:
                self._by_key.popitem(last=False)
            segments.refresh()
            return segments

    @contextmanager
    def faults(self):
        """Turn whatever is wrong with the place into one warning: a vector that cannot be had is one to compute."""
        try:
            yield
        except OSError as error:
            self.warn("unusable", f"cannot be used ({error})")

    def warn(self, kind, what):
        """Warn once of each kind of thing that is wrong with the folder."""
        if kind in self._warned:
            return
        self._warned.add(kind)
        warnings.warn(
            f"the folder of segments {self.folder!r} {what}. Results are not affected; what is not found there is "
            "computed.",
            stacklevel=2,
        )
