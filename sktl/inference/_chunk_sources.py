"""Where the chunks of embed_images come from, X or the partitions of a collection of dask, and who takes them."""

import sys

import numpy as np

from sktl._executors import ThisProcess, call, client_of
from sktl._optional import import_optional
from sktl.exceptions import ImageReadError
from sktl.images import as_images, take_rows
from sktl.images.dask_collections import is_dask_collection
from sktl.inference._chunks import EMBED_CHUNK, partitions_of

__all__ = ["source_of"]


def source_of(X, extractor, executor, chunk_size):
    """Return what gives the chunks of X to an executor."""
    if is_dask_collection(X):
        return _Partitions(X, executor)
    images = as_images(X)
    if images is not None:
        images = images.with_value_range(extractor.value_range_, learned=extractor.value_range is None)
    elif len(X) == 0:
        raise ValueError(f"X must hold at least one image. Got a {type(X).__name__} without rows instead.")
    return _Slices(X, images, executor or ThisProcess(), chunk_size)


class _Slices:
    """The chunks of an X that has rows: as many images each."""

    unit = "image"

    def __init__(self, X, images, executor, size):
        self.executor = executor
        self._size = size
        self._images = images  # None for rows of numbers
        self._X = X
        self._unmade: dict = {}  # position → why it could not be made
        self.total = len(X if images is None else images)
        self.n_chunks = -(-self.total // size)

    def submit(self, extractor, out, number):
        """Have one chunk embedded."""
        rows = range(number * self._size, min((number + 1) * self._size, self.total))
        items = take_rows(self._X, np.array(rows)) if self._images is None else [self._item(i) for i in rows]
        # Files may change between two calls that dask would take for one, as it does with equal arguments.
        options = {} if client_of(self.executor) is None else {"pure": False}
        return self.executor.submit(call, EMBED_CHUNK, extractor, items, out, **options)

    def _item(self, i):
        try:
            return self._images.item(i)
        except ImageReadError as error:
            self._unmade[i] = error
            return None

    def errors(self, number, failures, start=None):
        """Return the errors of one chunk, named as in X."""
        return [self._error(number * self._size + failure.index, failure) for failure in failures]

    def _error(self, i, failure):
        if i in self._unmade:
            return self._unmade[i]
        if self._images is None:
            return ImageReadError(failure.reason, i)
        return self._images.read_error(i, failure.reason)


class _Partitions:
    """The chunks of a collection of dask: its partitions, which dask computes."""

    unit = "partition"

    def __init__(self, X, executor):
        if executor is not None and client_of(executor) is None:
            raise TypeError(
                "executor must be one of dask, or None, for a collection of dask as X. Got a "
                f"{type(executor).__name__} instead; pass X.compute() to others."
            )
        self.executor = executor or _current_cluster() or ThisProcess()
        self._parts = partitions_of(X)
        self.total = self.n_chunks = len(self._parts)

    def submit(self, extractor, out, number):
        """Have one partition computed and embedded, where dask does so."""
        delayed = import_optional("dask", extra="dask", caller="embed_images of a collection of dask").delayed
        task = delayed(call, pure=False)(EMBED_CHUNK, extractor, self._parts[number], out)
        if isinstance(self.executor, ThisProcess):
            return self.executor.submit(task.compute)
        return client_of(self.executor).compute(task)

    def errors(self, number, failures, start=None):
        """Return the errors of one partition; which rows come before it shows only at the end."""
        if start is None:
            return [ImageReadError(f"in partition {number}, {each.reason}", each.index, each.path) for each in failures]
        return [ImageReadError(each.reason, start + each.index, each.path) for each in failures]


def _current_cluster():
    """Return the executor of the client that is current in this process, where there is one."""
    if "distributed" not in sys.modules:
        return None
    try:
        return sys.modules["distributed"].default_client().get_executor()
    except ValueError:
        return None
