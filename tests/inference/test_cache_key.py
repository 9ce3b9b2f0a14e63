"""What changes a vector changes the cache key, so that nothing old is found."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import ResNet, shufflenet_v2_x0_5
from torchvision.models.resnet import BasicBlock

from sktl import PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.inference import _blocks, _cache_key, _embed, resolve_placement
from sktl.inference._cache_key import CacheKey, cache_key_of
from sktl.store import Key


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def images(dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3)).astype(dtype)


def misses(X=None, **parameters):
    X = images() if X is None else X
    extractor = PretrainedFeatureExtractor(**parameters).fit(X)
    found = extractor.transform(X)
    plain = PretrainedFeatureExtractor(**{**parameters, "cache": False}).fit(X).transform(X)
    np.testing.assert_array_equal(found, plain)
    return extractor.store_info_.n_misses


def test_the_store_can_use_it():
    key = CacheKey(("network",), 5, "a network")
    assert isinstance(key, Key)
    assert key.n_bytes == 5 * 4


def test_every_process_writes_a_key_in_the_same_letters(monkeypatch):
    """Its digest is that of its repr: no object, whose place in memory would be in it, and no set, without an order."""

    def flat(part):
        return [inner for each in part for inner in flat(each)] if isinstance(part, tuple) else [part]

    keys, make = [], _embed.cache_key_of
    monkeypatch.setattr(_embed, "cache_key_of", lambda *given: keys.append(make(*given)) or keys[-1])
    for backbone in ("tiny_fractal", nn.Sequential(nn.Conv2d(3, 4, 3))):
        misses(backbone=backbone, image_size=32, pooling="avg+std", precision="bfloat16")
    parts = [part for key in keys for part in flat(key.parts)]
    assert len({key.digest for key in keys}) == 2
    assert all(part is None or isinstance(part, (str, int)) for part in parts)
    assert not any(" at 0x" in str(part) for part in parts)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 40},
        {"layer": 1},
        {"layer": (0, 1)},
        {"pooling": "max"},
        {"precision": "bfloat16"},
        {"weights": None, "random_state": 0},
        {"backbone": "shufflenet_v2_x0_5", "weights": None, "random_state": 0, "image_size": 64},
    ],
    ids=str,
)
def test_another_network_or_layer_or_form_is_computed_anew(change):
    assert misses() == 6
    assert misses(**change) == 6
    assert misses() == misses(**change) == 0


@pytest.mark.slow
def test_another_engine_is_computed_anew():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert misses() == misses(engine="onnxruntime") == 6


def test_another_version_of_an_engine_is_computed_anew(monkeypatch):
    def digest(engine, version):
        monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__=version))
        backbone, placement = load_backbone("tiny_fractal"), resolve_placement("cpu", "float32")
        return cache_key_of(backbone, (1,), "avg", backbone.preprocessing, placement, engine, 4, 8).digest

    keys = [digest("onnxruntime", "1.20"), digest("onnxruntime", "1.21"), digest("torch", "1.20")]
    assert len(set(keys)) == 3
    assert digest("torch", "1.21") == keys[2]


def test_bits_of_bfloat16_belong_to_the_instructions_and_those_of_float32_to_none(monkeypatch):
    def keys(instructions):
        monkeypatch.setattr(_cache_key, "bfloat16_instructions", lambda: instructions)
        backbone = load_backbone("tiny_fractal")
        return [
            cache_key_of(backbone, (1,), "avg", backbone.preprocessing, resolve_placement("cpu", name), "torch", 4, 8)
            for name in ("float32", "float16", "bfloat16")
        ]

    first, second = keys("avx512_bf16"), keys("amx_bf16")
    assert [one.digest == other.digest for one, other in zip(first, second, strict=True)] == [True, True, False]
    assert [len(one.parts) - len(first[0].parts) for one in first] == [0, 0, 2]


def test_another_range_of_values_is_computed_anew():
    X = images(np.float32)
    assert misses(X, value_range=(0, 255)) == 6
    assert misses(X, value_range=(0, 300)) == 6
    assert misses(X, value_range=(0, 255)) == 0


def test_other_content_of_a_weights_file_is_computed_anew(tmp_path):
    path = tmp_path / "weights.pth"
    for seed in range(2):
        torch.manual_seed(seed)
        torch.save(shufflenet_v2_x0_5().state_dict(), path)
        assert misses(backbone="shufflenet_v2_x0_5", weights=path, image_size=64) == 6


def test_other_code_of_a_network_with_the_same_weights_is_computed_anew():
    for factor in (1.0, 2.0):
        torch.manual_seed(0)
        features = nn.Sequential(Scale(factor), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network = nn.Sequential(features, nn.Linear(8, 2))
        assert misses(backbone=network) == 6
        assert misses(backbone=network) == 0


def test_another_shape_of_the_blocks_is_computed_anew(monkeypatch):
    assert misses() == 6
    monkeypatch.setattr(_embed, "block_rows", lambda *arguments: 3)
    assert misses() == 6
    assert _blocks._CPU_ROWS != 3


def test_a_subclass_of_torchvisions_networks_with_other_code_is_computed_anew():
    class Block(BasicBlock):
        factor = 1

        def forward(self, x):
            return super().forward(x) * self.factor

    found = []
    for Block.factor in (1, 2):
        torch.manual_seed(0)
        extractor = PretrainedFeatureExtractor(ResNet(Block, [1, 1, 1, 1]), image_size=32).fit(images())
        found.append(extractor.transform(images()))
        assert extractor.store_info_.n_misses == len(images())
    assert not np.allclose(*found)


SETTINGS = [
    (torch.backends, "tf32"),
    (torch.backends.mkldnn, "bf16"),
    (torch.backends.mkldnn.matmul, "tf32"),
    (torch.backends.mkldnn.conv, "bf16"),
]


@pytest.mark.parametrize(("owner", "precision"), SETTINGS)
def test_vectors_of_products_that_are_rounded_further_are_others(owner, precision):
    """torch has an older setting for this, which raises an error beside the newer ones."""
    usual = _cache_key._kind_of(torch.device("cpu"))
    assert usual.endswith(" highest")
    owner.fp32_precision = precision
    try:
        rounded = _cache_key._kind_of(torch.device("cpu"))
    finally:
        owner.fp32_precision = "none"  # as it is in a new process
    assert rounded != usual
    assert precision in rounded
    assert _cache_key._kind_of(torch.device("cpu")) == usual
