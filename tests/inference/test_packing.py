"""Packed layers on the CPU compute what the layers compute, in either precision, each image the same bits anywhere."""

import copy
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from sktl import PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.images import as_images
from sktl.inference import block_rows, embed, resolve_placement
from sktl.inference._engines import frozen_function
from sktl.inference._folding import TOLERANCE, TOLERANCE_OF_HALF, FastChain, _Contiguous
from sktl.inference._packing import packed

FULL, HALF = (resolve_placement("cpu", precision) for precision in ("float32", "bfloat16"))
needs_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="oneDNN does not compute in bfloat16 on this CPU, so nothing is packed",
)
both = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
# Of values, and where they are next to nothing.
CLOSE = {torch.float32: {"rtol": 1e-5, "atol": 2e-6}, torch.bfloat16: {"rtol": 2**-8, "atol": 1e-5}}
FAMILIES = [("tiny_fractal", 48), ("resnet18", 40), ("mobilenet_v2", 40), ("efficientnet_b0", 40)]
SLOW = [("mobilenet_v3_small", 75), ("shufflenet_v2_x1_0", 96), ("squeezenet1_1", 96), ("densenet121", 64)]
SLOW += [("googlenet", 96), ("convnext_tiny", 96), ("swin_t", 96), ("vit_b_16", 224), ("resnext50_32x4d", 64)]
FAMILIES += [pytest.param(*family, marks=pytest.mark.slow) for family in SLOW]


class TensorFlowPadding(nn.Conv2d):
    """Pads by itself, and then convolves as its class does."""

    def forward(self, images):
        return super().forward(F.pad(images, (0, 1, 0, 1)))


class Attention(nn.Module):
    """Uses the weights of a layer without calling the layer."""

    def __init__(self):
        super().__init__()
        self.queries, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, images):
        tokens = images.flatten(2).transpose(1, 2)
        return F.linear(self.norm(tokens), self.queries.weight, self.queries.bias)


class Residual(nn.Module):
    """One activation in two places, once behind a sum."""

    def __init__(self):
        super().__init__()
        self.activation = nn.ReLU6()
        self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), self.activation)

    def forward(self, images):
        return self.activation(self.first(images) - images)


def lively(module):
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval().requires_grad_(False)


def run(function, *arguments, placement=HALF):
    with torch.inference_mode(), placement.autocast():
        return function(*arguments)


CONVOLUTIONS = {
    "dense": lambda: nn.Conv2d(8, 16, 3, padding=1),
    "strided": lambda: nn.Conv2d(8, 16, 3, stride=2, bias=False),
    "dilated": lambda: nn.Conv2d(8, 16, 3, dilation=2),
    "of one place": lambda: nn.Conv2d(8, 24, 1),
    "by channel": lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "in groups": lambda: nn.Conv2d(8, 16, 5, padding=2, groups=2),
    "with padding of its own": lambda: TensorFlowPadding(8, 16, 3, stride=2),
}
ACTIVATIONS = [None, nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.SiLU(), nn.GELU()]


def rounded(tensor, dtype=torch.bfloat16):
    return tensor.to(dtype).float()


@needs_onednn
@both
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_packed_convolution_adds_products_of_rounded_numbers_to_the_exact_bias(kind, dtype):
    torch.manual_seed(0)
    layer = CONVOLUTIONS[kind]().requires_grad_(False)
    images = torch.randn(4, 8, 14, 14).contiguous(memory_format=torch.channels_last)
    layer.weight.copy_(rounded(layer.weight))  # what is rounded already stays
    sums = layer(rounded(images, dtype))
    for activation in ACTIVATIONS:
        found = run(packed(layer, images.shape, activation, dtype), images)
        expected = sums if activation is None else activation(sums)
        assert found.dtype is dtype
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.float(), expected, **CLOSE[dtype])


@needs_onednn
@both
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_a_packed_linear_layer_adds_products_of_rounded_numbers_to_the_exact_bias(activation, dtype):
    torch.manual_seed(0)
    layer = nn.Linear(64, 24).requires_grad_(False)
    tokens = torch.randn(4, 7, 64)
    sums = F.linear(rounded(tokens, dtype), rounded(layer.weight, dtype), layer.bias)
    found = run(packed(layer, tokens.shape, activation, dtype), tokens)
    torch.testing.assert_close(found.float(), sums if activation is None else activation(sums), **CLOSE[dtype])


