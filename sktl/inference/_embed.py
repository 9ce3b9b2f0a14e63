"""Embeddings of images: looked up in the embedding store, or else computed."""

from collections import deque
from functools import partial
from itertools import chain

import numpy as np

from sktl.backbones.torch_defaults import torch_defaults
from sktl.exceptions import ImageReadError
from sktl.inference._blocks import block_rows, map_blocks, stack
from sktl.inference._cache_key import cache_key_of
from sktl.inference._cache_look_up import CacheLookUp, StoreInfo, Task
from sktl.inference._dry_run import cuts_of, embedding_widths, is_batch_invariant
from sktl.inference._engines import check_engine, frozen_function
from sktl.inference._finite_numbers import check_finite_numbers
from sktl.inference._prefetching import batched, prefetched, reading_threads
from sktl.inference._short_blocks import short_blocks
from sktl.inference.progress import counted


@torch_defaults()
def embed(
    images,
    backbone,
    preprocessing,
    placement,
    *,
    layers=("penultimate",),
    pooling="auto",
    engine="torch",
    store=None,
    info=None,
    keep=True,
    batch_size=32,
    n_jobs=None,
    on_error="raise",
    verbose=0,
):
    """Embed images: the pooled output of a frozen network after one or several stages.

    Parameters
    ----------
    images : Images
        The images: an `ImageCollection`, or whatever follows the protocol.
    backbone : Backbone
        The network.
    preprocessing : Preprocessing
        The network's own, or resized.
    placement : Placement
        Device and precision.
    layers : sequence of int or str, default=("penultimate",)
        Where to take features, see `Backbone.n_stages_below`; several are concatenated in this order.
    pooling : str or tuple of str, default="auto"
        See `sktl.backbones.pool`; of a tuple, one for each layer.
    engine : {"torch", "onnxruntime"}, default="torch"
        What computes.
    store : EmbeddingStore or None, default=None
        Where vectors are looked up and kept. With one, images of the same content are computed once.
    info : StoreInfo or None, default=None
        Where hits and misses are counted.
    keep : bool, default=True
        Whether what is computed is written to the store; it is looked up there in any case.
    batch_size : int, default=32
        Images that are looked up and written together; rows of a block on an accelerator.
    n_jobs : int or None, default=None
        Reading threads, with joblib's meaning.
    on_error : {"raise", "nan"}, default="raise"
        What to do with an image that cannot be read.
    verbose : int, default=0
        A progress bar on standard error when positive.

    Returns
    -------
    embeddings : ndarray of shape (n_images, n_features), float32
        Rows of NaN where an image could not be read and ``on_error="nan"``.
    failures : list of ImageReadError
        The images that could not be read.
    """
    check_engine(engine, placement)
    cuts = cuts_of(backbone, layers)
    widths = embedding_widths(backbone, layers, pooling, preprocessing)
    embeddings = np.empty((len(images), sum(widths)), dtype=np.float32)
    rows = block_rows(preprocessing.crop_size, placement.device, batch_size)
    if not is_batch_invariant(backbone, cuts, pooling, preprocessing, rows):
        rows = 1
    make_function = partial(frozen_function, backbone, cuts, pooling, preprocessing, placement, engine=engine)
    run = partial(
        map_blocks,
        placement=placement,
        rows=rows,
        key=(backbone.digest, placement, preprocessing.crop_size, cuts),
        short=short_blocks(len(images), rows, placement, backbone, cuts, pooling, engine),
    )
    with (
        counted(len(images), verbose=verbose) as advance,
        reading_threads(n_jobs, len(images)) as threads,
    ):
        call = _Call(images, embeddings, preprocessing, on_error, make_function, run, rows, threads, advance)
        info = info or StoreInfo()
        if store is None:
            call.compute_all()
            info.n_misses += len(images) - len(call.failures)
        else:
            key = cache_key_of(backbone, cuts, pooling, preprocessing, placement, engine, rows, sum(widths))
            with CacheLookUp(
                store, key, images, embeddings, info, batch_size=batch_size, progress=advance, keep=keep
            ) as look_up:
                call.compute_missing(look_up)
    call.failures.sort(key=lambda failure: failure[0])
    return embeddings, [error for _, error in call.failures]


class _Call:
    """What happens to the images of one call: opened, prepared and computed in three sorts of threads."""

    def __init__(self, images, embeddings, preprocessing, on_error, make_function, run, rows, threads, progress):
        self._images = images
        self._embeddings = embeddings
        self._preprocessing = preprocessing
        self._on_error = on_error
        self._make_function = make_function
        self._run = run
        self._rows = rows
        self._threads = threads
        self._progress = progress
        self.failures: list = []  # (position, error)

    def compute_all(self):
        """Send every image through the network."""
        for _ in self._compute((Task(position) for position in range(len(self._images))), self._fail_task):
            pass

    def compute_missing(self, look_up):
        """Send those images through the network whose vectors are nowhere else to be had."""

        def fail_task(task, error):
            look_up.give_up(task)
            self._fail_task(task, error)

        tasks = look_up.misses(*self._threads)
        while tasks:
            for done, vectors in self._compute(tasks, fail_task):
                look_up.keep(done, vectors)
            look_up.flush()
            tasks = look_up.taken_over()
        failed = {position for position, _ in self.failures}
        for position, first in look_up.copies():
            if first in failed:
                self._fail(position, _error_of(self._images, position))

    def _compute(self, tasks, fail_task):
        """Fill in the vectors of tasks; yield them in lists, with their vectors."""
        pool, n_threads = self._threads
        prepared = prefetched(self._prepare, batched(tasks, self._rows), pool, 2 * n_threads)
        computing: deque = deque()

        def blocks():
            for good, block, bad in prepared:
                for task, error in bad:
                    fail_task(task, error)
                if good:
                    computing.append(good)
                    yield block

        waiting = blocks()
        first = next(waiting, None)
        if first is None:
            return
        for outputs in self._run(self._make_function(), chain([first], waiting)):
            done, vectors = computing.popleft(), outputs.numpy()
            check_finite_numbers(outputs, "vectors", self._images, [task.position for task in done])
            self._embeddings[[task.position for task in done]] = vectors
            self._progress(len(done))
            yield done, vectors

    def _prepare(self, tasks):
        """Decode and resize; return the tasks that went well, their images as one tensor, the others with errors."""
        good, arrays, bad = [], [], []
        for task in tasks:
            try:
                arrays.append(self._preprocessing.prepare(self._picture(task)))
                good.append(task)
            except ImageReadError as error:
                bad.append((task, error))
        return good, stack(arrays) if arrays else None, bad

    def _picture(self, task):
        image, task.opened = task.opened, None  # its bytes are not needed any longer
        if isinstance(image, ImageReadError):
            raise image
        if image is None:
            image = self._images.open(task.position)
            if task.digest is not None and image.digest() != task.digest:
                # Copies of the former content may be waiting for the vector.
                raise ImageReadError("the file was replaced while it was read. Start again.", task.position)
        return image.picture()

    def _fail_task(self, task, error):
        self._fail(task.position, error)

    def _fail(self, position, error):
        if self._on_error == "raise":
            raise error
        self._embeddings[position] = np.nan
        self.failures.append((position, error))
        self._progress(1)


def _error_of(images, position):
    """Return the error of an image that cannot be read, with its own position and path."""
    try:
        images.open(position).picture()
    except ImageReadError as error:
        return error
    return ImageReadError("the file has changed while it was read.", position)
