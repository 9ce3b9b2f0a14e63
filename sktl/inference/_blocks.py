"""Batched inference in blocks of one fixed shape, so that the vector of an image does not depend on its neighbours.

Numerical libraries choose their kernels by the shape of the batch and share out the work by the number of threads, so
the last bits of a vector would depend on how many neighbours it had and on the machine's load. Here every call of the
network sees a block of the same number of rows, the last one padded with zeros, and on the CPU each block has one
thread to itself: then the vector of an image is a function of the image alone. Several cores compute several blocks
side by side, which is also faster than several threads in one block.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import Lock, current_thread, main_thread

import numpy as np
import torch

from sktl._forking import after_fork, free_after_fork
from sktl.inference._prefetching import batched, prefetched, reading_threads, stopping
from sktl.inference.forward_passes import current_counter
from sktl.inference.progress import counted

# Rows of a block on the CPU for 224 x 224 pixels and for small images. Throughput hardly depends on it there, and an
# image that comes alone pays for a whole block.
_CPU_ROWS, _CPU_PIXELS, _CPU_MAX_ROWS = 4, 224 * 224, 16
# Bytes of the largest tensor, or nearly so, from whose size glibc learns what memory is worth keeping.
_LARGEST_LEARNED = 31 * 2**20
# On a CUDA device one thread copies while the other computes, each on a stream of its own.
_CUDA_THREADS = 2
_streams: dict = {}  # by device; made once, since memory is set aside for each
_mps = free_after_fork(Lock())  # torch takes work for Apple's devices from one thread at a time
# Rows that fitted where the wanted number did not, so that a lack of memory is met only once.
_rows_that_fit: dict = {}


def block_rows(image_size, device, batch_size):
    """Rows of every block: a function of the image size alone on the CPU, the batch size elsewhere."""
    if device.type != "cpu":
        return batch_size
    return int(min(max(_CPU_ROWS * _CPU_PIXELS // image_size**2, _CPU_ROWS), _CPU_MAX_ROWS))


def run_in_blocks(function, batch, placement, rows, *, key=None, short=None):
    """Apply a network to a batch, `rows` rows at a time."""
    blocks = (batch[start : start + rows] for start in range(0, len(batch), rows))
    return torch.cat(list(map_blocks(function, blocks, placement, rows, key=key, short=short)))


def map_blocks(function, blocks, placement, rows, *, key=None, short=None):
    """Apply a network to blocks, several at a time; their images are counted as forward passes.

    With `short`, the ShortBlocks of what is run, there is one block alone, which may have fewer rows.
    """
    counter = current_counter()

    def run(block):
        outputs = _run_while_it_fits(function, block, placement=placement, rows=rows, key=key, short=short)
        counter.add(len(outputs))
        return outputs

    with _computing_threads(placement.device, alone=short is not None) as (pool, n_threads):
        yield from prefetched(run, blocks, pool, n_threads)


def map_images(function, images, preprocessing, placement, *, batch_size, n_jobs=None, verbose=0, key=None, short=None):
    """Read, prepare and push images through a network."""
    rows = block_rows(preprocessing.crop_size, placement.device, batch_size)
    blocks = read_prepared(images, preprocessing, batch_size=rows, n_jobs=n_jobs)
    with counted(len(images), verbose=verbose) as advance:
        for outputs in map_blocks(function, blocks, placement, rows, key=key, short=short):
            yield outputs
            advance(len(outputs))


def read_prepared(images, preprocessing, *, batch_size, n_jobs=None):
    """Read and prepare images in threads, in order, a bounded number of batches ahead."""

    def prepare(positions):
        return stack([preprocessing.prepare(images[position]) for position in positions])

    with reading_threads(n_jobs, len(images)) as (pool, n_threads):
        yield from prefetched(prepare, batched(range(len(images)), batch_size), pool, 2 * n_threads)


def stack(prepared):
    """Stack prepared images: bytes where all are bytes, else float32 in [0, 1]."""
    if len({array.dtype for array in prepared}) > 1:
        prepared = [array / np.float32(255) if array.dtype == np.uint8 else array for array in prepared]
    return torch.from_numpy(np.stack(prepared))


def _run_while_it_fits(function, block, *, placement, rows, key, short):
    """Run one block, in smaller ones where the accelerator has not enough memory for it."""
    while True:
        fitting = min(rows, _rows_that_fit.get(key, rows))  # nothing is ever kept under None
        try:
            outputs = [_run(function, part, placement, fitting, short) for part in block.split(fitting)]
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        except torch.OutOfMemoryError:
            if fitting == 1:
                raise
            rows = fitting // 2
            if key is not None:
                _rows_that_fit[key] = rows
        # Outside of the except clause, since the traceback holds on to the tensors of the failed attempt.
        torch.cuda.empty_cache()


def _run(function, block, placement, rows, short):
    n_images = len(block)
    with _mps if placement.device.type == "mps" else nullcontext():
        block = _moved(block, placement.device)
        with torch.inference_mode(), placement.autocast():
            if short is not None and n_images < rows:
                rows = short.rows_for(function, block, rows)
            if n_images < rows:
                block = torch.cat([block, block.new_zeros((rows - n_images, *block.shape[1:]))])
            output = function(block)
        output = output[:n_images].float().cpu()
    # A copy made outside of inference mode, as the result may take part in training.
    return output.clone()


def _moved(block, device):
    if device.type == "cuda" and block.device.type == "cpu":
        return block.pin_memory().to(device, non_blocking=True)
    return block.to(device)


@contextmanager
def _computing_threads(device, *, alone):
    """Give the pool of threads that run the network, and their number: on the CPU as many as torch itself would use.

    A block that is alone is run by the thread that asks for it.
    """
    if device.type == "cpu":
        _keep_memory()
    with _usual_settings as n_threads:
        if alone:
            torch.set_num_threads(1)
            try:
                yield None, 1
            finally:
                torch.set_num_threads(n_threads)  # of this thread, whoever else still computes
            return
        options = {"initializer": torch.set_num_threads, "initargs": (1,)}  # one thread per operation
        if device.type == "cuda":
            before, streams = torch.cuda.current_stream(device), iter(_streams_of(device))
            n_threads, options = _CUDA_THREADS, {"initializer": _take_stream, "initargs": (streams, before)}
        elif device.type != "cpu":
            n_threads, options = 1, {}
        with stopping(ThreadPoolExecutor(n_threads, thread_name_prefix="sktl-network", **options)) as pool:
            yield pool, n_threads


@cache
def _keep_memory():
    """Have glibc keep the memory of one block for the next: up to 64 MiB a thread.

    It gives back to the system whatever is larger than the largest tensor freed so far, and what exceeds two of those.
    A network with outputs of that size would be given fresh pages for every block, which may take as long as computing.
    """
    torch.empty(_LARGEST_LEARNED, dtype=torch.uint8)  # freed at once, and never written to


def _streams_of(device):
    if device not in _streams:
        _streams[device] = [torch.cuda.Stream(device) for _ in range(_CUDA_THREADS)]
    return _streams[device]


def _take_stream(streams, before):
    """Compute on the next of some streams from now on, after what was asked of the caller's stream."""
    stream = next(streams)
    stream.wait_stream(before)  # weights and images may still be on their way
    torch.cuda.set_stream(stream)


