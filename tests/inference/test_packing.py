"""Networks in bfloat16 on the CPU: packed layers compute what the layers compute, each image the same bits anywhere."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from sktl import PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.inference import block_rows, resolve_placement
from sktl.inference._engines import frozen_function
from sktl.inference._folding import TOLERANCE_OF_HALF, FastChain, _Contiguous
from sktl.inference._packing import in_bfloat16

HALF = resolve_placement("cpu", "bfloat16")
needs_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="oneDNN does not compute in bfloat16 on this CPU, so nothing is packed",
)
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


def run(function, *arguments):
    with torch.inference_mode(), HALF.autocast():
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


def rounded(tensor):
    return tensor.bfloat16().float()


@needs_onednn
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_packed_convolution_adds_products_of_rounded_numbers_to_the_exact_bias(kind):
    torch.manual_seed(0)
    layer = CONVOLUTIONS[kind]().requires_grad_(False)
    images = torch.randn(4, 8, 14, 14).contiguous(memory_format=torch.channels_last)
    layer.weight.copy_(rounded(layer.weight))  # what is rounded already stays
    sums = layer(rounded(images))
    for activation in ACTIVATIONS:
        found = run(in_bfloat16(layer, images.shape, activation), images)
        expected = sums if activation is None else activation(sums)
        assert found.dtype is torch.bfloat16
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.float(), expected, rtol=2**-8, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_a_packed_linear_layer_adds_products_of_rounded_numbers_to_the_exact_bias(activation):
    torch.manual_seed(0)
    layer = nn.Linear(64, 24).requires_grad_(False)
    tokens = torch.randn(4, 7, 64)
    sums = F.linear(rounded(tokens), rounded(layer.weight), layer.bias)
    found = run(in_bfloat16(layer, tokens.shape, activation), tokens)
    torch.testing.assert_close(found.float(), sums if activation is None else activation(sums), rtol=2**-8, atol=1e-5)


@needs_onednn
def test_the_sum_of_the_weights_of_a_channel_of_its_own_is_kept():
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 3, groups=64).requires_grad_(False).to(memory_format=torch.channels_last)
    before = layer.weight.clone()
    weights = in_bfloat16(layer, torch.Size((4, 64, 8, 8))).weight.float()
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
    function = frozen_function(backbone, cuts, "auto", preprocessing, HALF, rows)
    noise = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (rows, 3, size, size), dtype=torch.uint8, generator=noise)
    expected = run(function, images)
    assert expected.dtype is torch.float32
    exact = run(
        frozen_function(backbone, cuts, "auto", preprocessing, resolve_placement("cpu", "float32"), rows), images
    )
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


def in_chain(module, shape):
    """Return the module and its fast copy, and both their outputs for one input."""
    stages = lively(nn.Sequential(nn.Conv2d(3, shape[1], 1), module))
    images = torch.randn(shape[0], 3, *shape[2:])
    fast = FastChain(stages, shape[-1], fold=False, half=True).below(2)
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
    packed = [part for part in fast.modules() if "forward" in vars(part) or "_conv_forward" in vars(part)]
    assert len(packed) == n_packed
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


@pytest.mark.parametrize("pooling", ["avg", "avg+std", "gem"])
def test_vectors_are_pooled_in_float32(pooling):
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    extractor = PretrainedFeatureExtractor(precision="bfloat16", pooling=pooling, cache=False)
    found = torch.from_numpy(extractor.fit_transform(images))
    found = found[found != 0]
    n_rounded = int((found == rounded(found)).sum())
    assert n_rounded < 0.2 * len(found)
