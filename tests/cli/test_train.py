"""sktl train writes one file that does without everything else, and says honestly how good the model is."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from sktl.cli._train import make_estimator
from sktl.comparison._candidates import make_candidates
from sktl.images import load_image_folder

FAST = ("--max-epochs", "1", "--unfreeze-depth", "1", "--quiet")


def record_in(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["sktl"])


@pytest.mark.parametrize("method", ["fine_tuned", "frozen"])
def test_methods_are_the_candidates_that_compare_judges(method):
    shared = {"backbone": "resnet18", "image_size": 64}
    training = {"weights": "w.pth", "unfreeze_depth": 2, "max_epochs": 7}
    judged = make_candidates(["dummy", method], task="classification", **training, **shared)[method]
    own = {**shared, **training} if method == "fine_tuned" else {**shared, "weights": "w.pth"}
    trained = make_estimator(method, own)
    parameters = {name: value for name, value in judged.get_params().items() if not hasattr(value, "get_params")}
    found = trained.get_params()
    for name, value in parameters.items():
        if name not in ("steps", "memory"):
            assert found[name] == value, name


def test_says_what_was_trained_and_that_there_is_no_score(run_sktl, photos, tmp_path):
    result = run_sktl("train", photos, "-o", tmp_path / "model", *FAST)
    assert result.exit_code == 0, result.output
    assert "Training on 20 of 20 images in 2 classes." in result.stderr
    assert result.stdout.startswith("Trained fine_tuned on 20 images of 2 classes (ants, bees): ")
    assert "tiny_fractal with the weights embedded (licence: BSD-3-Clause)" in result.stdout
    assert "No score: all images were trained on." in result.stdout
    assert "model.safetensors" in result.stdout
    assert (tmp_path / "model.safetensors").exists()


def test_the_record_says_what_it_is_and_where_it_comes_from(models):
    record = record_in(models["fine_tuned"])
    assert (record["format"], record["version"], record["kind"]) == ("sktl model", 2, "FineTuneClassifier")
    assert record["targets"]["classes"]["values"] == ["ants", "bees"]
    assert record["backbone"]["license"] == "BSD-3-Clause"
    assert len(record["backbone"]["digest"]) == 64
    assert record["parameters"]["unfreeze_depth"] == 2
    assert record["parameters"]["random_state"] == 3
    assert record["metadata"]["training"]["images_per_class"] == {"ants": 10, "bees": 10}
    assert {"sktl", "torch"} <= set(record["versions"])
    frozen = record_in(models["frozen"])
    assert frozen["layers"] == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert frozen["parameters"]["pooling"] == "avg+std"


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(run_sktl, photos, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run_sktl("train", photos, "-o", tmp_path / name, "--seed", seed, *FAST).exit_code == 0
    first, again, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_the_place_of_a_weight_file_is_not_in_the_model(run_sktl, photos, tmp_path, models):
    from safetensors.torch import save_file

    from sktl.backbones.sources._bundled import TinyResNet

    (tmp_path / "secret").mkdir()
    weights = tmp_path / "secret" / "mine.safetensors"
    save_file(TinyResNet().state_dict(), weights)
    output = tmp_path / "model.safetensors"
    result = run_sktl("train", photos, "-o", output, "--method", "frozen", "--weights", weights, "--quiet")
    assert result.exit_code == 0, result.output
    assert record_in(output)["backbone"]["weights"] == record_in(output)["parameters"]["weights"] == "mine.safetensors"
    assert b"secret" not in output.read_bytes()


def test_scores_are_those_of_models_that_did_not_see_the_images(run_sktl, photos, tmp_path):
    result = run_sktl("train", photos, "-o", tmp_path / "m", "--method", "frozen", "--cv", "4", "--json", "--seed", "5")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    bunch = load_image_folder(photos)
    estimator = make_estimator("frozen", {})
    splits = StratifiedKFold(4, shuffle=True, random_state=5).split(bunch.images, bunch.target)
    expected = [
        clone(estimator).fit(bunch.images[train], bunch.target[train]).score(bunch.images[test], bunch.target[test])
        for train, test in splits
    ]
    assert report["cross_validation"]["accuracy"] == expected
    assert report["cross_validation"]["accuracy_of_the_most_frequent_class"] == [
        pytest.approx(0.5, abs=0.2) for _ in expected
    ]
    assert "fold 4/4: accuracy" in result.stderr
    assert record_in(tmp_path / "m.safetensors")["metadata"]["training"]["cross_validation"]["n_folds"] == 4


def test_a_score_comes_with_its_spread_and_with_what_guessing_scores(run_sktl, photos, tmp_path):
    result = run_sktl("train", photos, "-o", tmp_path / "m", "--method", "frozen", "--cv", "2", "--quiet")
    assert "Accuracy on held-out images, 2 folds: " in result.stdout
    assert "Always naming the most frequent class scores 0.500." in result.stdout
    assert "fold" not in result.stderr


def test_fewer_images_keep_the_shares_of_the_classes(run_sktl, photos, tmp_path):
    result = run_sktl(
        "train", photos, "-o", tmp_path / "m", "--method", "frozen", "--max-images", "8", "--json", "--quiet"
    )
    assert json.loads(result.stdout)["images_per_class"] == {"ants": 4, "bees": 4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "-o", "m"], "path must be a folder"),
        (["{photos}", "-o", "m.pkl"], "--output must end in .safetensors. Got 'm.pkl' instead."),
        (["{photos}", "-o", "."], "--output must be a file to write. Got the folder '.' instead"),
        (["{photos}", "-o", "none/m"], "The folder to write none/m to must exist"),
        (["{photos}", "-o", "m", "--cv", "11"], "Got 11, and 10 images of 'ants' instead."),
        (["{photos}", "-o", "m", "--backbone", "resnet1"], "backbone must be a name"),
        (["{photos}", "-o", "m", "--unfreeze-depth", "9"], "unfreeze_depth must be at most 5"),
        (["{photos}", "-o", "m", "--device", "cuda:77"], "device must exist on this machine"),
        (["{photos}/ants", "-o", "m"], "path must have one sub-folder per class"),
    ],
)
def test_errors_are_one_message_and_code_1_and_leave_no_file(
    run_sktl, photos, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    result = run_sktl("train", *(argument.format(photos=photos) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == []


def test_one_class_is_nothing_to_learn(run_sktl, tmp_path):
    (tmp_path / "photos" / "ants").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "ants" / "1.png")
    result = run_sktl("train", tmp_path / "photos", "-o", tmp_path / "m")
    assert result.exit_code == 1
    assert "must have at least two folders, one per class" in result.stderr


def test_files_that_are_left_out_are_listed_where_verbose_is_written(run_sktl, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "ants" / "notes.txt").touch()
    command = ("train", tmp_path / "photos", "-o", tmp_path / "m", "--method", "frozen")
    line = f"Left out: {tmp_path / 'photos' / 'ants' / 'notes.txt'}\n"
    for options in ((), ("--quiet",)):
        result = run_sktl(*command, *options)
        assert "in 2 classes. Left out: 1 other file(s) or link(s); --verbose lists them." in result.stderr
        assert line not in result.stderr
    assert line in run_sktl(*command, "--verbose").stderr


@pytest.mark.filterwarnings("default:path must have images")
def test_what_the_system_makes_is_named_and_changes_no_model(run_sktl, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    for name in ("__MACOSX/ants", "ants/@eaDir"):
        shutil.copytree(photos / "bees", tmp_path / "photos" / name)
    (tmp_path / "photos" / "wasps").mkdir()
    for name, folder in (("a", photos), ("b", tmp_path / "photos")):
        result = run_sktl("train", folder, "-o", tmp_path / name, "--method", "frozen")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert result.stderr.startswith("Warning: path must have images in each of its folders. Left out of ")
    assert "'wasps' without an image; and '__MACOSX' and 'ants/@eaDir', hidden or made by the system." in result.stderr


def test_an_image_that_cannot_be_read_is_named_and_the_former_model_stays(run_sktl, tmp_path):
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.full((9, 9, 3), 99, dtype=np.uint8)).save(tmp_path / "photos" / name / "1.png")
    (tmp_path / "photos" / "bees" / "2.png").write_bytes(b"no picture")
    (tmp_path / "m.safetensors").write_bytes(b"former")
    result = run_sktl("train", tmp_path / "photos", "-o", tmp_path / "m.safetensors", *FAST)
    assert result.exit_code == 1
    assert "bees/2.png" in result.stderr
    assert (tmp_path / "m.safetensors").read_bytes() == b"former"
    assert sorted(os.listdir(tmp_path)) == ["m.safetensors", "photos"]


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "froze"],
        ["--augment", "much"],
        ["--method", "frozen", "--augment", "light"],
        ["--method", "frozen", "--max-epochs", "3"],
        ["--cv", "1"],
        ["--weights", "none"],
        ["--precision", "float16"],
        ["--image-size", "4096"],
    ],
)
def test_wrong_usage_ends_with_code_2(run_sktl, photos, tmp_path, options):
    assert run_sktl("train", photos, "-o", tmp_path / "m", *options).exit_code == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("word", "augment"), [("light", "light"), ("none", None), ("auto", "not written")])
def test_augmentation_reaches_the_training(run_sktl, photos, tmp_path, word, augment):
    result = run_sktl("train", photos, "-o", tmp_path / "m", "--augment", word, *FAST)
    assert result.exit_code == 0, result.output
    assert record_in(tmp_path / "m.safetensors")["parameters"].get("augment", "not written") == augment


def test_an_interrupt_ends_with_code_130_and_leaves_no_file(run_sktl, photos, tmp_path, monkeypatch):
    from sktl.fine_tuning import FineTuneClassifier

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(FineTuneClassifier, "fit", interrupted)
    result = run_sktl("train", photos, "-o", tmp_path / "m")
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr
    assert os.listdir(tmp_path) == []
