"""A folder of small pictures that can be told apart, and models trained on it once."""

import os

import pytest
from PIL import Image
from typer.testing import CliRunner


def run_sktl(*arguments):
    """Run the command in this process."""
    from sktl.cli._app import app

    return CliRunner().invoke(app, [os.fspath(argument) for argument in arguments])


@pytest.fixture(name="run_sktl", scope="session")
def command():
    return run_sktl


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty pictures in photos/ants and photos/bees; not to be changed."""
    from sktl.datasets import make_fractals

    root = tmp_path_factory.mktemp("pictures") / "photos"
    images, target = make_fractals(20, n_classes=2, random_state=0)
    for i, (image, label) in enumerate(zip(images, target, strict=True)):
        folder = root / ("ants", "bees")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return root


OPTIONS = ("--max-epochs", "2", "--unfreeze-depth", "2", "--seed", "3", "--quiet")


@pytest.fixture(scope="session")
def models(photos, tmp_path_factory):
    """Method → model file."""
    folder = tmp_path_factory.mktemp("models")
    files = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKTL_CACHE_DIR", str(tmp_path_factory.mktemp("store of the models")))
        for method, options in (("fine_tuned", OPTIONS), ("frozen", ("--seed", "3", "--quiet"))):
            files[method] = folder / f"{method}.safetensors"
            result = run_sktl("train", photos, "-o", files[method], "--method", method, *options)
            assert result.exit_code == 0, result.output
    return files