class _UsualSettings:
    """Puts right, once nothing is computed any more, what had to be changed for all threads of the process.

    That is the number of threads that a new thread starts with, which is one in the meantime, and TF32, in which CUDA
    convolutions would keep 10 bits of float32's 23. As a context manager it gives the usual number of threads.
    """

    def __init__(self):
        self.start()

    def start(self):
        """Begin as if nobody had computed anything: in a forked process, too."""
        self._lock = Lock()
        self._n_inside = 0
        self._n_threads = None
        self._precision = None

    def __enter__(self):
        with self._lock:
            # A thread that was born in the meantime knows only one thread; the main thread knows the user's wish.
            if self._n_inside == 0 and (self._n_threads is None or current_thread() is main_thread()):
                self._n_threads = torch.get_num_threads()
            if self._n_inside == 0 and torch.cuda.is_available():
                # Not allow_tf32, which raises once the user has set this one.
                self._precision = torch.backends.cudnn.conv.fp32_precision
                torch.backends.cudnn.conv.fp32_precision = "ieee"
            self._n_inside += 1
            return self._n_threads

    def __exit__(self, *error):
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                torch.set_num_threads(self._n_threads)
                if torch.cuda.is_available():
                    torch.backends.cudnn.conv.fp32_precision = self._precision


_usual_settings = _UsualSettings()
after_fork(_usual_settings.start)
