"""The bundled networks: architecture, the weights that ship, their card, and the command that makes the smaller."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl.backbones.sources import _bundled
from sktl.backbones.sources._bundled import BUNDLED, IMAGE_SIZE, MEAN, STD, TINY_FORMULA, TINY_FRACTAL, TinyResNet
from sktl.datasets import make_fractals

CARD = Path(_bundled.__file__).parents[1] / "weights" / "README.md"
COMMAND = Path(__file__).parents[3] / "pretraining" / "tiny_fractal.py"


@pytest.fixture(params=BUNDLED)
def name(request):
    return request.param


@pytest.fixture
def shipped(name):
    network = TinyResNet(BUNDLED[name].n_classes, BUNDLED[name].widths)
    network.load_state_dict(load_file(BUNDLED[name].weights.path), strict=True)
    return network.eval()


@pytest.fixture
def random_twin():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyResNet().eval()


@pytest.fixture(scope="module")
def pretraining():
    if not COMMAND.exists():
        pytest.skip("the pre-training command is in the repository, not in the package")
    spec = importlib.util.spec_from_file_location("pretraining_tiny_fractal", COMMAND)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path[:] = path
        del sys.modules[spec.name]


def test_the_chain_gives_maps_of_halving_size(random_twin):
    x, shapes = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE), []
    for name in ("stem", "stage1", "stage2", "stage3", "stage4"):
        x = getattr(random_twin, name)(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(24, 24, 24), (24, 24, 24), (48, 12, 12), (96, 6, 6), (192, 3, 3)]
    assert [name for name, _ in random_twin.named_children()] == ["stem", "stage1", "stage2", "stage3", "stage4", "fc"]


@pytest.mark.parametrize(
    ("name", "parameters", "n_bytes"), [(TINY_FRACTAL, (0.65e6, 0.8e6), 2e6), (TINY_FORMULA, (1.2e6, 1.5e6), 3e6)]
)
def test_the_networks_are_small(name, parameters, n_bytes, shipped):
    low, high = parameters
    assert low < sum(parameter.numel() for parameter in shipped.parameters()) < high
    assert BUNDLED[name].weights.path.stat().st_size < n_bytes


def test_forward_is_the_chain_then_the_average_then_fc(shipped):
    x = torch.randn(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    maps = torch.nn.Sequential(*list(shipped.children())[:-1])(x)
    torch.testing.assert_close(shipped(x), shipped.fc(maps.mean((2, 3))))


def test_kernels_ship_in_half_precision_and_statistics_in_full(name, shipped):
    stored = load_file(BUNDLED[name].weights.path)
    assert stored.keys() == shipped.state_dict().keys()
    for name, tensor in stored.items():
        if tensor.is_floating_point():
            assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
            assert torch.isfinite(tensor).all(), name


def test_the_card_is_that_of_the_file(name):
    text = CARD.read_text(encoding="utf-8")
    path = BUNDLED[name].weights.path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in text
    assert f"pretraining/{name}.py" in text
    assert "BSD-3-Clause" in text
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()[name])
    assert f"{metadata['images']:,} pictures" in text
    assert f"--seed {metadata['recipe']['seed']}" in text
    assert f"--steps {metadata['recipe']['steps']}" in text


def test_the_weights_of_tiny_fractal_are_those_that_always_shipped():
    digest = hashlib.sha256(BUNDLED[TINY_FRACTAL].weights.path.read_bytes()).hexdigest()
    assert digest == "b0df85262cb9f6d6a4a874bfe7a7bb02b1a3aa25b9ef9f42b455a94b3e26da59"


def test_shipped_features_tell_unseen_fractals_apart_and_random_ones_do_not(shipped, random_twin):
    X, y = make_fractals(600, n_classes=20, difficulty=1, random_state=0)
    batch = torch.from_numpy(X).permute(0, 3, 1, 2) / 255
    batch = (batch - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    def accuracy(network):
        with torch.no_grad():
            features = torch.nn.Sequential(*list(network.children())[:-1])(batch).mean((2, 3)).numpy()
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        return head.fit(features[:400], y[:400]).score(features[400:], y[400:])

    assert accuracy(shipped) > accuracy(random_twin) + 0.3


def run(pretraining, folder, *more):
    options = pretraining.parse(
        ["--folder", str(folder), "--steps", "6", "--classes", "4", "--instances", "3", "--batch", "8", *more]
    )
    return pretraining.train(options)


def test_interrupted_pretraining_ends_with_the_same_file(pretraining, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretraining, "N_NOISE", 8)
    whole = run(pretraining, tmp_path / "whole")
    assert run(pretraining, tmp_path / "parts", "--pause-after", "2") is None
    assert "paused at step 2 of 6" in capsys.readouterr().out
    torch.manual_seed(123)  # whatever happened in between must not matter
    np.random.seed(123)  # noqa: NPY002
    resumed = run(pretraining, tmp_path / "parts")
    assert "go on at step 2" in capsys.readouterr().out
    assert whole.read_bytes() == resumed.read_bytes()
    TinyResNet(4).load_state_dict(load_file(resumed), strict=True)


@pytest.mark.slow
def test_pretraining_lowers_the_loss(pretraining, tmp_path):
    options = pretraining.parse(["--steps", "40", "--classes", "2", "--instances", "4", "--batch", "16"])
    pictures, _, noise = pretraining.draw_pictures(options)
    scale = pretraining.scale_of_statistics(options, pictures, noise)
    trained = pretraining.build(options)
    losses = np.array([pretraining.take_step(trained, options, pictures, noise, scale) for _ in range(40)])
    assert (losses[-8:].mean(0) < losses[:8].mean(0)).all()


def test_a_checkpoint_of_another_recipe_is_not_continued(pretraining, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretraining, "N_NOISE", 8)
    run(pretraining, tmp_path, "--pause-after", "1")
    run(pretraining, tmp_path, "--pause-after", "1", "--seed", "5")
    assert "another recipe" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.part"))
