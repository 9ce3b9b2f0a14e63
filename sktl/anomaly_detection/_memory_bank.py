"""The patches that a detector remembers: drawn from those of its training images, and thinned out to a few."""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["MemoryBank", "drawn_places", "remember"]

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
    """Thin out patches to a bank of at most `n_patches`, the same in whatever order they come."""
    patches, inverse = np.unique(patches, axis=0, return_inverse=True)
    lowest, highest = np.full(len(patches), len(means)), np.full(len(patches), -1)
    np.minimum.at(lowest, inverse, images)
    np.maximum.at(highest, inverse, images)
    chosen = _greedy_centres(torch.from_numpy(patches), n_patches, first=random_state.randint(len(patches)))
    return MemoryBank(patches[chosen], np.where(lowest == highest, lowest, _SHARED)[chosen], means)


def _greedy_centres(points, n_centres, first):
    """Return positions of centres: after the first, each is the point that is farthest from those before it.

    Fewer are returned where every point lies on one.
    """
    norms = points.square().sum(1)
    nearest = torch.full_like(norms, torch.inf)
    centres = [first]
    while len(centres) < n_centres:
        last = centres[-1]
        nearest = torch.minimum(nearest, norms + norms[last] - 2 * (points @ points[last]))
        nearest[last] = 0
        farthest = int(nearest.argmax())
        if nearest[farthest] <= 0:
            break
        centres.append(farthest)
    return centres
