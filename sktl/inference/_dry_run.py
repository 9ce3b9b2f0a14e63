"""Dry runs of a network on random images: widths, shapes and digests of its outputs, and whether it mixes rows."""

from hashlib import sha256
from weakref import WeakKeyDictionary

import torch

from sktl.backbones.torch_defaults import torch_defaults
from sktl.inference._blocks import run_in_blocks
from sktl.inference._device import Placement
from sktl.inference._folding import pooled_outputs, poolings_of
from sktl.inference.forward_passes import counted_forward_passes

_ON_CPU = Placement(torch.device("cpu"), torch.float32)
_MAX_ROWS = 16
# What is known from dry runs by backbone; a process asks for the same few again and again.
_known: "WeakKeyDictionary" = WeakKeyDictionary()


def cuts_of(backbone, layers):
    """Return how many stages run for each of the layers."""
    return tuple(backbone.n_stages_below(layer) for layer in layers)


def embedding_widths(backbone, layers, pooling, preprocessing):
    """Return how many features each of some layers gives, or say that a network does not take images of this size."""
    return tuple(width for width, _ in _dry_runs(backbone, cuts_of(backbone, layers), pooling, preprocessing))


def activation_shape(backbone, cut, pooling, preprocessing):
    """Return the shape of what some stages make of one image; `pooling` is "flatten" for their output as it is."""
    if pooling != "flatten":
        return embedding_widths(backbone, (backbone.stage_names[cut - 1],), pooling, preprocessing)
    known = _known.setdefault(backbone, {})
    key = (cut, "as it is", preprocessing)
    if key not in known:

        def function(batch):
            return backbone.stages[:cut](preprocessing.normalize(batch))

        known[key] = tuple(_in_blocks(function, _images(1, preprocessing.crop_size), rows=1).shape[1:])
    return known[key]


def output_digests(backbone, cuts, pooling, preprocessing):
    """Identify what a network computes, beyond its weights, by its outputs for a random image.

    Its code may change while its weights stay the same.
    """
    return tuple(digest for _, digest in _dry_runs(backbone, cuts, pooling, preprocessing))


def has_own_code(backbone):
    """Whether a network came as a module or a function, so that its code may be anything; by name it may not."""
    return backbone.reload is None or not isinstance(backbone.reload.keywords.get("backbone"), str)


def has_code_of_others(backbone):
    """Whether more than name and weights says what a network computes: code of one's own, or of another library.

    Networks of timm change with its version. Those of transformers do, too, and with the configuration in their folder,
    of which two may lie beside the same weights.
    """
    return has_own_code(backbone) or backbone.configuration is not None or backbone.name.startswith("timm/")


def is_batch_invariant(backbone, cuts, pooling, preprocessing, rows):
    """Whether the vector of an image has the same bits wherever it stands in a block; run on networks of one's own.

    Not so, for instance, where batch norm keeps no statistics, or where the last values of a tensor are rounded by
    other code than the rest. Such networks are given one image at a time.
    """
    if rows == 1 or not has_own_code(backbone):
        return True
    rows = min(rows, _MAX_ROWS)
    known = _known.setdefault(backbone, {})
    key = (cuts, pooling, preprocessing, rows)
    if key not in known:
        images = _images(rows + 1, preprocessing.crop_size)
        # In the opposite order, and in other company: the last image is in the second block only.
        first, second = (
            _run(backbone, cuts, pooling, preprocessing, some, rows) for some in (images[:-1], images.flip(0)[:-1])
        )
        known[key] = torch.equal(first[1:], second.flip(0)[:-1])
    return known[key]


def _dry_runs(backbone, cuts, pooling, preprocessing):
    pairs = zip(cuts, poolings_of(pooling, cuts), strict=True)
    return [_dry_run(backbone, cut, how, preprocessing) for cut, how in pairs]


def _dry_run(backbone, cut, pooling, preprocessing):
    """Return width and digest of the output after a number of stages."""
    known = _known.setdefault(backbone, {})
    key = (cut, pooling, preprocessing)
    if key not in known:
        output = _output(backbone, cut, pooling, preprocessing)
        known[key] = output.shape[1], sha256(output.numpy()).hexdigest()
    return known[key]


def _output(backbone, cut, pooling, preprocessing):
    size = preprocessing.crop_size
    try:
        return _run(backbone, (cut,), pooling, preprocessing, _images(1, size), rows=1)
    except RuntimeError as error:
        if size == backbone.preprocessing.crop_size:
            raise
        raise ValueError(
            f"image_size must suit {backbone.name}, which was made for {backbone.preprocessing.crop_size} pixels. "
            f"Got {size} instead, and an error from the network: {error}"
        ) from error


def _run(backbone, cuts, pooling, preprocessing, images, rows):
    def function(batch):
        return pooled_outputs(backbone.stages, preprocessing.normalize(batch), cuts, pooling, backbone.own_pooling)

    return _in_blocks(function, images, rows)


@torch_defaults()
def _in_blocks(function, images, rows):
    with counted_forward_passes():  # apart from all others: these images are nobody's
        return run_in_blocks(function, images, _ON_CPU, rows)


def _images(n_images, size):
    noise = torch.Generator().manual_seed(0)
    return torch.randint(256, (n_images, 3, size, size), dtype=torch.uint8, device="cpu", generator=noise)
