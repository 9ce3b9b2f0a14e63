"""Convolutions and linear layers with their weights in the layout that oneDNN computes with, in float32 or bfloat16.

The operators are torch's own, made for its compiler, and private: whoever packs must be content without.
"""

import copy

import torch
from torch import nn

# Activations that oneDNN applies to the sums while it has them at hand: its names for them, and what they take.
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


def packed(part, shape, activation=None, dtype=torch.float32):
    """Return a copy of a layer that computes with packed weights; `shape` is that of its usual input.

    Its own weights are there as well where modules may use them by themselves. The bias keeps its precision: its error
    would be the same at all places of a map, so that pooling would not average it out. Where something is added to the
    sums, oneDNN wants it rounded, but they are rounded once in place of twice: errors of vectors stay as large.
    """
    weight = part.weight.detach()
    if dtype is torch.bfloat16 and getattr(part, "groups", 1) > 1:
        weight = _rounded(weight.clone(memory_format=torch.contiguous_format))
    weight = weight.to(dtype)
    own = copy.deepcopy(part, {id(part.weight): nn.Parameter(weight, requires_grad=False)})
    how = _FUSED[type(activation)]
    if isinstance(part, nn.Conv2d):
        own._conv_forward = _Convolution(part, weight, shape, how)
        if type(part).forward is nn.Conv2d.forward:
            own.weight.data = weight.new_empty(0)  # which memory need not hold twice
    else:
        own.forward = _Linear(part, weight, shape, how)
    return own


def packed_convolutions(network):
    """Return what runs in the place of the convolutions of a network, in order."""
    runs = (vars(part).get("_conv_forward") for part in network.modules())
    return [run for run in runs if isinstance(run, _Convolution)]


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
    """What runs in a convolution's place; a subclass may have padded the images already.

    With `deferred` it only says so when it is called, and is run when what follows it is known.
    """

    def __init__(self, convolution, weight, shape, how):
        self._settings = (
            *(list(convolution.padding), list(convolution.stride), list(convolution.dilation)),
            convolution.groups,
        )
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self._settings, list(shape))
        self._bias, self._how, self._dtype = convolution.bias, how, weight.dtype
        self._bias_of_sums = None if self._bias is None else self._bias.detach().to(self._dtype)
        self._gains_by_sums = convolution.groups == 1 and convolution.kernel_size == (1, 1)
        self.deferred = None

    def __call__(self, images, weight, bias):
        images = images.to(self._dtype)
        return self.run(images) if self.deferred is None else self.deferred(self, images)

    def run(self, images, addend=None, *, relu=False):
        """Convolve; add something to the sums, and replace what is negative, before they are rounded."""
        if addend is None:
            how = _FUSED[nn.ReLU] if relu else self._how
            return torch.ops.mkldnn._convolution_pointwise(images, self.weight, self._bias, *self._settings, *how)
        settings = (self.weight, self._bias_of_sums, *self._settings)
        how = ("add", 1.0, "relu" if relu else None, [], None)
        return torch.ops.mkldnn._convolution_pointwise.binary(images, addend, *settings, *how)

    @property
    def has_activation(self):
        """Whether it computes an activation already, so that nothing can be computed before."""
        return self._how is not _FUSED[type(None)]

    def can_add(self, addend):
        """Whether to add something of the shape of its output while that is at hand.

        Kernels of several places take so long themselves that it gains nothing.
        """
        can = self._gains_by_sums and hasattr(torch.ops.mkldnn._convolution_pointwise, "binary")
        is_last = isinstance(addend, torch.Tensor) and addend.is_contiguous(memory_format=torch.channels_last)
        return can and is_last and addend.dtype is self._dtype


class _Linear:
    """What runs in a linear layer's place."""

    def __init__(self, linear, weight, shape, how):
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, shape.numel() // shape[-1])
        self._bias, self._how, self._dtype = linear.bias, how, weight.dtype

    def __call__(self, vectors):
        return torch.ops.mkldnn._linear_pointwise(vectors.to(self._dtype), self._weight, self._bias, *self._how)
