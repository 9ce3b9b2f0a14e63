"""Networks in ONNX Runtime: the plain network's vectors, or an error that says what to do."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from sktl.backbones import load_backbone, pool
from sktl.inference import _onnx, onnx_programs, resolve_placement
from sktl.inference._engines import frozen_function

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="comes with the extra 'onnx'")

CPU = resolve_placement("cpu", "float32")
SLOW = ("mobilenet_v2", "efficientnet_b0", "densenet121", "convnext_tiny", "swin_t", "vit_b_16", "inception_v3")
SLOW += ("shufflenet_v2_x1_0",)
NAMES = ["tiny_fractal", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def block(backbone, n_rows=4):
    size = backbone.preprocessing.crop_size
    shape = (n_rows, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def make(backbone, cuts, placement=CPU):
    return frozen_function(backbone, cuts, "auto", backbone.preprocessing, placement, engine="onnxruntime")


def plain(backbone, images):
    with torch.inference_mode():
        return pool(backbone.stages(backbone.preprocessing.normalize(images)), "auto", backbone.own_pooling)


def small():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
    return load_backbone(network, preprocessing=load_backbone().preprocessing.resized(16))


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_the_plain_network_and_their_bits_do_not_depend_on_the_row(name):
    backbone = load_backbone(name, weights="default" if name == "tiny_fractal" else None)
    images, n_stages = block(backbone), len(backbone.stages)
    function = make(backbone, (n_stages, 1))
    found, expected = function(images), plain(backbone, images)
    assert (found[:, : expected.shape[1]] - expected).abs().max() <= 1e-4 * expected.abs().max()
    with ThreadPoolExecutor(2) as threads:
        for shift, other in enumerate(threads.map(lambda shift: function(images.roll(shift, 0)), range(4))):
            assert torch.equal(other, found.roll(shift, 0))


@pytest.mark.slow
def test_each_shape_of_the_block_has_a_session_and_the_oldest_one_goes():
    backbone = small()
    function = make(backbone, (2,))
    for n_rows in (1, 2, 1, 3):
        assert len(function(block(backbone, n_rows))) == n_rows
    assert len(_onnx._sessions[backbone]) == 3
    for n_rows in (4, 5):
        function(block(backbone, n_rows))
    assert [key[2][0] for key in _onnx._sessions[backbone]] == [1, 3, 4, 5]


@pytest.mark.slow
def test_a_large_network_goes_through_a_folder_that_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(_onnx, "_MAX_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(_onnx.tempfile, "tempdir", str(tmp_path))
    backbone = small()
    images = block(backbone)
    torch.testing.assert_close(make(backbone, (2,))(images), plain(backbone, images), rtol=1e-4, atol=1e-5)
    assert not list(Path(tmp_path).iterdir())


def test_half_precision_is_an_error():
    with pytest.raises(ValueError, match=r"engine='onnxruntime' needs precision='float32'. Got 'bfloat16' instead"):
        make(load_backbone(), (5,), resolve_placement("cpu", "bfloat16"))


def test_a_device_that_this_runtime_does_not_know_is_an_error():
    with pytest.raises(ValueError, match=r"Got 'mps' instead.*engine='torch'"):
        _onnx._provider(torch.device("mps"))


def test_a_network_that_cannot_be_exported_is_named(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("an operator is not known")

    monkeypatch.setattr(torch.onnx, "export", fail)
    backbone = small()
    with pytest.raises(ValueError, match=r"Sequential cannot be exported.*engine='torch'"):
        make(backbone, (2,))(block(backbone))


def test_without_the_extra_the_error_names_it(monkeypatch):
    def missing(name, *, extra, caller):
        raise ImportError(f"{caller} needs {name}: sktl[{extra}]")

    monkeypatch.setattr(onnx_programs, "import_optional", missing)
    with pytest.raises(ImportError, match=r"engine='onnxruntime' needs onnx: sktl\[onnx\]"):
        make(load_backbone(), (5,))