@needs_onednn
@both
def test_weights_are_kept_beside_packed_ones_only_where_a_module_may_use_them_by_itself(dtype):
    layers = [nn.Conv2d(8, 16, 3), TensorFlowPadding(8, 16, 3), nn.Linear(8, 16)]
    shapes = [(4, 8, 6, 6), (4, 8, 6, 6), (4, 8)]
    with torch.no_grad():
        own = [packed(layer, torch.Size(shape), None, dtype) for layer, shape in zip(layers, shapes, strict=True)]
    assert [layer.weight.numel() for layer in own] == [0, layers[1].weight.numel(), layers[2].weight.numel()]
    assert {layer.weight.dtype for layer in own} == {dtype}
    assert layers[0].weight.shape == (16, 8, 3, 3)
    if dtype is torch.float32:  # the very numbers, not a copy
        assert own[2].weight.data_ptr() == layers[2].weight.data_ptr()


@needs_onednn
def test_the_sum_of_the_weights_of_a_channel_of_its_own_is_kept():
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 3, groups=64, bias=False).requires_grad_(False).to(memory_format=torch.channels_last)
    before = layer.weight.clone()
    shape = torch.Size((9, 64, 3, 3))
    one_place = torch.eye(9).view(9, 1, 3, 3).expand(shape)  # each shows one weight of every channel
    weights = run(packed(layer, shape, None, torch.bfloat16), one_place).float().view(9, 64).T.reshape(before.shape)
    assert torch.equal(layer.weight, before)
    assert ((weights - before).abs() <= 2**-7 * before.abs().amax((1, 2, 3), keepdim=True)).all()
    kept, usual = ((each - before).sum((1, 2, 3)).abs().mean() for each in (weights, rounded(before)))
    assert kept < 0.5 * usual


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_the_bits_of_a_vector_depend_on_neither_place_nor_neighbours_nor_thread(name, size):
    backbone = load_backbone(name, weights="default" if name == "tiny_fractal" else None)
    if name != "tiny_fractal":
        lively(backbone.stages)
    rows, cuts = block_rows(size, HALF.device, 32), tuple(range(1, len(backbone.stages) + 1))
    preprocessing = backbone.preprocessing.resized(size)
    function = frozen_function(backbone, cuts, "auto", preprocessing, HALF)
    noise = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (rows, 3, size, size), dtype=torch.uint8, generator=noise)
    expected = run(function, images)
    assert expected.dtype is torch.float32
    exact = run(frozen_function(backbone, cuts, "auto", preprocessing, FULL), images)
    assert F.cosine_similarity(expected, exact).min() > 0.99
    alone = torch.zeros_like(images)
    alone[-1] = images[0]

    def in_thread(block):
        torch.set_num_threads(1)
        return run(function, block)

    with ThreadPoolExecutor(2) as threads:
        flipped, last = threads.map(in_thread, [images.flip(0), alone])
    assert torch.equal(flipped, expected.flip(0))
    assert torch.equal(last[-1], expected[0])


@pytest.mark.parametrize(
    ("name", "size"), [("mobilenet_v2", 40), *FAMILIES[4:], pytest.param("alexnet", 96, marks=pytest.mark.slow)]
)
def test_a_vector_of_the_default_has_the_same_bits_in_short_blocks_and_in_full_ones(name, size):
    torch.manual_seed(0)
    backbone = load_backbone(name, weights=None)
    lively(backbone.stages)
    images = np.random.default_rng(0).integers(0, 256, (17, size, size, 3), dtype=np.uint8)

    def vectors(some):
        return embed(as_images(some), backbone, backbone.preprocessing.resized(size), FULL)[0]

    expected = vectors(images)
    for some in (slice(0, 1), slice(16, 17), slice(3, 5), slice(0, 3), slice(7, 11), slice(0, 5), slice(1, 17)):
        np.testing.assert_array_equal(vectors(images[some]), expected[some])


def packed_layers(network):
    return [part for part in network.modules() if "forward" in vars(part) or "_conv_forward" in vars(part)]


def in_chain(module, shape):
    """Return the module and its fast copy, and both their outputs for one input."""
    stages = lively(nn.Sequential(nn.Conv2d(3, shape[1], 1), module))
    images = torch.randn(shape[0], 3, *shape[2:])
    fast = FastChain(stages, shape[-1], fold=False, pack=torch.bfloat16).below(2)
    with torch.inference_mode():
        expected = stages(images)
    return fast[1], run(lambda batch: fast[1](fast[0](batch)), images).float(), expected


@needs_onednn
@pytest.mark.parametrize(
    ("module", "n_packed"),
    [
        (nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU6()), 1),
        (nn.Sequential(nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU()), 0),
        (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"), nn.ReLU()), 0),
        (nn.Sequential(weight_norm(nn.Conv2d(8, 8, 3)), nn.ReLU()), 0),
        (nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 4), nn.GELU("tanh")), 1),
        (Attention(), 1),
        (Residual(), 1),
    ],
    ids=["folded", "same", "circular", "weight norm", "another GELU", "weights alone", "shared activation"],
)
def test_what_cannot_be_packed_or_fused_computes_as_under_autocast(module, n_packed):
    fast, found, expected = in_chain(module, (4, 8, 6, 6))
    assert len(packed_layers(fast)) == n_packed
    assert (found - expected).abs().max() <= TOLERANCE_OF_HALF * expected.abs().max()


