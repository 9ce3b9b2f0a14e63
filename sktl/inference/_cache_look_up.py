"""Cache look-up: which vectors of one call are in the store, and which images have to go through the network."""

import time
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter

import numpy as np

from sktl.exceptions import ImageReadError
from sktl.inference._prefetching import batched, prefetched
from sktl.inference.progress import keep

# Images looked up together, whatever the batch size: all of them are held in memory, still encoded.
_MAX_LOOK_UP = 256
_OPENED_TOGETHER = 8  # by one thread at a time
_MIN_AHEAD = 4  # such lists, at least: the next ones are opened while these are looked up
_POLL_SECONDS = 0.02
_POLL_SHARE = 0.1  # of its time that a waiting call may spend on looking
# Without any vector from the others for so long, they are taken for stuck; computing twice is harmless.
_PATIENCE_SECONDS = 600
# A service asks for few images at a time, and never again for the same: what it computes is not worth a place on disk.
# Folds of small data do, too, but they are soon through.
_FEW, _MOST_IN_FEWS = 32, 1000


@dataclass
class Task:
    """One image to compute."""

    position: int  # in the collection
    opened: object = None  # the image where it was opened already, or the ImageReadError that says why it cannot be
    digest: bytes | None = None  # of its content; None when nothing is stored


@dataclass(eq=False)
class StoreInfo:
    """What the store has done for an estimator.

    Parameters
    ----------
    path : str or None, default=None
        Folder of the store; None when there is none.
    n_hits, n_misses : int, default=0
        Images whose vectors were found, and images sent through the network.
    n_bytes : int, default=0
        Bytes of the vectors found.
    seconds_saved : float, default=0.0
        What the vectors found had cost when they were computed.
    segments : dict of {str: int} or None, default=None
        Of the images found, how many in each folder of segments; None when no segments are looked up.
    """

    path: str | None = None
    n_hits: int = 0
    n_misses: int = 0
    n_bytes: int = 0
    seconds_saved: float = 0.0
    segments: dict | None = None
    _n_in_fews = _MOST_IN_FEWS  # of one that was read from a file; no field, since it is nobody's concern

    def __post_init__(self):
        self._n_in_fews = 0

    def keeps(self, n_images):
        """Tell whether a call for so many images writes to the store, and count it."""
        if n_images >= _FEW:
            return True
        self._n_in_fews += n_images
        return self._n_in_fews <= _MOST_IN_FEWS

    def keep_no_fews(self):
        """Write nothing that few images need from now on, as in a model that was read from a file."""
        self._n_in_fews = _MOST_IN_FEWS

    def __getstate__(self):
        return {**vars(self), "_n_in_fews": _MOST_IN_FEWS}


