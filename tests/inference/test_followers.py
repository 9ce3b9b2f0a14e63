"""Sums and ReLU behind packed convolutions: computed with them where that is the same, and left alone elsewhere.

Numbers are small whole ones, which bfloat16 holds exactly, so that every order of the same sums gives the same bits.
"""

import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sktl.backbones import load_backbone
from sktl.inference import _folding
from sktl.inference._folding import FastChain
from sktl.inference._packing import packed_convolutions

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="oneDNN does not compute in bfloat16 on this CPU, so nothing is packed",
)
SUM, SUM_AND_RELU, RELU = (True, False), (True, True), (False, True)


def whole_images():
    noise = torch.randint(-2, 3, (2, 8, 5, 5), generator=torch.Generator().manual_seed(0)).float()
    return noise.contiguous(memory_format=torch.channels_last)


def convolution(seed, groups=1):
    """Return a convolution that shuffles channels, turns some signs and adds whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(8, 8, 1, groups=groups).requires_grad_(False)
    signs = torch.randint(0, 2, (8, 1), generator=generator) * 2.0 - 1
    weight = signs * torch.eye(8)[torch.randperm(8, generator=generator)] if groups == 1 else signs
    layer.weight.copy_(weight.view_as(layer.weight))
    layer.bias.copy_(torch.randint(-2, 3, (8,), generator=generator))
    return layer


class Stage(nn.Module):
    """Whatever a function does with images, a few convolutions and a ReLU."""

    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.third = (convolution(seed) for seed in range(3))
        self.by_channel = convolution(3, groups=8)
        self.of_places = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
        for values in (self.of_places.weight, self.of_places.bias):
            values.fill_(0.125)
        self.activation = nn.ReLU(inplace=True)
        self.behind = nn.Sequential(convolution(4), nn.ReLU())
        self.function = function

    def forward(self, images):
        return self.function(self, images)


def fused(function):
    """Return the fused copy of a stage, which gives what the stage gives, and what its convolutions wait for."""
    stage, images = Stage(function).eval(), whole_images()
    with torch.no_grad():
        expected = stage(images.clone())
        fast = _folding._fused(stage, images.bfloat16())
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = fast(images.bfloat16())
        assert torch.equal(fast(images.clone()).float(), expected)
    assert torch.equal(found.float(), expected)
    return fast, [layer.deferred.args for layer in packed_convolutions(fast) if layer.deferred is not None]


def residual(stage, x):
    out = stage.second(stage.activation(stage.first(x)))
    out += x
    return stage.activation(out)


def other_after(stage, x):
    out = stage.first(x)
    return out + stage.second(x)


def changed_shortcut_stays(stage, x):
    return (stage.first(x) + x) * x


def kept_under_another_name(stage, x):
    out = kept = stage.first(x)
    out += x
    stage.activation(out)
    return kept * 2 - x


FUSED = {
    residual: [RELU, SUM_AND_RELU],
    other_after: [SUM],
    changed_shortcut_stays: [SUM],
    kept_under_another_name: [SUM_AND_RELU],
    lambda stage, x: x + stage.first(x): [SUM],
    lambda stage, x: torch.add(stage.first(x), x).relu(): [SUM_AND_RELU],
    lambda stage, x: F.relu(stage.first(x).add_(x)): [SUM_AND_RELU],
    lambda stage, x: stage.first(x) + x + x: [SUM],
    lambda stage, x: torch.relu(stage.first(x)): [RELU],
    lambda stage, x: torch.relu_(stage.by_channel(x)): [RELU],
    lambda stage, x: stage.second(F.relu(stage.first(x), inplace=True)) + x: [RELU, SUM],
}


@pytest.mark.parametrize(("function", "expected"), FUSED.items(), ids=range(len(FUSED)))
def test_a_sum_or_relu_that_alone_takes_the_output_of_a_convolution_is_computed_with_it(function, expected):
    assert fused(function)[1] == expected


def input_changed_in_between(stage, x):
    out = stage.first(x)
    x += 1
    return out + x


def by_numbers(stage, x):
    out = stage.first(x)
    return out + x if x.max() > 0 else out


def into_the_other(stage, x):
    y = x * 1
    y += stage.first(x)
    return y


def used_again(stage, x):
    out = stage.first(x)
    return F.relu(out) - out


def used_again_after_the_sum(stage, x):
    out = stage.first(x)
    return (out + x) * out


LEFT = {
    "input changed": input_changed_in_between,
    "by numbers": by_numbers,
    "into the other": into_the_other,
    "used again": used_again,
    "used again after the sum": used_again_after_the_sum,
    "in its own place too": lambda stage, x: stage.first(x) + stage.first(x),
    "itself": lambda stage, x: (lambda out: out + out)(stage.first(x)),
    "a factor": lambda stage, x: torch.add(stage.first(x), x, alpha=2),
    "a number": lambda stage, x: stage.first(x) + 1,
    "one for all places": lambda stage, x: stage.first(x) + x[:, :, :1, :1],
    "a view in another order": lambda stage, x: stage.first(x) + x.transpose(2, 3),
    "some channels": lambda stage, x: stage.first(x) + torch.cat([x, x], 1)[:, 4:12],
    "another type": lambda stage, x: stage.first(x) + x.double(),
    "by channel": lambda stage, x: stage.by_channel(x) + x,
    "of several places": lambda stage, x: stage.of_places(x) + x,
    "behind its activation": lambda stage, x: stage.behind(x) + x,
    "another activation": lambda stage, x: F.relu6(stage.first(x)),
    "its size was asked for": lambda stage, x: stage.first(x).flatten(1),
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_would_be_something_else_or_no_faster_is_left_alone(kind):
    assert fused(LEFT[kind])[1] == []


STEPS = st.tuples(st.sampled_from(["convolve", "relu", "relu_", "add", "add_", "subtract"]), *[st.integers(0, 9)] * 2)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=9), st.integers(1, 3))
def test_any_order_of_steps_gives_the_same_numbers(steps, n_outputs):
    layers = ("first", "second", "third", "by_channel", "behind")

    def function(stage, x):
        maps = [x]
        for what, one, two in steps:
            a, b = maps[-1 - one % len(maps)], maps[-1 - two % len(maps)]
            if what == "convolve":
                maps.append(getattr(stage, layers[two % 5])(a))
            elif what.startswith("relu"):
                maps.append(F.relu(a, inplace=what == "relu_"))
            elif what == "add_":
                a += b
            else:
                maps.append(a + b if what == "add" else a - b)
        return torch.stack(maps[-n_outputs:]).amax(0)

    fused(function)


def test_a_stage_keeps_no_output_that_it_has_given():
    fast, _ = fused(residual)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        first = fast(whole_images().bfloat16())
        before = first.clone()
        fast(whole_images().bfloat16() + 1)
    assert torch.equal(first, before)
    assert type(first) is torch.Tensor


def test_what_is_pending_is_a_tensor_for_whoever_asks():
    fast, _ = fused(lambda stage, x: F.relu(stage.first(x)))
    images = whole_images()
    expected = fast.first(images)
    assert isinstance(expected, torch.Tensor)
    assert expected.shape == images.shape
    assert (2 * expected)[0, 0, 0, 0].item() == 2 * float(expected.flatten()[0])


@pytest.mark.parametrize(("name", "size", "n_sums", "n_relus"), [("resnet18", 40, 0, 8), ("mobilenet_v2", 40, 10, 0)])
def test_a_network_has_followers_wherever_they_gain(name, size, n_sums, n_relus):
    stages = copy.deepcopy(load_backbone(name, weights=None).stages).eval().requires_grad_(False)
    fast = FastChain(stages, size, fold=False, pack=torch.bfloat16).below(len(stages))
    found = [layer.deferred.args for stage in fast for layer in packed_convolutions(stage) if layer.deferred]
    assert (sum(sums for sums, _ in found), sum(not sums for sums, _ in found)) == (n_sums, n_relus)


def test_float32_is_computed_step_by_step():
    stages = nn.Sequential(nn.Conv2d(3, 8, 1), Stage(residual)).eval().requires_grad_(False)
    fast = FastChain(stages, 5, fold=True, pack=torch.float32).below(2)
    assert not any(layer.deferred for stage in fast for layer in packed_convolutions(stage))


def test_where_convolutions_add_nothing_they_are_packed_alone(monkeypatch):
    def without(images, *arguments):
        return convolve(images, *arguments)

    convolve = torch.ops.mkldnn._convolution_pointwise
    reorder = torch.ops.mkldnn._reorder_convolution_weight
    operators = {"_convolution_pointwise": without, "_reorder_convolution_weight": reorder}
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**operators))
    stages = nn.Sequential(nn.Conv2d(3, 8, 1), Stage(residual)).eval().requires_grad_(False)
    fast = FastChain(stages, 5, fold=False, pack=torch.bfloat16).below(2)
    layers = packed_convolutions(fast[1])
    assert [layer.deferred.args for layer in layers if layer.deferred] == [RELU]
