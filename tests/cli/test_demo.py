"""``sktl demo``: labels saved, a verdict at the fewest labels, two plots and a page, from one set of fits."""

from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

import sktl.datasets
import sktl.label_efficiency
from sktl import PretrainedFeatureExtractor
from sktl.cli import _demo
from sktl.cli._app import app


def as_rows(images):
    return np.asarray(images).reshape(len(images), -1) / 255


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The calls of label_efficiency, which gets candidates, images and sizes that take no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_demo, "SIZES", (20, 40))
    monkeypatch.setattr(_demo, "SHOWN", 20)
    monkeypatch.setattr(_demo, "FOLDS", 2)
    images = sktl.datasets.load_moved_digits
    monkeypatch.setattr(sktl.datasets, "load_moved_digits", lambda **seed: [part[:150] for part in images(**seed)])
    found, real = [], sktl.label_efficiency.label_efficiency
    quick = {
        "frozen": make_pipeline(PretrainedFeatureExtractor(image_size=32), LogisticRegression(max_iter=1000)),
        "from_scratch": make_pipeline(FunctionTransformer(as_rows), GaussianNB()),
    }

    def instead(X, y, **options):
        found.append({"X": X, "y": y, **options})
        return real(X, y, **options | {"candidates": quick})

    monkeypatch.setattr(sktl.label_efficiency, "label_efficiency", instead)
    return found


def run(*arguments):
    return CliRunner().invoke(app, ["demo", *arguments])


def test_it_prints_labels_saved_and_a_verdict_and_writes_plots_and_a_page(calls, tmp_path):
    result = run("--out", "shown", "--quiet", "--n-jobs", "1")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.split("With 20 labels, and what else might explain it:\n")
    assert "labels 'frozen' scores" in first.splitlines()[0]
    assert [line.split()[0] for line in first.splitlines() if line.startswith("    ")] == ["20", "40"]
    assert "difference" in second
    for name in ("label_efficiency.png", "comparison.png"):
        with Image.open(tmp_path / "shown" / name) as picture:
            assert picture.size[0] > 500
    page = (tmp_path / "shown" / "report.html").read_text()
    HTMLParser().feed(page)
    assert "2 with 20 labels each" in page
    assert "2 folds · 20 to learn from" in page
    (call,) = calls
    assert call["candidates"] == _demo.CANDIDATES
    assert (call["sizes"], call["cv"], call["random_state"]) == (_demo.SIZES, _demo.FOLDS, 0)
    assert call["X"].shape == (150, 16, 16)


def test_a_seed_moves_the_digits_and_draws_the_folds(monkeypatch, tmp_path):
    calls = []

    def noted(X, y, **options):
        calls.append({"X": X, **options})
        raise ValueError("enough")

    monkeypatch.setattr(sktl.label_efficiency, "label_efficiency", noted)
    for seed in ("0", "3"):
        result = run("--seed", seed, "--out", str(tmp_path), "--n-jobs", "1", "--device", "cpu")
        assert "Error: enough" in result.stderr
    first, second = calls
    assert (first["X"] != second["X"]).any()
    assert (second["random_state"], second["device"], second["n_jobs"]) == (3, "cpu", 1)
    assert "backbone" not in second
    run("--backbone", "resnet18", "--out", str(tmp_path))
    assert calls[-1]["backbone"] == "resnet18"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cuda:77"], "device must exist on this machine"),
        (["--out", "taken"], "--out must be a folder. Got the file 'taken' instead."),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_fitted(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_the_recipes_run(monkeypatch, tmp_path):
    monkeypatch.setattr(_demo, "SIZES", (20, 40))
    monkeypatch.setattr(_demo, "SHOWN", 20)
    monkeypatch.setattr(_demo, "FOLDS", 2)
    real = sktl.label_efficiency.label_efficiency
    monkeypatch.setattr(
        sktl.label_efficiency, "label_efficiency", lambda X, y, **options: real(X, y, **options, max_epochs=1)
    )
    result = run("--out", str(tmp_path), "--quiet", "--n-jobs", "1", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in _demo.CANDIDATES)
