"""Patches: from the maps of some stages, each image by itself, to one vector for each place of the finest map."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.random_projection import GaussianRandomProjection
from torch.nn import functional as F

from sktl.inference import activation_shape

__all__ = ["PatchMaker", "patch_maker", "usual_layers"]

_NEIGHBOURHOOD = 3  # places on a side
_STRIDES = (8, 16)  # pixels of the image for one place: as fine as parts of things, as coarse as their surroundings


@dataclass(frozen=True)
class PatchMaker:
    """How the flattened maps of one image become patches.

    Parameters
    ----------
    shapes : tuple of tuple of int
        Of what each stage gives for one image: channels, height and width, or tokens and channels.
    projection : ndarray of shape (n_channels, n_components) or None
        Applied to the vector of each place; None leaves it as it is.
    """

    shapes: tuple
    projection: np.ndarray | None

    @property
    def grid(self):
        """Height and width of the finest map."""
        return max(_grid(shape) for shape in self.shapes)

    @property
    def n_bytes(self):
        """Bytes of the maps of one image, as float32."""
        return 4 * sum(map(math.prod, self.shapes))

    def __call__(self, vector):
        """Return the patches (n_places, n_components) of one image, row by row, of its flattened maps.

        One image at a time: then what is computed does not depend on its neighbours.
        """
        parts = vector.split([math.prod(shape) for shape in self.shapes])
        maps = [_averaged(part, shape, self.grid) for part, shape in zip(parts, self.shapes, strict=True)]
        patches = torch.cat(maps).flatten(1).T
        return patches if self.projection is None else patches @ torch.from_numpy(self.projection)


def patch_maker(backbone, layers, preprocessing, n_components, seed):
    """Make the PatchMaker of some layers; with a random projection where they have more channels than components."""
    shapes = tuple(
        activation_shape(backbone, backbone.n_stages_below(layer), "flatten", preprocessing) for layer in layers
    )
    n_channels = sum(_channels(shape) for shape in shapes)
    if n_components is None or n_channels <= n_components:
        return PatchMaker(shapes, None)
    projection = GaussianRandomProjection(n_components, random_state=seed).fit(np.zeros((1, n_channels), np.float32))
    return PatchMaker(shapes, projection.components_.T.astype(np.float32))


def usual_layers(backbone, preprocessing):
    """Return the topmost stages whose maps are nearest to an eighth and a sixteenth of the image.

    Where one stage is both, as in a ViT, those after half and three quarters of the stages.
    """
    names = backbone.stage_names
    shapes = [activation_shape(backbone, cut, "flatten", preprocessing) for cut in range(1, len(names) + 1)]
    sides = [_grid(shape)[0] if len(shape) > 1 else 0 for shape in shapes]
    wanted = [preprocessing.crop_size / stride for stride in _STRIDES]
    chosen = [max(range(len(names)), key=lambda i, side=side: (-abs(sides[i] - side), i)) for side in wanted]
    if chosen[0] == chosen[1]:
        chosen = sorted({len(names) // 2, len(names) * 3 // 4})
    return [names[i] for i in chosen]


def _grid(shape):
    """Return height and width of what a stage gives; tokens, without the class token, form a square."""
    if len(shape) == 3:
        return shape[1:]
    side = math.isqrt(max(shape[0] - 1, 0)) if len(shape) == 2 else 0
    if side == 0 or side * side != shape[0] - 1:
        raise ValueError(
            "layer must name stages that give maps, or tokens that form a square behind a class token. Got one that "
            f"gives an output of shape {shape} instead. Take a lower stage."
        )
    return side, side


def _channels(shape):
    return shape[0] if len(shape) == 3 else shape[1]


def _averaged(part, shape, grid):
    """Return the map of a stage, averaged over the neighbourhood of each place, on the finest grid."""
    if len(shape) == 2:
        part = part.unflatten(0, shape)[1:].T
    maps = part.reshape(1, _channels(shape), *_grid(shape))
    maps = F.avg_pool2d(maps, _NEIGHBOURHOOD, stride=1, padding=_NEIGHBOURHOOD // 2, count_include_pad=False)
    if maps.shape[2:] != grid:
        maps = F.interpolate(maps, grid, mode="bilinear", align_corners=False)
    return maps[0]
