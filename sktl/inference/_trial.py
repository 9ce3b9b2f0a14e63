"""One trial image through a network: how wide its outputs are, and whether it is the network of last time."""

from hashlib import sha256
from weakref import WeakKeyDictionary

import torch

from sktl.inference._blocks import run_in_blocks
from sktl.inference._device import Placement
from sktl.inference._folding import pooled_outputs

_ON_CPU = Placement(torch.device("cpu"), torch.float32)
# Pooled outputs of the trial image by backbone; a process asks for the same few again and again.
_known: "WeakKeyDictionary" = WeakKeyDictionary()


def cuts_of(backbone, layers):
    """Return how many stages run for each of the layers."""
    return tuple(backbone.n_stages_below(layer) for layer in layers)


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
    return tuple(_trial(backbone, cut, pooling, preprocessing)[0] for cut in cuts_of(backbone, layers))


def behaviour(backbone, cuts, pooling, preprocessing):
    """Identify what a network computes, beyond its weights, by its outputs for the trial image.

    The code of a network of one's own may change while its weights stay the same.

    Parameters
    ----------
    backbone, pooling, preprocessing
        See `embed`.
    cuts : tuple of int
        Numbers of stages.

    Returns
    -------
    tuple of str
        A digest per cut.
    """
    return tuple(_trial(backbone, cut, pooling, preprocessing)[1] for cut in cuts)


def _trial(backbone, cut, pooling, preprocessing):
    """Return width and digest of the output after a number of stages."""
    known = _known.setdefault(backbone, {})
    key = (cut, pooling, preprocessing)
    if key not in known:
        output = _output(backbone, cut, pooling, preprocessing)
        known[key] = output.shape[1], sha256(output.numpy()).hexdigest()
    return known[key]


def _output(backbone, cut, pooling, preprocessing):
    size = preprocessing.crop_size
    image = torch.randint(256, (1, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def function(batch):
        return pooled_outputs(backbone.stages, preprocessing.normalize(batch), (cut,), pooling, backbone.own_pooling)

    try:
        return run_in_blocks(function, image, _ON_CPU, rows=1)
    except RuntimeError as error:
        if size == backbone.preprocessing.crop_size:
            raise
        raise ValueError(
            f"image_size must suit {backbone.name}, which was made for {backbone.preprocessing.crop_size} pixels. "
            f"Got {size} instead, and an error from the network: {error}"
        ) from error
