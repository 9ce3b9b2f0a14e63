"""Patches: from the map of a stage, each image by itself, to one vector for each place of a grid."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.random_projection import GaussianRandomProjection
from torch.nn import functional as F

from sktl.inference import activation_shape

__all__ = ["PatchMaker", "patch_makers", "usual_layers"]

_NEIGHBOURHOOD = 3  # places on a side
_STRIDES = (4, 8, 16)  # pixels of the image for one place: from edges and spots to parts of things
_PLACE = 8  # pixels on a side of the finest grid: with a finer one, nothing was found better, and all takes longer


@dataclass(frozen=True)
class PatchMaker:
    """How the flattened map of a stage for one image becomes patches.

    Parameters
    ----------
    shape : tuple of int
        Of the map: channels, height and width, or tokens and channels.
    side : int
        Places on a side of the grid.
    projection : ndarray of shape (n_channels, n_components), float32, or None
        Applied to the vector of each place; None leaves it as it is.
    """

    shape: tuple
    side: int
    projection: np.ndarray | None = None

    @property
    def size(self):
        """Values of the map."""
        return math.prod(self.shape)

    @property
    def n_components(self):
        """Length of the vector of a patch."""
        return _channels(self.shape) if self.projection is None else self.projection.shape[1]

    def __call__(self, flat):
        """Return the patches (n_places, n_components) of one image, row by row.

        One image at a time: then what is computed does not depend on its neighbours.
        """
        if len(self.shape) == 2:
            flat = flat.unflatten(0, self.shape)[1:].T
        maps = flat.reshape(1, _channels(self.shape), _side(self.shape), _side(self.shape))
        maps = F.avg_pool2d(maps, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False)
        if maps.shape[2] < self.side:
            maps = F.interpolate(maps, (self.side, self.side), mode="bilinear", align_corners=False)
        patches = F.adaptive_avg_pool2d(maps, self.side)[0].flatten(1).T.contiguous()
        return patches if self.projection is None else patches @ torch.from_numpy(self.projection)


def patch_makers(backbone, layers, preprocessing, n_components, seed):
    """Make the PatchMaker of each layer, on one grid, with a random projection where it has more channels."""
    cuts = [backbone.n_stages_below(layer) for layer in layers]
    shapes = [activation_shape(backbone, cut, "flatten", preprocessing) for cut in cuts]
    side = min(max(map(_side, shapes)), math.ceil(preprocessing.crop_size / _PLACE))
    return [PatchMaker(shape, side, _projection(_channels(shape), n_components, seed)) for shape in shapes]


def _projection(n_channels, n_components, seed):
    if n_components is None or n_channels <= n_components:
        return None
    random = GaussianRandomProjection(n_components, random_state=seed).fit(np.zeros((1, n_channels)))
    return random.components_.T.astype(np.float32)


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
