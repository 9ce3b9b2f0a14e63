"""Folding of batch norms into convolutions, and what else lets copies of frozen stages compute the same faster."""

import copy
import math
from collections import Counter
from functools import partial
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from sktl.backbones import pool
from sktl.inference._followers import fuse_followers
from sktl.inference._packing import can_be_fused, can_be_packed, packed

# Largest difference between a stage and its fast copy on the check image, relative to the stage's largest value.
TOLERANCE, TOLERANCE_OF_HALF = 1e-5, 2**-5
_CHECK_ROWS = 2  # with one row, a stage may be content with a layout that it does not take otherwise
# Activations for which torch's vector code and the scalar code for the odd values at the end of a tensor round
# differently, and a multiple of how many values its vector code takes at once.
_ROUNDED_BY_PLACE = (nn.SiLU, nn.Sigmoid, nn.GELU, nn.Tanh, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Mish)
_VECTOR = 64


def pooled_outputs(stages, images, cuts, pooling, own_pooling):
    """Return the pooled outputs after some stages of a chain, concatenated in the order of the cuts."""
    wanted = list(zip(cuts, poolings_of(pooling, cuts), strict=True))
    output, pooled = images, {}
    for cut, stage in enumerate(stages[: max(cuts)], start=1):
        output = stage(output)
        for how in {how for other, how in wanted if other == cut}:
            # What is a vector already stays one in pooling; the next stage may work in place.
            vectors = pool(_summable(output), how, own_pooling)
            pooled[cut, how] = vectors if cut == max(cuts) else vectors.clone()
    return torch.cat([pooled[pair] for pair in wanted], dim=1)


def poolings_of(pooling, cuts):
    """Return the pooling of each cut: one for all, or a tuple with as many."""
    return (pooling,) * len(cuts) if isinstance(pooling, str) else pooling


def _summable(output):
    """Return what the mean over the places of a map loses nothing of; an accelerator adds in float32 by itself."""
    return output.float() if output.dtype is torch.bfloat16 and output.device.type == "cpu" else output


class FastChain:
    """Fast copies of the stages of a frozen chain, made as far up as they are asked for.

    A copy takes its place only when it gives the output of the stage itself on check images, to `TOLERANCE` of its
    largest value; otherwise the next slower one is tried, and at last the stage stays as it is. With `pack`, a type,
    layers are packed, on the CPU: in bfloat16 they are run under autocast, and close within `TOLERANCE_OF_HALF`.
    """

    def __init__(self, stages, image_size, fold, pack=None):
        self._stages = stages
        self._half = pack is torch.bfloat16
        # In float32, convolutions take so much longer than what follows them that nothing is gained by computing both.
        ways = [(_fused, self._half), (partial(_packed, dtype=pack), pack), (_folded, fold), (_channels_last, True)]
        self._ways = [make for make, is_wanted in ways if is_wanted]  # the fastest first
        noise = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float32, "device": "cpu"}
        images = torch.rand((_CHECK_ROWS, 3, image_size, image_size), **noise) * 2 - 1
        # The copies, and what the next stage is given on the check images: None above a stage that has failed.
        check = images.contiguous(memory_format=torch.channels_last)
        self._made = [], check  # replaced in one step, since a fork may come between any two

    @torch.inference_mode(False)
    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    def below(self, n_stages):
        """Return the fast copies of the lowest stages; for one thread at a time."""
        for stage in self._stages[len(self._made[0]) : n_stages]:
            copies, check = self._made
            fast, check = self._faster(stage, check)
            self._made = [*copies, fast], check
        return self._made[0][:n_stages]

    def _faster(self, stage, check):
        if check is None:
            return stage, None
        try:
            expected = stage(_exact(check).contiguous())
        except Exception:
            # Whoever runs the stage gets the error.
            return stage, None
        if not isinstance(expected, torch.Tensor):
            return _Contiguous(stage), None
        for make in self._ways:
            try:
                fast = make(stage, check)
                with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
                    output = fast(check.clone())
                if _is_close(output, expected, TOLERANCE_OF_HALF if self._half else TOLERANCE):
                    # The values of the stage in layout and type of its copy, so that each stage is judged by itself.
                    return fast, torch.empty_like(output).copy_(expected)
            except Exception:  # a network of the user's own may insist on one layout, or not let itself be copied
                continue
        return _Contiguous(stage), expected


class _Contiguous(nn.Module):
    """A stage that takes its input in torch's usual layout only."""

    def __init__(self, stage):
        super().__init__()
        self.stage = stage

    def forward(self, batch):
        return self.stage(batch.contiguous())


class _ByRows(nn.Module):
    """An activation whose last bits do not depend on the row: nothing but padding meets the scalar code.

    Without it, the last image of a block gets other bits wherever a squeezed vector has an odd length.
    """

    def __init__(self, activation):
        super().__init__()
        self.activation = activation

    def forward(self, batch):
        if batch.numel() % _VECTOR == 0 or batch.numel() == 0:
            return self.activation(batch)
        n_rows = math.ceil(_VECTOR * len(batch) / batch.numel())
        padded = torch.cat([batch, batch.new_zeros((n_rows, *batch.shape[1:]))])
        return self.activation(padded)[: len(batch)]


def _exact(check):
    """Return a copy of check images that a stage computes with exactly; what packed stages give may be rounded."""
    return check.float() if check.dtype is torch.bfloat16 else check.clone()


