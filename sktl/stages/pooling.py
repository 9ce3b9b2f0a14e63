"""From the output of a stage to one vector per image."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch.nn import functional as F

from sktl._pooling_names import POOLINGS
from sktl._validation import did_you_mean

__all__ = ["POOLINGS", "pool"]

# Exponent and floor of the generalised mean: the values of its authors.
_GEM_POWER, _GEM_FLOOR = 3.0, 1e-6
_VECTOR = 64  # a multiple of how many values torch's vector code takes at once


def pool(output: Any, how: str = "auto", own: Literal["avg", "token"] = "avg") -> Any:
    """Pool the output of a stage into one vector per image.

    Maps and tokens are averaged, or otherwise summed up, over their places; what is a vector already stays one.

    Parameters
    ----------
    output : torch.Tensor
        Maps of shape (n_images, n_channels, height, width), tokens of shape (n_images, n_tokens, n_channels), the
        first of which is the class token, or vectors of shape (n_images, n_features), which are returned as they are.
    how : str, default="auto"
        ========== ========================================================================= =============
        name       per channel, over all places (of tokens: all but the class token)         n_features
        ========== ========================================================================= =============
        "auto"     what the network does itself, `own`
        "avg"      mean                                                                      C
        "max"      maximum                                                                   C
        "avg+max"  both                                                                      2 C
        "avg+std"  mean and population standard deviation                                    2 C
        "gem"      generalised mean with exponent 3 of the values above 1e-6                 C
        "pyramid"  mean of the whole and of each quarter                                     5 C
        "flatten"  every value as it is, class token included                                C × places
        "token"    class token alone, which only networks of the ViT kind have               C
        ========== ========================================================================= =============

        C is the number of channels. For "gem" see [1]_, for "pyramid" [2]_.
    own : {"avg", "token"}, default="avg"
        What ``"auto"`` means, see `Backbone.own_pooling`.

    Returns
    -------
    torch.Tensor of shape (n_images, n_features)
        One vector per image.

    Raises
    ------
    ValueError
        If `how` is unknown, the class token of maps is asked for, or the tokens of a pyramid do not form a square.

    See Also
    --------
    Backbone : Says how a network itself pools.

    References
    ----------
    .. [1] F. Radenović, G. Tolias, O. Chum (2018). Fine-tuning CNN image retrieval with no human annotation. IEEE
       TPAMI. arXiv:1711.02512
    .. [2] K. He, X. Zhang, S. Ren, J. Sun (2014). Spatial pyramid pooling in deep convolutional networks for visual
       recognition. ECCV. arXiv:1406.4729

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones import pool
    >>> maps = torch.arange(8.0).reshape(1, 2, 2, 2)
    >>> pool(maps, "avg+max")
    tensor([[1.5000, 5.5000, 3.0000, 7.0000]])
    """
    if how not in POOLINGS:
        raise ValueError(f"pooling must be one of {POOLINGS}. Got {how!r} instead.{did_you_mean(how, POOLINGS)}")
    how = own if how == "auto" else how
    if output.ndim == 2:
        return output
    if output.ndim not in (3, 4):
        raise ValueError(
            "A stage must give maps (4 dimensions), tokens (3) or vectors (2) to be pooled. "
            f"Got {output.ndim} dimensions instead. Choose another layer, or pass stages= to load_backbone."
        )
    if how == "flatten":
        return output.flatten(1)
    if how == "token":
        return _class_token(output)
    return _OVER_PLACES[how](_maps(output, how))


def _class_token(output):
    if output.ndim == 4:
        raise ValueError(
            "pooling='token' needs a network with a class token, such as vit_b_16. "
            "Got maps instead: use 'auto' or 'avg' here."
        )
    return output[:, 0]


def _maps(output, how):
    """Return tokens without the class token as maps, one row high where the shape of the grid does not matter."""
    if output.ndim == 4:
        return output
    patches = output[:, 1:].transpose(1, 2)
    n_patches = patches.shape[2]
    if how != "pyramid":
        return patches.unflatten(2, (1, n_patches))
    side = math.isqrt(n_patches)
    if side * side != n_patches:
        raise ValueError(f"pooling='pyramid' needs a square grid of tokens. Got {n_patches} patch tokens instead.")
    return patches.unflatten(2, (side, side))


def _mean(maps):
    return F.adaptive_avg_pool2d(maps, 1).flatten(1)


def _maximum(maps):
    return maps.amax((2, 3))


def _generalised_mean(maps):
    return _root(_mean(maps.clamp(min=_GEM_FLOOR).pow(_GEM_POWER)))


def _root(means):
    """Take the root of the generalised mean, the same bits whatever the row.

    torch computes the odd values at the end of a tensor by other code than the rest, so there must be none.
    """
    n_rows = -(-means.shape[0] // _VECTOR) * _VECTOR
    padded = torch.cat([means, means.new_zeros((n_rows - means.shape[0], means.shape[1]))])
    return padded.pow(1 / _GEM_POWER)[: means.shape[0]]


_OVER_PLACES = {
    "avg": _mean,
    "max": _maximum,
    "avg+max": lambda maps: torch.cat([_mean(maps), _maximum(maps)], dim=1),
    "avg+std": lambda maps: torch.cat([_mean(maps), maps.std((2, 3), correction=0)], dim=1),
    "gem": _generalised_mean,
    "pyramid": lambda maps: torch.cat([_mean(maps), F.adaptive_avg_pool2d(maps, 2).flatten(1)], dim=1),
}
