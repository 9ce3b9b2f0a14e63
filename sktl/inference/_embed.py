"""One function from images to vectors; what remembers vectors goes here."""

import numpy as np
import torch

from sktl.backbones import pool
from sktl.inference._blocks import map_images
from sktl.inference._device import module_on

# Width of each pooled stage: one image through the network tells, and a process asks for the same few again and again.
_known_widths: dict = {}


def embed(
    images,
    backbone,
    preprocessing,
    placement,
    *,
    layers=("penultimate",),
    pooling="auto",
    batch_size=32,
    n_jobs=None,
    on_error="raise",
    verbose=0,
):
    """Embed images: the pooled output of a frozen network after one or several stages.

    Parameters
    ----------
    images : ImageCollection
        The images.
    backbone : Backbone
        The network.
    preprocessing : Preprocessing
        The network's own, or resized.
    placement : Placement
        Device and precision.
    layers : sequence of int or str, default=("penultimate",)
        Where to take features, see `Backbone.n_stages_below`; several are concatenated in this order.
    pooling : str, default="auto"
        See `sktl.backbones.pool`.
    batch_size, n_jobs, on_error, verbose
        See `map_images`.

    Returns
    -------
    embeddings : ndarray of shape (n_images, n_features), float32
        Rows of NaN where an image could not be read and ``on_error="nan"``.
    failures : list of ImageReadError
        The images that could not be read.
    """
    cuts = _cuts(backbone, layers)
    function = _pooled(module_on(backbone, placement.device), cuts, pooling, backbone.own_pooling, preprocessing)
    width = sum(embedding_widths(backbone, layers, pooling, preprocessing))
    embeddings = np.empty((len(images), width), dtype=np.float32)
    failures = []
    for start, outputs, failed in map_images(
        function,
        images,
        preprocessing,
        placement,
        batch_size=batch_size,
        n_jobs=n_jobs,
        on_error=on_error,
        verbose=verbose,
        key=(backbone.digest, placement, preprocessing.crop_size, cuts),
    ):
        embeddings[start : start + len(outputs)] = outputs.numpy()
        failures.extend(failed)
    return embeddings, failures


def embedding_widths(backbone, layers, pooling, preprocessing):
    """Return how many features each of the layers gives.

    Parameters
    ----------
    backbone, layers, pooling, preprocessing
        See `embed`.

    Returns
    -------
    tuple of int
        One width per layer.

    Raises
    ------
    ValueError
        If the images are too small, or of another size than the network takes.
    """
    return tuple(_width(backbone, cut, pooling, preprocessing) for cut in _cuts(backbone, layers))


def _width(backbone, cut, pooling, preprocessing):
    key = (backbone.digest, cut, pooling, preprocessing.crop_size)
    if key not in _known_widths:
        image = torch.zeros((1, 3, preprocessing.crop_size, preprocessing.crop_size), dtype=torch.uint8)
        function = _pooled(backbone.stages, (cut,), pooling, backbone.own_pooling, preprocessing)
        try:
            with torch.inference_mode():
                _known_widths[key] = function(image).shape[1]
        except RuntimeError as error:
            if preprocessing.crop_size == backbone.preprocessing.crop_size:
                raise
            raise ValueError(
                f"image_size must suit {backbone.name}, which was made for {backbone.preprocessing.crop_size} pixels. "
                f"Got {preprocessing.crop_size} instead, and an error from the network: {error}"
            ) from error
    return _known_widths[key]


def _cuts(backbone, layers):
    return tuple(backbone.n_stages_below(layer) for layer in layers)


def _pooled(stages, cuts, pooling, own_pooling, preprocessing):
    """Return the function from prepared images to the concatenated pooled outputs after the cuts."""

    def function(batch):
        output = preprocessing.normalize(batch).contiguous(memory_format=torch.channels_last)
        pooled = {}
        for cut, stage in enumerate(stages[: max(cuts)], start=1):
            output = stage(output)
            if cut in cuts:
                pooled[cut] = pool(output, pooling, own_pooling)
        return torch.cat([pooled[cut] for cut in cuts], dim=1)

    return function
