"""The segments of one key in one folder: which there are at the moment, and what is in them."""

import time
from collections import defaultdict
from functools import partial

import numpy as np

from sktl.store._database import checksum_of
from sktl.store._segment_format import CHECKSUM_SIZE, DIGEST_SIZE, layouts
from sktl.store._segment_index import Index, entries_of, prefixes_of
from sktl.store._segment_places import folder_of

__all__ = ["KeySegments"]

_OPENED_TOGETHER = 16
# Seconds after which a folder is listed again, by whether it is remote.
_LISTED_EVERY = {False: 2.0, True: 20.0}
_COMPARED = 8  # images of one look-up, at most, of which a second vector is read


class KeySegments:
    """Finds vectors of one key; `warn` is told what is wrong with files, and why."""

    def __init__(self, place, key, warn):
        self._place = place
        self._folder = folder_of(key.digest)
        self._key = key
        self._warn = warn
        self._listed = float("-inf")
        self._names: list = []  # by the numbers that the index has for them
        self._layouts: dict = {}  # of those that are there: name → Layout
        self._skipped: dict = {}  # name → size
        self._indices: list = []  # (Index, names), largest first

    def look_again(self):
        """List the folder at the next `refresh`."""
        self._listed = float("-inf")

    def refresh(self):
        """Take in what has come and gone since the folder was listed."""
        now = time.monotonic()
        if now - self._listed < _LISTED_EVERY[self._place.is_remote]:
            return
        self._listed = now
        sizes = self._place.sizes(self._folder, self._layouts)
        self._layouts = {name: found for name, found in self._layouts.items() if name in sizes}
        new = {
            name: size for name, size in sizes.items() if name not in self._layouts and self._skipped.get(name) != size
        }
        if new:
            self._add(new)

    def candidates(self, digests):
        """Return {digest: [(name, row, checksum)]} of rows that should hold vectors, by the order of names."""
        prefixes = prefixes_of(digests)
        found = np.concatenate([index.find(prefixes) for index, _ in self._indices] or [[]]).tolist()
        by_prefix = defaultdict(list)
        for prefix, checksum, number, row in found:
            name = self._names[number]
            if name in self._layouts and row < self._layouts[name].n_rows:
                by_prefix[prefix].append((name, row, checksum))
        pairs = ((digest, by_prefix.get(prefix)) for digest, prefix in zip(digests, prefixes.tolist(), strict=True))
        return {digest: sorted(rows) for digest, rows in pairs if rows}

    def read(self, candidates):
        """Return {digest: bytes} of sound vectors; where one is damaged the next segment is asked."""
        found: dict = {}
        waiting = {digest: list(rows) for digest, rows in candidates.items()}
        while waiting:
            found |= self._read_rows({digest: rows.pop(0) for digest, rows in waiting.items()})
            waiting = {digest: rows for digest, rows in waiting.items() if rows and digest not in found}
        self._compare(candidates, found)
        return found

    def seconds_per_image(self):
        """Return how long an image took to compute on average."""
        found = self._layouts.values()
        return sum(one.seconds for one in found) / max(sum(one.n_rows for one in found), 1)

    def _add(self, sizes):
        """Index new segments, together with former indices that are not much larger, so that there are few of them."""
        n_new = sum(sizes.values()) // (self._key.n_bytes + 24)
        names, indices = sorted(sizes), list(self._indices)
        while indices and indices[-1][0].n_entries < 2 * n_new:
            former = [name for name in indices.pop()[1] if name in self._layouts]
            n_new += sum(self._layouts[name].n_rows for name in former)
            names = sorted({*names, *former})
        found: dict = {}
        index = Index(self._entries(names, sizes, found), n_new)
        # In this order, as other threads look things up at the same time.
        self._layouts = {**self._layouts, **found}
        self._indices = [*indices, (index, names)]

    def _entries(self, names, sizes, found):
        """Yield the entries of segments, and note down the layouts of new ones."""
        found.update({name: self._layouts[name] for name in names if name in self._layouts})
        new = {name: sizes[name] for name in names if name not in found}
        for name, one in layouts(partial(self._place.read, self._folder), new):
            if isinstance(one, Exception):
                self._skip(name, sizes[name], one)
            elif (one.digest, one.n_bytes) != (self._key.digest, self._key.n_bytes):
                self._skip(name, one.size, "it is of another recipe")
            else:
                found[name] = one
        sound = [name for name in names if name in found]
        for start in range(0, len(sound), _OPENED_TOGETHER):
            yield from self._entries_at({name: found[name] for name in sound[start : start + _OPENED_TOGETHER]})

    def _entries_at(self, found):
        ranges = []
        for name, one in found.items():
            ranges.append((name, one.checksums, one.checksums + CHECKSUM_SIZE * one.n_rows))
            ranges.append((name, one.images, one.images + DIGEST_SIZE * one.n_rows))
        columns = self._place.read(self._folder, ranges)
        for name, checksums, images in zip(found, columns[::2], columns[1::2], strict=True):
            if checksums is not None and images is not None:
                self._names.append(name)
                yield entries_of(images, checksums, len(self._names) - 1)

    def _skip(self, name, size, why):
        """Leave out a file until its size changes."""
        self._skipped[name] = size
        if name in self._place.sizes(self._folder, {name}):  # not one that was removed in between
            self._warn("skipped", f"has files that are skipped, such as {name} ({why})")

    def _read_rows(self, rows):
        """Return {digest: bytes} of those rows that are sound."""
        ordered = sorted(rows.items(), key=lambda one: one[1])
        n_bytes, ranges = self._key.n_bytes, []
        for _, (name, row, _) in ordered:
            start = self._layouts[name].vectors + row * n_bytes
            ranges.append((name, start, start + n_bytes))
        found = {}
        for (digest, (name, _, _)), blob in zip(ordered, self._place.read(self._folder, ranges), strict=True):
            if blob is None:
                self._layouts = {other: one for other, one in self._layouts.items() if other != name}
            elif checksum_of(self._key, digest, blob) == self._checksum(rows[digest]):
                found[digest] = blob
            else:
                self._warn("damaged", f"holds damaged vectors, which are skipped, the first in {name}")
        return found

    def _checksum(self, row):
        return row[2].to_bytes(8, "little")

    def _compare(self, candidates, found):
        """Compare what several segments hold of one image: equal vectors have equal checksums."""
        others = {}
        for digest, rows in candidates.items():
            unlike = [row for row in rows if row[2] != rows[0][2]]
            if unlike and digest in found:
                others[digest] = unlike[0]
        others = {digest: others[digest] for digest in list(others)[:_COMPARED]}
        if others and any(found[digest] != blob for digest, blob in self._read_rows(others).items()):
            self._warn(
                "different",
                "has segments that hold different vectors of the same image, of which the one counts whose name comes "
                "first",
            )
