"""Convolutions and linear layers in bfloat16, with their weights in the layout that oneDNN computes with."""

import copy

import torch
from torch import nn

# Activations that oneDNN applies to the sums before these are rounded: its names for them, and what they take.
_FUSED = {
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.Hardswish: ("hardswish", [], ""),
    nn.SiLU: ("swish", [], ""),
    nn.GELU: ("gelu", [], "none"),
    type(None): ("none", [], ""),
}


def can_be_packed(part):
    """Whether a layer computes no more than oneDNN does."""
    if isinstance(part, nn.Conv2d):
        return part.padding_mode == "zeros" and not isinstance(part.padding, str)
    return type(part) is nn.Linear


def can_be_fused(activation):
    """Whether oneDNN knows an activation."""
    return type(activation) in _FUSED and getattr(activation, "approximate", "none") == "none"


def in_bfloat16(part, shape, activation=None):
    """Return a copy of a layer that computes in bfloat16 with packed weights; `shape` is that of its usual input.

    Its own weights are there as well, for modules that use them by themselves. The bias keeps its precision: its error
    would be the same at all places of a map, so that pooling would not average it out.
    """
    half = copy.deepcopy(part)
    if getattr(part, "groups", 1) > 1:
        half.weight.data = _rounded(part.weight.detach().clone(memory_format=torch.contiguous_format))
    half = half.to(torch.bfloat16)
    how = _FUSED[type(activation)]
    if isinstance(part, nn.Conv2d):
        half._conv_forward = _Convolution(half, part.bias, shape, how)
    else:
        half.forward = _Linear(half, part.bias, shape, how)
    return half


def _rounded(weights):
    """Round to bfloat16, each error carried on to the next weight of the same sum.

    For the few weights of a channel of its own, errors would not average out; so their sum is kept, to which the even
    parts of a map are proportional. It halves the error of vectors.
    """
    rounded, error = weights.flatten(1), 0.0
    for place in range(rounded.shape[1]):
        exact = rounded[:, place] + error
        rounded[:, place] = exact.bfloat16()
        error = exact - rounded[:, place]
    return rounded.view_as(weights)


class _Convolution:
    """What runs in a convolution's place; a subclass may have padded the images already."""

    def __init__(self, convolution, bias, shape, how):
        self._settings = (
            *(list(convolution.padding), list(convolution.stride), list(convolution.dilation)),
            convolution.groups,
        )
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(convolution.weight, *self._settings, list(shape))
        self._bias, self._how = bias, how

    def __call__(self, images, weight, bias):
        images = images.to(torch.bfloat16)
        return torch.ops.mkldnn._convolution_pointwise(images, self._weight, self._bias, *self._settings, *self._how)


class _Linear:
    """What runs in a linear layer's place."""

    def __init__(self, linear, bias, shape, how):
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight, shape.numel() // shape[-1])
        self._bias, self._how = bias, how

    def __call__(self, vectors):
        return torch.ops.mkldnn._linear_pointwise(vectors.to(torch.bfloat16), self._weight, self._bias, *self._how)
