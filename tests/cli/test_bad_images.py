"""Commands that learn from images find all of those that cannot be read, and name each of them once."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from sktl.images._opened import OpenedImage
from sktl.models import load_model

COMPARE = (
    "--candidates",
    "pixels",
    "--candidates",
    "dummy",
    "--candidates",
    "frozen",
    "--baseline",
    "dummy",
    "--cv",
    "2",
)
NAMES = ("00.png", "01.png", "02.png")


@pytest.fixture
def damaged(photos, tmp_path, monkeypatch):
    """The pictures, three of which cannot be read, each for a reason of its own."""
    folder = tmp_path / "damaged"
    shutil.copytree(photos, folder)
    (cut_off,) = folder.rglob(NAMES[0])
    cut_off.write_bytes(cut_off.read_bytes()[:-300])
    (text,) = folder.rglob(NAMES[1])
    text.write_text("not a picture")
    (empty,) = folder.rglob(NAMES[2])
    empty.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return folder


def commands(folder, tmp_path):
    return {
        "compare": ("compare", folder, *COMPARE, "--plot", tmp_path / "plot.png"),
        "compare in groups": (
            "compare",
            folder,
            *COMPARE,
            "--plot",
            tmp_path / "plot.png",
            "--near-duplicates",
            "group",
        ),
        "compare at once": ("compare", folder, *COMPARE, "--plot", tmp_path / "p.png", "--near-duplicates", "ignore"),
        "train": ("train", folder, "-o", tmp_path / "model", "--max-epochs", "1"),
        "train frozen": ("train", folder, "-o", tmp_path / "model", "--method", "frozen", "--cv", "2"),
    }


KINDS = list(commands(None, Path()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [(), ("--on-error", "stop"), ("--on-error", "raise")])
def test_all_are_named_once_and_nothing_is_written(run_sktl, damaged, tmp_path, kind, options):
    result = run_sktl(*commands(damaged, tmp_path)[kind], *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Error: X must hold images that can be read. Got 3 of 20 that cannot be instead:" in result.stderr
    assert result.stderr.endswith("Mend or remove them, or leave them out with --on-error skip.\n")
    for name, reason in zip(NAMES, ("damaged or cut off", "that Pillow reads", "must have content"), strict=True):
        (line,) = [line for line in result.stderr.splitlines() if f"{name}'" in line]
        assert reason in line
    assert "fit " not in result.stderr
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_they_can_be_skipped(run_sktl, damaged, tmp_path, kind):
    result = run_sktl(*commands(damaged, tmp_path)[kind], "--on-error", "skip")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert all(text.count(f"{name}'") == 1 for name in NAMES)


def test_json_has_those_that_were_skipped(run_sktl, damaged, tmp_path):
    for kind in "compare", "train":
        result = run_sktl(*commands(damaged, tmp_path)[kind], "--on-error", "skip", "--json", "--quiet")
        assert result.exit_code == 0, result.output
        content = json.loads(result.stdout)
        paths = [bad["path"] for bad in content["bad_images"]] if kind == "compare" else content["unreadable"]
        assert sorted(map(os.path.basename, paths)) == list(NAMES)
    assert content["n_images"] == 17
    assert content["images_per_class"] == {"ants": 8, "bees": 9}


def test_a_model_is_that_of_the_other_images(run_sktl, damaged, tmp_path):
    command = commands(damaged, tmp_path)["train frozen"]
    assert run_sktl(*command, "--on-error", "skip").exit_code == 0
    with_bad_ones = load_model(tmp_path / "model.safetensors")
    for name in NAMES:
        next(damaged.rglob(name)).unlink()
    assert run_sktl(*command).exit_code == 0
    paths = sorted(map(str, damaged.rglob("*.png")))
    without = load_model(tmp_path / "model.safetensors")
    assert (with_bad_ones.decision_function(paths) == without.decision_function(paths)).all()


@pytest.fixture
def decoded(monkeypatch):
    """How often each file has been decoded."""
    counts, picture = Counter(), OpenedImage.picture

    def counting(self):
        counts[os.path.basename(self._item)] += 1
        return picture(self)

    monkeypatch.setattr(OpenedImage, "picture", counting)
    return counts


def test_training_on_frozen_features_decodes_every_image_once(run_sktl, photos, tmp_path, decoded):
    assert run_sktl("train", photos, "-o", tmp_path / "model", "--method", "frozen").exit_code == 0
    assert set(decoded.values()) == {1}
    assert len(decoded) == 20


def test_bad_images_of_a_test_folder_are_found_before_the_training(run_sktl, photos, damaged, tmp_path):
    options = ("--method", "frozen", "--test-folder", damaged)
    result = run_sktl("train", photos, "-o", tmp_path / "model", *options)
    assert result.exit_code == 1
    assert "Got 3 of 20" in result.stderr
    result = run_sktl("train", photos, "-o", tmp_path / "model", *options, "--on-error", "skip", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert (content["n_images"], content["test"]["n_images"], len(content["unreadable"])) == (20, 17, 3)


def test_a_class_of_which_nothing_can_be_read_is_an_error(run_sktl, damaged, tmp_path):
    for path in (damaged / "bees").iterdir():
        path.write_bytes(b"")
    result = run_sktl("train", damaged, "-o", tmp_path / "model", "--on-error", "skip")
    assert result.exit_code == 1
    assert "Got none for 'bees' instead" in result.stderr


@pytest.mark.parametrize("word", ["stop", "raise"])
def test_the_words_are_the_same_in_all_commands(run_sktl, damaged, models, tmp_path, word):
    result = run_sktl("embed", damaged, "-o", tmp_path / "features.npz", "--on-error", word)
    assert result.exit_code == 1
    assert "00.png' cannot be read" in result.stderr
    result = run_sktl("predict", models["frozen"], damaged, "--on-error", word)
    assert result.exit_code == 1
    assert "00.png' cannot be read" in result.stderr
    for command in ("embed", "predict", "train", "compare"):
        assert run_sktl(command, damaged, "--on-error", "drop", "-o", tmp_path / "x").exit_code == 2