@needs_onednn
@pytest.mark.parametrize(("module", "fused"), [(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU6()), 1), (Residual(), 0)])
def test_an_activation_is_fused_only_where_it_is_used_once(module, fused):
    fast, *_ = in_chain(module, (4, 8, 6, 6))
    assert sum(isinstance(part, nn.ReLU6) for part in fast.modules()) == 1 - fused


class Difference(nn.Module):
    """Small differences of large numbers, which bfloat16 has no digits for."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(8, 8, 1)
        self.layer.bias.data += 1000

    def forward(self, images):
        return self.layer(images) - 1000


def test_a_stage_that_packing_would_ruin_is_run_as_it_is():
    fast, found, _ = in_chain(Difference(), (4, 8, 6, 6))
    assert isinstance(fast, _Contiguous)
    assert isinstance(fast.stage, Difference)
    assert torch.isfinite(found).all()


class Bare(nn.Module):
    """Folds like any other, but convolves with the weights of its layer without calling the layer."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)

    def forward(self, images):
        return self.norm(F.conv2d(images, self.layer.weight, self.layer.bias)).relu()


def bottom():
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU6()))


def float32_copy(stages, images):
    """Return the fast copy in float32 of a chain, after a look at its output."""
    fast = FastChain(lively(stages), images.shape[-1], fold=True, pack=torch.float32).below(len(stages))
    found = run(nn.Sequential(*fast), images.contiguous(memory_format=torch.channels_last), placement=FULL)
    expected = run(stages, images, placement=FULL)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    return nn.Sequential(*fast)


@needs_onednn
@pytest.mark.parametrize(
    ("name", "n_layers", "n_activations"), [("resnet18", 20, 0), ("mobilenet_v2", 52, 35), ("efficientnet_b0", 81, 33)]
)
def test_the_default_packs_every_layer_and_fuses_activations_behind_them(name, n_layers, n_activations):
    stages = copy.deepcopy(load_backbone(name, weights=None).stages)
    fast = float32_copy(stages, torch.rand(2, 3, 64, 64))
    assert len(packed_layers(fast)) == n_layers
    before, after = (
        sum(isinstance(part, (nn.ReLU6, nn.SiLU)) for part in network.modules()) for network in (stages, fast)
    )
    assert before - after == n_activations


def without_operators(monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())


def with_other_arguments(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("_convolution_pointwise() is missing value for argument")

    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(_reorder_convolution_weight=refuse))


def with_other_results(monkeypatch):
    def double(images, weight, bias, *settings):
        return 2 * F.conv2d(images, weight, bias, *(settings[i] for i in (1, 0, 2, 3)))

    operators = {"_reorder_convolution_weight": lambda weight, *_: weight, "_convolution_pointwise": double}
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**operators))


@pytest.mark.parametrize("change", [without_operators, with_other_arguments, with_other_results])
def test_where_oneDNN_is_missing_or_another_the_folded_copy_is_used(change, monkeypatch):
    change(monkeypatch)
    stages = nn.Sequential(*bottom(), nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()))
    fast = float32_copy(stages, torch.rand(2, 3, 9, 9))
    assert not packed_layers(fast)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.modules())


def test_a_module_that_uses_weights_without_their_layer_has_them():
    fast = float32_copy(nn.Sequential(*bottom(), Bare()), torch.rand(2, 3, 9, 9))
    assert fast[1].layer.weight.shape == (8, 8, 3, 3)


@needs_onednn
def test_a_stage_that_reads_the_type_of_weights_is_packed():
    class Careful(nn.Sequential):
        def forward(self, images):
            return super().forward(images.to(self[0].weight.dtype))

    fast = float32_copy(nn.Sequential(Careful(nn.Conv2d(3, 8, 3), nn.ReLU())), torch.rand(2, 3, 9, 9))
    assert len(packed_layers(fast)) == 1


@pytest.mark.parametrize("pooling", ["avg", "avg+std", "gem"])
def test_vectors_are_pooled_in_float32(pooling):
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    extractor = PretrainedFeatureExtractor(precision="bfloat16", pooling=pooling, cache=False)
    found = torch.from_numpy(extractor.fit_transform(images))
    found = found[found != 0]
    n_rounded = int((found == rounded(found)).sum())
    assert n_rounded < 0.2 * len(found)
