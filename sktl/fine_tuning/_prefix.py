"""What the frozen part makes of each training image, computed once and used in every epoch."""

import math

import torch

from sktl.inference import block_rows, map_images, read_prepared, run_in_blocks

# Activations of the whole training set are kept in memory up to this size; beyond it they are computed for every batch.
_MEMORY = 2 << 30


class Activations:
    """Activations at the cut, for any selection of images.

    With no stage below the cut they are the prepared images themselves. Kept or computed again, they are the same bits:
    both ways go through blocks of the same shape.

    Parameters
    ----------
    network : FineTuneNetwork
        Network whose frozen part is run.
    images : ImageCollection
        The training images.
    placement : Placement
        Device and precision.
    batch_size : int
        Images read and moved together.
    n_jobs : int or None
        Reading threads.
    verbose : int
        A progress bar when positive.
    key : hashable
        What to remember a fitting block size under.
    memory : int, default=2 GiB
        Bytes that may be kept.
    """

    def __init__(self, network, images, placement, *, batch_size, n_jobs, verbose, key, memory=_MEMORY):
        self._network = network
        self._images = images
        self._placement = placement
        self._read = {"batch_size": batch_size, "n_jobs": n_jobs}
        self._key = key
        self._kept = None
        size = self._bytes_per_image() * len(images)
        if size <= memory:
            self._kept = _concatenated(list(self._compute(images, verbose)))
        elif verbose:
            print(f"sktl: the frozen part is computed in every epoch: keeping it would take {size / 2**30:.1f} GiB")

    def __len__(self):
        return len(self._images)

    def __getitem__(self, indices):
        """Return the activations of the images at an array of positions."""
        if self._kept is not None:
            return self._kept[torch.as_tensor(indices)]
        return _concatenated(list(self._compute(self._images.subset(indices))))

    def _compute(self, images, verbose=0):
        preprocessing = self._network.preprocessing
        if self._network.n_frozen == 0:
            return read_prepared(images, preprocessing, **self._read)
        return map_images(
            self._network.below_cut,
            images,
            preprocessing,
            self._placement,
            verbose=verbose,
            key=self._key,
            **self._read,
        )

    def _bytes_per_image(self):
        first = next(iter(read_prepared(self._images.subset([0]), self._network.preprocessing, batch_size=1)))
        if self._network.n_frozen:
            rows = block_rows(self._network.preprocessing.crop_size, self._placement.device, self._read["batch_size"])
            first = run_in_blocks(self._network.below_cut, first, self._placement, rows, key=self._key)
        return math.prod(first.shape) * first.element_size()


def _concatenated(batches):
    if len({batch.dtype for batch in batches}) > 1:
        batches = [batch / 255 if batch.dtype == torch.uint8 else batch for batch in batches]
    return torch.cat(batches)
