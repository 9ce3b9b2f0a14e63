"""The unit in which the distances of patches are measured, each stage and each place by itself, and the farthest."""

import numpy as np

__all__ = ["farthest", "usual_distances"]

_QUANTILE = 0.9  # of normal patches, so that a few anomalies among the normal images do no harm
_SHARE_OF_PLACES = 0.01  # whose mean counts: one place alone is a matter of chance


def usual_distances(distances):
    """Return the distance that 90 % of normal patches stay below: at the same place or anywhere, the greater of both.

    Where normal images differ much, as along an outline or at the edges of the picture, a distance says less. Where
    they never do, a small distance says no more than elsewhere.

    Parameters
    ----------
    distances : ndarray of shape (n_images, n_stages, n_places), float32
        Of normal images.

    Returns
    -------
    usual : ndarray of shape (n_stages, n_places), float64
        Above zero.
    """
    usual = np.empty(distances.shape[1:])
    for stage in range(len(usual)):
        own = distances[:, stage]
        differing = own[own > 0]
        anywhere = np.quantile(differing, _QUANTILE) if differing.size else 1
        usual[stage] = np.maximum(np.quantile(own, _QUANTILE, axis=0), anywhere)
    return usual


def farthest(places):
    """Return the mean of the farthest hundredth of the places of one image."""
    n_farthest = max(1, round(_SHARE_OF_PLACES * len(places)))
    return places.topk(n_farthest).values.mean().item()