class CacheLookUp:
    """The cache look-up of one call: fills in the hits, hands out the misses, stores what was computed.

    To be used as a context manager: whatever happens, other processes need not wait for what this call has given up.
    """

    def __init__(self, store, key, images, embeddings, info, *, batch_size, progress, keep=True):
        self._store = store
        self._key = key
        self._images = images
        self._embeddings = embeddings
        self._info = info
        self._batch_size = min(batch_size, _MAX_LOOK_UP)
        self._progress = progress
        self._keep = keep
        self._first: dict = {}  # digest → position of the image that stands for all copies of it
        self._copies: list = []  # (position, position of the first)
        self._mine: set = set()  # digests that this call has claimed and not yet written
        self._elsewhere: dict = {}  # digest → position: computed by another call at the moment
        self._unwritten: dict = {}  # digest → vector
        self._failed: set = set()  # positions of images that could not be decoded
        self._lease = None  # under which images are claimed, once there are any to claim
        self._seconds = 0.0
        self._last = time.perf_counter()

    def __enter__(self):
        self._info.path = None if self._store.folder is None else str(self._store.folder)
        if self._store.segments:
            folders = (tier.folder for tier in self._store.segments)
            self._info.segments = {**dict.fromkeys(folders, 0), **(self._info.segments or {})}
        return self

    def __exit__(self, *error):
        try:
            self.flush()
            self._store.release(self._key, self._mine, self._lease)
        finally:
            self._store.end(self._lease)

    def misses(self, pool, n_threads):
        """Fill in the vectors that are stored, and yield the tasks that are left to this call."""
        opened = prefetched(
            self._open, batched(range(len(self._images)), _OPENED_TOGETHER), pool, max(n_threads, _MIN_AHEAD)
        )
        for tasks in batched(chain.from_iterable(opened), self._batch_size):
            new, broken = {}, []
            for task in tasks:
                if task.digest is None:
                    broken.append(task)  # whoever prepares it will find out
                elif task.digest in self._first:
                    self._copies.append((task.position, self._first[task.digest]))
                else:
                    self._first[task.digest] = task.position
                    new[task.digest] = task
            yield from sorted([*self._look_up(new), *broken], key=attrgetter("position"))

    def taken_over(self):
        """Wait for what others compute, and return the tasks that they have left undone: none when all is there."""
        patient_until = time.monotonic() + _PATIENCE_SECONDS
        while self._elsewhere:
            n_before, began = len(self._elsewhere), time.monotonic()
            tasks = [Task(position, None, digest) for digest, position in self._elsewhere.items()]
            self._elsewhere = {}
            mine = list(self._look_up({task.digest: task for task in tasks}))
            if mine:
                return mine
            now = time.monotonic()
            if len(self._elsewhere) < n_before:
                patient_until = now + _PATIENCE_SECONDS
            elif now > patient_until:
                self._elsewhere = {}
                return tasks
            time.sleep(max(_POLL_SECONDS, (now - began) / _POLL_SHARE))
        return []

    def keep(self, tasks, vectors):
        """Take in what was computed."""
        self._info.n_misses += len(tasks)
        if self._keep:
            self._unwritten.update(zip((task.digest for task in tasks), vectors, strict=True))
        now = time.perf_counter()
        self._seconds += now - self._last
        self._last = now
        if len(self._unwritten) >= self._batch_size:
            self.flush()

    def give_up(self, task):
        """Take in that an image could not be decoded."""
        self._failed.add(task.position)
        if task.digest in self._mine:
            self._mine.discard(task.digest)
            self._store.release(self._key, [task.digest], self._lease)

    def flush(self):
        """Write what was computed."""
        if self._unwritten:
            self._store.write(self._key, self._unwritten, self._lease, self._seconds)
            keep(self._seconds)
            self._mine -= self._unwritten.keys()
            self._unwritten, self._seconds = {}, 0.0

    def copies(self):
        """Fill in the rows of repeated images; return their positions, each with that of the first."""
        if self._copies:
            to, of = np.array(self._copies).T
            self._embeddings[to] = self._embeddings[of]
            self._count_hits(sum(first not in self._failed for first in of.tolist()))
        return self._copies

    def _open(self, positions):
        tasks = []
        for position in positions:
            try:
                image = self._images.open(position)
                tasks.append(Task(position, image, image.digest()))
            except ImageReadError as error:
                tasks.append(Task(position, error))
        return tasks

    def _look_up(self, tasks):
        """Fill in what is stored, take on what nobody computes, and yield that."""
        if not tasks:
            return
        found = self._stored(tasks)
        for digest, vector in found.items():
            self._embeddings[tasks[digest].position] = vector
        self._count_hits(len(found))
        rest = [digest for digest in tasks if digest not in found]
        mine = set(rest)
        if rest and self._keep:
            self._lease = self._lease or self._store.begin()
            mine = self._store.claim(self._key, rest, self._lease)
            self._mine |= mine
            self._elsewhere.update((digest, tasks[digest].position) for digest in rest if digest not in mine)
        self._last = time.perf_counter()
        yield from (tasks[digest] for digest in rest if digest in mine)

    def _stored(self, digests):
        """Return what is stored, in whichever tier."""
        found: dict = {}
        for tier in self._store.tiers:
            if rest := [digest for digest in digests if digest not in found]:
                new = tier.read(self._key, rest)
                found |= new
                if tier in self._store.segments:
                    self._info.segments[tier.folder] += len(new)
        return found

    def _count_hits(self, n_hits):
        if n_hits:
            self._progress(n_hits)
            self._info.n_hits += n_hits
            self._info.n_bytes += n_hits * self._key.n_bytes
            self._info.seconds_saved += n_hits * self._store.seconds_per_image(self._key)
