"""From the store of a machine to folders of segments, and back."""

import re
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice

import numpy as np

from sktl.store._database import StoredKey, checksum_of
from sktl.store._segment_format import CHECKSUM_SIZE, DIGEST_SIZE, layouts
from sktl.store._segment_places import folder_of
from sktl.store._segments import SegmentFolder, write_segment

__all__ = ["SegmentsUsage", "export_vectors", "import_vectors", "usage_of_segments"]

_TOGETHER = 64 << 20  # bytes of vectors in a file that is written, and at a time of one that is read
_MOST_ROWS = 100_000


@dataclass(frozen=True)
class SegmentsUsage:
    """What a folder of segments holds."""

    path: str
    n_segments: int
    n_vectors: int  # those in several segments count in each
    n_bytes: int  # of the files
    by_key: list  # per key: description, vectors, bytes of the files, segments


def export_vectors(store, folder, *, recipe=None):
    """Write what a store holds, and a folder does not, to segments.

    Parameters
    ----------
    store : EmbeddingStore
        Where vectors are.
    folder : str or Path
        Path or URL of the segments.
    recipe : str or None, default=None
        A part of the descriptions of those keys that are wanted.

    Returns
    -------
    n_written, n_segments : int
        Vectors, and files.

    Raises
    ------
    ValueError
        If there is nothing of that recipe.
    """
    keys = [key for key in store.stored_keys() if recipe is None or recipe.lower() in key.description.lower()]
    if not keys and recipe is not None:
        raise ValueError(
            f"recipe must be a part of what the store has embeddings of. Got {recipe!r:.60} instead. "
            "sktl cache info lists what there is."
        )
    target, n_written, n_segments = SegmentFolder(folder), 0, 0
    target.place.make()
    for key in keys:
        n_together = max(min(_TOGETHER // key.n_bytes, _MOST_ROWS), 1)
        for digests in _portions(_missing(store, target, key, n_together), n_together):
            vectors = store.read(key, digests)
            if vectors:
                write_segment(folder, key, vectors, seconds=store.seconds_per_image(key) * len(vectors))
                n_written, n_segments = n_written + len(vectors), n_segments + 1
    return n_written, n_segments


def import_vectors(store, folder):
    """Write what a folder of segments holds, and a store does not, to the store.

    Parameters
    ----------
    store : EmbeddingStore
        Where vectors shall be.
    folder : str or Path
        Path or URL of the segments.

    Returns
    -------
    n_written : int
        Vectors that are in the store now and were not before.

    Raises
    ------
    ValueError
        If there is no such folder, or more in it than the store may hold.
    """
    source = SegmentFolder(folder)
    if not source.place.exists():
        raise ValueError(f"folder must be a folder of segments. Got {source.folder!r} instead, which is not there.")
    found = list(_layouts(source))
    n_bytes = sum(one.n_rows * one.n_bytes for _, _, one in found)
    if n_bytes > store.max_bytes:
        raise ValueError(
            f"SKTL_CACHE_SIZE must be {n_bytes} bytes at least for what is imported. Got {store.max_bytes} instead. "
            "Raise it, or look the folder up where it is: SKTL_CACHE_SEGMENTS names it."
        )
    n_written = 0
    for place, name, one in found:
        key = StoredKey(one.digest, one.description, one.n_bytes)
        for vectors in _vectors(source, place, name, one):
            new = {digest: vectors[digest] for digest in vectors.keys() - store.stored(key, vectors)}
            if new:
                store.write(key, new, None, one.seconds * len(new) / one.n_rows)
                n_written += len(store.stored(key, new))
    return n_written


def usage_of_segments(folder):
    """Return what a folder of segments holds; files are opened, vectors are not read."""
    rows = []
    for _, own in groupby(_layouts(folder), key=lambda one: one[0]):
        found = [one for _, _, one in own]
        n_vectors, n_bytes = sum(one.n_rows for one in found), sum(one.size for one in found)
        rows.append((found[0].description, n_vectors, n_bytes, len(found)))
    n_segments, n_vectors, n_bytes = (sum(row[i] for row in rows) for i in (3, 1, 2))
    return SegmentsUsage(folder.folder, n_segments, n_vectors, n_bytes, rows)


def _missing(store, target, key, n_together):
    """Yield the digests of images that a store has a vector of, and a folder of segments has not."""
    after = b""
    while digests := store.digests(key, after, n_together):
        after = digests[-1]
        held = target.holds(key, digests)
        yield from (digest for digest in digests if digest not in held and len(digest) == DIGEST_SIZE)


def _portions(digests, n_together):
    digests = iter(digests)
    while some := list(islice(digests, n_together)):
        yield some


def _layouts(source):
    """Yield (folder, name, layout) of all segments that a look-up would find."""
    with source.faults():
        for folder in source.place.folders():
            if not re.fullmatch("[0-9a-f]{16}", folder):
                continue
            for name, one in layouts(partial(source.place.read, folder), source.place.sizes(folder)):
                if isinstance(one, Exception):
                    source.warn("skipped", f"has files that are skipped, such as {name} ({one})")
                elif folder_of(one.digest) != folder:
                    source.warn("skipped", f"has files that are skipped, such as {name} (it is of another recipe)")
                else:
                    yield folder, name, one


def _vectors(source, folder, name, one):
    """Yield the vectors of a segment as dictionaries of bounded size; damaged ones are left out."""
    key = StoredKey(one.digest, one.description, one.n_bytes)
    n_together = max(_TOGETHER // one.n_bytes, 1)
    columns = ((one.vectors, one.n_bytes), (one.checksums, CHECKSUM_SIZE), (one.images, DIGEST_SIZE))
    for first in range(0, one.n_rows, n_together):
        last = min(first + n_together, one.n_rows)
        ranges = [(name, start + first * size, start + last * size) for start, size in columns]
        read = source.place.read(folder, ranges)
        if None in read:
            return
        found = {}
        for i in range(last - first):
            blob, checksum, digest = (
                part[i * size : (i + 1) * size] for part, (_, size) in zip(read, columns, strict=True)
            )
            if checksum_of(key, digest, blob) == checksum:
                found[digest] = np.frombuffer(blob, dtype="<f4")
            else:
                source.warn("damaged", f"holds damaged vectors, which are skipped, the first in {name}")
        yield found
