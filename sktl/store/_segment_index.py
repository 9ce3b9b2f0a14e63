"""Index over the keys of many segments: which row of which segment may hold an image.

Sorted entries of fixed size, in memory while there are few and in a temporary file beyond. Of that, every 128th key is
in memory, which tells the piece of the file to read for a key. So an index of any size takes little memory.
"""

import os
import tempfile
from threading import Lock
from weakref import finalize

import numpy as np

__all__ = ["ENTRY", "Index", "entries_of", "prefixes_of"]

# Digests are hashes: eight bytes tell images apart, and the checksum of a vector judges the rest.
ENTRY = np.dtype([("prefix", "<u8"), ("checksum", "<u8"), ("segment", "<u4"), ("row", "<u4")])
_PIECE = 128  # entries that are read together
_MOST_PIECES = 8  # for one key: more equal keys than that are somebody's mischief
_IN_MEMORY = 1 << 18  # entries; more of them are sorted in portions of about this size


class Index:
    """Entries of many segments, to be found by the prefix of a digest.

    Parameters
    ----------
    parts : iterable of ndarray of ENTRY
        Entries of one segment each.
    n_expected : int
        About how many entries there will be.
    """

    def __init__(self, parts, n_expected):
        if n_expected <= _IN_MEMORY:
            entries = np.concatenate([np.empty(0, ENTRY), *parts])
            entries = _sorted(entries)
            self._content, self._marks, self.n_entries = (
                entries.tobytes(),
                entries["prefix"][::_PIECE].copy(),
                len(entries),
            )
        else:
            self._content, self._lock = None, Lock()
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 – open for as long as there is the index
            finalize(self, self._file.close)
            self._marks, self.n_entries = self._fill(parts, -(-n_expected // _IN_MEMORY))

    def find(self, prefixes):
        """Return the entries of some prefixes, those of one segment before those of the next, if at all.

        Parameters
        ----------
        prefixes : ndarray of uint64
            Without repetitions.

        Returns
        -------
        entries : ndarray of ENTRY
        """
        if not self.n_entries:
            return np.empty(0, ENTRY)
        # Equal ones may begin in the piece before.
        first = np.maximum(np.searchsorted(self._marks, prefixes, "left") - 1, 0)
        last = np.maximum(np.searchsorted(self._marks, prefixes, "right") - 1, 0)
        n_pieces = np.minimum(last - first + 1, _MOST_PIECES)
        starts, stops = first * _PIECE, np.minimum((first + n_pieces) * _PIECE, self.n_entries)
        pieces = [self._piece(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        found = np.frombuffer(b"".join(pieces), ENTRY)
        return found[found["prefix"] == np.repeat(prefixes, stops - starts)]

    def _piece(self, start, stop):
        if self._content is not None:
            return self._content[start * ENTRY.itemsize : stop * ENTRY.itemsize]
        return _read(self._file, self._lock, start, stop)

    def _fill(self, parts, n_portions):
        """Sort entries by portions of the range of keys, so that not all of them are in memory; return the marks."""
        limits = np.linspace(0, 2.0**64, n_portions, endpoint=False)[1:].astype(np.uint64)
        with tempfile.TemporaryFile(buffering=0) as unsorted:
            places, n_before = [], 0
            for part in parts:
                part = _sorted(part)
                _write(unsorted, part)
                ends = [0, *np.searchsorted(part["prefix"], limits).tolist(), len(part)]
                places.append([n_before + end for end in ends])
                n_before += len(part)
            marks, n_entries = [], 0
            for portion in range(n_portions):
                own = [_read(unsorted, self._lock, ends[portion], ends[portion + 1]) for ends in places]
                entries = _sorted(np.frombuffer(b"".join(own), ENTRY))
                _write(self._file, entries)
                marks.append(entries["prefix"][-n_entries % _PIECE :: _PIECE].copy())
                n_entries += len(entries)
        return np.concatenate(marks), n_entries


def prefixes_of(digests):
    """Return the beginnings of digests as numbers."""
    return np.frombuffer(b"".join(digest[:8] for digest in digests), dtype=">u8").astype("<u8")


def entries_of(images, checksums, segment):
    """Return the entries of one segment, from its columns as bytes."""
    entries = np.empty(len(checksums) // 8, ENTRY)
    entries["prefix"] = np.frombuffer(images, dtype=">u8")[::2]
    entries["checksum"] = np.frombuffer(checksums, dtype="<u8")
    entries["segment"], entries["row"] = segment, np.arange(len(entries))
    return entries


def _sorted(entries):
    """Sort by prefix; equal ones stay in the order of segments."""
    return entries[np.argsort(entries["prefix"], kind="stable")]


def _write(file, entries):
    content = memoryview(entries.tobytes())
    while content:
        content = content[file.write(content) :]


def _read(file, lock, start, stop):
    offset, n_bytes = start * ENTRY.itemsize, (stop - start) * ENTRY.itemsize
    if hasattr(os, "pread"):  # leaves the position alone, which threads and forked processes share
        content = os.pread(file.fileno(), n_bytes, offset)
    else:
        with lock:
            file.seek(offset)
            content = file.read(n_bytes)
    if len(content) < n_bytes:
        raise OSError("the index of segments has been cut off")
    return content