def _is_close(output, expected, tolerance):
    output = output.to(expected.dtype)
    return output.shape == expected.shape and bool((output - expected).abs().max() <= tolerance * expected.abs().max())


def _channels_last(stage, check):
    """Return a copy whose convolutions have their weights in channels-last."""
    return _replaced(stage, {})


def _folded(stage, check):
    """Return a copy in which batch norms are folded into the convolutions that feed them alone."""
    return _replaced(stage, _foldings(_watched(stage, check)))


def _fused(stage, check):
    """Return a copy packed in bfloat16, in which sums and ReLU that follow a convolution are computed with it."""
    fast = _packed(stage, check, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        fuse_followers(fast, check)
    return fast


def _packed(stage, check, dtype):
    """Return a folded copy whose convolutions and linear layers have packed weights, of float32 or bfloat16."""
    watch = _watched(stage, check)
    replacements = _foldings(watch)
    activations = {id(layer): activation for layer, activation in _followed_layers(stage, replacements)}
    for part in stage.modules():
        weight = part._parameters.get("weight")  # one that is computed anew each time has no identity
        if can_be_packed(part) and weight is not None and id(weight) in watch.shapes:
            activation = activations.get(id(part))
            folded, shape = replacements.get(id(part), part), watch.shapes[id(weight)]
            replacements[id(part)] = packed(folded, shape, activation, dtype)
            if activation is not None:
                replacements[id(activation)] = nn.Identity()
    return _replaced(stage, replacements)


def _followed_layers(stage, foldings):
    """Yield layers that an activation follows in a Sequential and nowhere else, be there a folded norm in between."""
    count = Counter(id(part) for _, part in stage.named_modules(remove_duplicate=False))
    for sequence in stage.modules():
        if type(sequence).forward is nn.Sequential.forward:
            parts = [part for part in sequence if not isinstance(foldings.get(id(part)), nn.Identity)]
            for layer, activation in pairwise(parts):
                if can_be_packed(layer) and can_be_fused(activation) and count[id(layer)] == count[id(activation)] == 1:
                    yield layer, activation


def _watched(stage, check):
    watch = _LayerWatch(stage)
    with watch:
        stage(_exact(check))
    return watch


def _foldings(watch):
    """Return what takes the place of convolutions and of the batch norms that are folded into them."""
    replacements = {}
    for convolution, norm in watch.pairs():
        replacements[id(convolution)] = fuse_conv_bn_eval(convolution, norm)
        replacements[id(norm)] = nn.Identity()
    return replacements


def _replaced(stage, replacements):
    """Return a copy with other modules in some places; the stage itself where nothing is to be changed."""
    tensors = [*stage.parameters(), *stage.buffers()]
    for part in stage.modules():
        if type(part) in _ROUNDED_BY_PLACE and id(part) not in replacements:
            replacements[id(part)] = _ByRows(copy.deepcopy(part))
    if not replacements and all(tensor.ndim != 4 for tensor in tensors):
        return stage
    shared = {id(tensor): tensor for tensor in tensors if tensor.ndim not in (4, 5)}
    return copy.deepcopy(stage, {**shared, **replacements}).to(memory_format=torch.channels_last)


class _LayerWatch(TorchFunctionMode):
    """Sees which batch norms take the output of which convolutions while a stage runs, and who else takes it.

    And what shape of input a weight is given by torch's own functions.

    Tracing with torch.fx would say the same, but it patches torch.nn.Module for all threads.
    """

    def __init__(self, stage):
        super().__init__()
        parts = list(stage.modules())
        self._convolutions = {
            id(part.weight): part
            for part in parts
            # A weight that is computed anew each time has no identity.
            if isinstance(part, nn.Conv2d) and part._parameters.get("weight") is not None
        }
        # No subclasses: they do more than normalise.
        self._norms = {
            id(part.running_mean): part
            for part in parts
            if type(part) is nn.BatchNorm2d and part.running_mean is not None
        }
        # Outputs are kept, or their ids might be given away again.
        self._outputs: dict = {}
        self._calls: list = []
        self._users: dict = {}
        self.shapes: dict = {}

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        output = function(*arguments, **options)
        if function in (F.conv2d, F.linear) and len(arguments) > 1:
            self.shapes[id(arguments[1])] = arguments[0].shape
        if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(output)):
            self._note(function, [*tree_leaves(arguments), *tree_leaves(options)], output)
        return output

    def _note(self, function, leaves, output):
        for leaf in leaves:
            if id(leaf) in self._outputs:
                norms = [self._norms[id(other)] for other in leaves if id(other) in self._norms]
                self._users.setdefault(id(leaf), []).append(norms[0] if function is F.batch_norm and norms else None)
            elif id(leaf) in self._convolutions:
                self._calls.append(id(leaf))
                if function is F.conv2d:
                    self._outputs[id(output)] = (output, self._convolutions[id(leaf)])

    def pairs(self):
        """Return pairs of a convolution and the batch norm that is the only user of its output."""
        found = []
        norms = [norm for users in self._users.values() for norm in users]
        for key, (_, convolution) in self._outputs.items():
            users = self._users.get(key, [])
            once = self._calls.count(id(convolution.weight)) == 1
            if once and len(users) == 1 and users[0] is not None and norms.count(users[0]) == 1:
                found.append((convolution, users[0]))
        return found
