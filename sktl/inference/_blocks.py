"""Images through a network, in blocks of one fixed shape.

Numerical libraries choose their kernels by the shape of the batch, so the last bits of a vector would depend on how
many neighbours it had. Here every call of the network sees a block of the same number of rows, the last one padded with
zeros: then the vector of an image is a function of the image alone. `batch_size` says how many images are read ahead
and travel together; on the CPU it never enters the arithmetic.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from joblib import effective_n_jobs
from tqdm.auto import tqdm

from sktl.exceptions import ImageReadError

# Rows of a block on the CPU for 224 x 224 pixels and for small images. Throughput hardly depends on it there, and an
# image that comes alone pays for a whole block.
_CPU_ROWS, _CPU_PIXELS, _CPU_MAX_ROWS = 4, 224 * 224, 16
# Batches that the reading threads may be ahead of the network.
_READ_AHEAD = 2
# Rows that fitted where the wanted number did not, so that a lack of memory is met only once.
_rows_that_fit: dict = {}


def block_rows(image_size, device, batch_size):
    """Rows of every block: a function of the image size alone on the CPU, the batch size elsewhere."""
    if device.type != "cpu":
        return batch_size
    return int(min(max(_CPU_ROWS * _CPU_PIXELS // image_size**2, _CPU_ROWS), _CPU_MAX_ROWS))


def run_in_blocks(function, batch, placement, rows, *, key=None):
    """Apply a network to a batch, `rows` rows at a time.

    Parameters
    ----------
    function : callable
        Takes and returns tensors with one row per image.
    batch : torch.Tensor of shape (n_images, ...)
        What the network takes, on any device.
    placement : Placement
        Device and precision.
    rows : int
        Rows of each block; fewer when an accelerator has run out of memory under the same key before.
    key : hashable, default=None
        What to remember the fitting number of rows under.

    Returns
    -------
    torch.Tensor of shape (n_images, ...)
        The outputs as float32 on the CPU.
    """
    while True:
        fitting = min(rows, _rows_that_fit.get(key, rows))  # nothing is ever kept under None
        try:
            return _run(function, batch, placement, fitting)
        except torch.OutOfMemoryError:
            if fitting == 1:
                raise
            rows = fitting // 2
            if key is not None:
                _rows_that_fit[key] = rows
        # Outside of the except clause, since the traceback holds on to the tensors of the failed attempt.
        torch.cuda.empty_cache()


def _run(function, batch, placement, rows):
    outputs = []
    for start in range(0, len(batch), rows):
        block = batch[start : start + rows].to(placement.device)
        n_images = len(block)
        if n_images < rows:
            block = torch.cat([block, block.new_zeros((rows - n_images, *block.shape[1:]))])
        with torch.inference_mode(), placement.autocast():
            output = function(block)
        outputs.append(output[:n_images].float().cpu())
    # Concatenated outside of inference mode: the result may take part in training.
    return torch.cat(outputs)


def map_images(
    function, images, preprocessing, placement, *, batch_size, n_jobs=None, on_error="raise", verbose=0, key=None
):
    """Read, prepare and push images through a network, batch by batch.

    Parameters
    ----------
    function : callable
        Takes prepared images (n_images, 3, image_size, image_size), returns one row per image.
    images : ImageCollection
        The images.
    preprocessing : Preprocessing
        What the network's weights were trained with.
    placement : Placement
        Device and precision.
    batch_size : int
        Images read ahead and moved together.
    n_jobs : int or None, default=None
        Reading threads, with joblib's meaning.
    on_error : {"raise", "nan"}, default="raise"
        What to do with an image that cannot be read.
    verbose : int, default=0
        A progress bar on standard error when positive.
    key : hashable, default=None
        See `run_in_blocks`.

    Yields
    ------
    start : int
        Position of the first image of the batch.
    outputs : torch.Tensor of shape (n_batch_images, ...)
        Rows of NaN where an image could not be read.
    failures : list of ImageReadError
        The images of this batch that could not be read.
    """
    rows = block_rows(preprocessing.crop_size, placement.device, batch_size)
    with tqdm(total=len(images), unit="image", disable=not verbose, leave=False) as bar:
        for start, batch, failures in read_prepared(
            images, preprocessing, batch_size=batch_size, n_jobs=n_jobs, on_error=on_error
        ):
            outputs = run_in_blocks(function, batch, placement, rows, key=key)
            for position, _ in failures:
                outputs[position - start] = torch.nan
            yield start, outputs, [error for _, error in failures]
            bar.update(len(batch))


def read_prepared(images, preprocessing, *, batch_size, n_jobs=None, on_error="raise"):
    """Read and prepare images in threads, in order, a bounded number of batches ahead.

    Parameters
    ----------
    images, preprocessing, batch_size, n_jobs, on_error
        See `map_images`.

    Yields
    ------
    start : int
        Position of the first image of the batch.
    batch : torch.Tensor of shape (n_batch_images, 3, image_size, image_size)
        uint8, or float32 in [0, 1]; zeros where an image could not be read.
    failures : list of (int, ImageReadError)
        Positions that could not be read, and why; always empty with ``on_error="raise"``.
    """

    def prepare(position):
        try:
            return preprocessing.prepare(images[position])
        except ImageReadError as error:
            if on_error == "raise":
                raise
            return error

    starts = range(0, len(images), batch_size)
    pool = ThreadPoolExecutor(effective_n_jobs(n_jobs), thread_name_prefix="sktl-read")
    pending: deque = deque()
    try:
        for start in starts:
            stop = min(start + batch_size, len(images))
            pending.append((start, [pool.submit(prepare, position) for position in range(start, stop)]))
            if len(pending) > _READ_AHEAD:
                yield _collect(*pending.popleft(), preprocessing.crop_size)
        while pending:
            yield _collect(*pending.popleft(), preprocessing.crop_size)
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(start, futures, image_size):
    results = [future.result() for future in futures]
    failures = [(start + i, result) for i, result in enumerate(results) if isinstance(result, ImageReadError)]
    blank = np.zeros((3, image_size, image_size), dtype=np.uint8)
    arrays = [blank if isinstance(result, ImageReadError) else result for result in results]
    if len({array.dtype for array in arrays}) > 1:
        arrays = [array / np.float32(255) if array.dtype == np.uint8 else array for array in arrays]
    return start, torch.from_numpy(np.stack(arrays)), failures
