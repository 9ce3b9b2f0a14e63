"""Patches: from the maps of some stages, each image by itself, to one vector for each place of a grid."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.random_projection import GaussianRandomProjection
from torch.nn import functional as F

from sktl.inference import activation_shape

__all__ = ["PatchMaker", "patch_maker", "usual_layers"]

_NEIGHBOURHOOD = 3  # places on a side
_STRIDES = (4, 8, 16)  # pixels of the image for one place: from edges and spots to parts of things
_PLACE = 8  # pixels on a side of the finest grid: with a finer one, nothing was found better, and all takes longer


@dataclass(frozen=True)
class PatchMaker:
    """How the flattened maps of one image become patches.

    Parameters
    ----------
    shapes : tuple of tuple of int
        Of what each stage gives for one image: channels, height and width, or tokens and channels.
    side : int
        Places on a side of the grid.
    weights : ndarray of shape (n_channels, n_components), float32, or None
        From the channels of all stages to the vector of a patch; None before `with_weights`.
    """

    shapes: tuple
    side: int
    weights: np.ndarray | None = None

    @property
    def n_channels(self):
        """Channels of all stages together."""
        return sum(_channels(shape) for shape in self.shapes)

    @property
    def n_bytes(self):
        """Bytes of the maps of one image, as float32."""
        return 4 * sum(map(math.prod, self.shapes))

    def with_weights(self, channels, n_components, seed):
        """Return one that weighs all stages alike, by the spread of these vectors of places, and projects at random."""
        spreads = channels.var(axis=0, dtype=np.float64)
        ends = np.cumsum([_channels(shape) for shape in self.shapes])
        totals = [math.sqrt(part.sum()) or 1.0 for part in np.split(spreads, ends[:-1])]
        scales = np.repeat([1 / total for total in totals], np.diff(ends, prepend=0))[:, None]
        if n_components is None or self.n_channels <= n_components:
            projection = np.eye(self.n_channels)
        else:
            random = GaussianRandomProjection(n_components, random_state=seed)
            projection = random.fit(np.zeros((1, self.n_channels))).components_.T
        return replace(self, weights=(scales * projection).astype(np.float32))

    def channels(self, vector):
        """Return the channels (n_places, n_channels) of the places of one image, row by row, of its flattened maps."""
        parts = vector.split([math.prod(shape) for shape in self.shapes])
        maps = [_on_grid(part, shape, self.side) for part, shape in zip(parts, self.shapes, strict=True)]
        return torch.cat(maps).flatten(1).T

    def __call__(self, vector):
        """Return the patches (n_places, n_components) of one image.

        One image at a time: then what is computed does not depend on its neighbours.
        """
        return self.channels(vector) @ torch.from_numpy(self.weights)


def patch_maker(backbone, layers, preprocessing):
    """Make the PatchMaker of some layers, without weights yet."""
    shapes = tuple(
        activation_shape(backbone, backbone.n_stages_below(layer), "flatten", preprocessing) for layer in layers
    )
    return PatchMaker(shapes, min(max(map(_side, shapes)), math.ceil(preprocessing.crop_size / _PLACE)))


def usual_layers(backbone, preprocessing):
    """Return the topmost stages whose maps are nearest to a fourth, an eighth and a sixteenth of the image.

    Where one stage is all that, as in a ViT, those after half and three quarters of the stages.
    """
    names = backbone.stage_names
    shapes = [activation_shape(backbone, cut, "flatten", preprocessing) for cut in range(1, len(names) + 1)]
    sides = [_side(shape) if len(shape) > 1 else 0 for shape in shapes]
    wanted = [preprocessing.crop_size / stride for stride in _STRIDES]
    chosen = {max(range(len(names)), key=lambda i, side=side: (-abs(sides[i] - side), i)) for side in wanted}
    if len(chosen) == 1:
        chosen = {len(names) // 2, len(names) * 3 // 4}
    return [names[i] for i in sorted(chosen)]


def _side(shape):
    """Return the places on a side of what a stage gives; tokens, without the class token, form a square."""
    if len(shape) == 3:
        return shape[1]
    side = math.isqrt(max(shape[0] - 1, 0)) if len(shape) == 2 else 0
    if side == 0 or side * side != shape[0] - 1:
        raise ValueError(
            "layer must name stages that give maps, or tokens that form a square behind a class token. Got one that "
            f"gives an output of shape {shape} instead. Take a lower stage."
        )
    return side


def _channels(shape):
    return shape[0] if len(shape) == 3 else shape[1]


def _on_grid(part, shape, side):
    """Return the map of a stage, averaged over the neighbourhood of each place, on a grid of so many places."""
    if len(shape) == 2:
        part = part.unflatten(0, shape)[1:].T
    maps = part.reshape(1, _channels(shape), _side(shape), _side(shape))
    maps = F.avg_pool2d(maps, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False)
    if maps.shape[2] < side:
        return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)[0]
    return F.adaptive_avg_pool2d(maps, side)[0]
