"""The patches that a detector remembers: drawn from those of its training images, and thinned out to a few."""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["MemoryBank", "drawn_places", "in_order", "remember", "thinned_out"]

_SHARED = -1  # in place of an image, for a patch that several have
_SAME = 1e-5  # relative difference of the mean patches of two images up to which they are one image


@dataclass(frozen=True)
class MemoryBank:
    """Patches of normal images, and which image each is from.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, n_components), float32
        The patches.
    images : ndarray of shape (n_patches,), int
        The training image that each is from, or -1 where several have it.
    means : ndarray of shape (n_images, n_components), float32
        The mean patch of each training image, by which it is known again.
    """

    patches: np.ndarray
    images: np.ndarray
    means: np.ndarray

    def distances(self, patches):
        """Return how far each patch of one image is from the nearest in the bank; its own are not looked at.

        Which one is nearest, products tell; how far it is, the difference itself: products cancel where both are alike.
        """
        bank = torch.from_numpy(self._without(patches.mean(0).numpy()))
        nearest = (bank.square().sum(1) / 2 - patches @ bank.T).argmin(1)
        return (patches - bank[nearest]).square().sum(1).sqrt()

    def _without(self, mean):
        """Return the patches without those of the training image that has this mean patch, if there is one."""
        is_same = np.linalg.norm(self.means - mean, axis=1) <= _SAME * np.linalg.norm(mean)
        others = ~np.isin(self.images, np.flatnonzero(is_same))
        return self.patches[others] if is_same.any() and others.any() else self.patches


def drawn_places(n_places, share, digest, seed):
    """Return which places of an image are drawn, a share of them all: the content of the image decides, not its place.

    So the draw is the same in any order and any batch, and needs no memory of what was drawn before.
    """
    words = np.frombuffer(digest, dtype=np.uint32)
    return np.random.default_rng([seed, *words.tolist()]).random(n_places) < share


def remember(patches, images, means, n_patches, random_state):
    """Return the bank of a few of the patches, the same in whatever order they come."""
    patches, images = in_order(patches, images)
    chosen = thinned_out(patches, n_patches, random_state)
    return MemoryBank(patches[chosen], images[chosen], means)


def in_order(vectors, images):
    """Put vectors into an order of their own, each once; return them and the image of each, -1 where several have it.

    Whatever is computed of them from then on is the same to the last bit, in whatever order the images came.
    """
    vectors, inverse = np.unique(vectors, axis=0, return_inverse=True)
    lowest, highest = np.full(len(vectors), np.iinfo(np.intp).max), np.full(len(vectors), _SHARED)
    np.minimum.at(lowest, inverse, images)
    np.maximum.at(highest, inverse, images)
    return vectors, np.where(lowest == highest, lowest, _SHARED)


def thinned_out(patches, n_patches, random_state):
    """Return the positions of at most so many patches that are near to all: greedy centres.

    After the first, which is drawn, each is the patch that is farthest from those before it. Fewer are returned where
    every patch lies on one.
    """
    points = torch.from_numpy(patches)
    norms = points.square().sum(1)
    nearest = torch.full_like(norms, torch.inf)
    centres = [random_state.randint(len(points))]
    while len(centres) < n_patches:
        last = centres[-1]
        nearest = torch.minimum(nearest, norms + norms[last] - 2 * (points @ points[last]))
        nearest[last] = 0
        farthest = int(nearest.argmax())
        if nearest[farthest] <= 0:
            break
        centres.append(farthest)
    return centres
