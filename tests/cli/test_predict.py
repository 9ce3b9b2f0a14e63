"""sktl predict gives what the estimator gives, names what it cannot read, and needs nothing but the model file."""

import copy
import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas
import pytest
from PIL import Image

from sktl._text import unescaped
from sktl.cli._train import make_estimator
from sktl.images import load_image_folder


@pytest.fixture(params=["fine_tuned", "frozen"])
def method(request):
    return request.param


@pytest.fixture
def fitted(photos, method):
    """The estimator that the model file was made from, fitted in Python."""
    bunch = load_image_folder(photos)
    parameters = {"random_state": 3} | ({"max_epochs": 2, "unfreeze_depth": 2} if method == "fine_tuned" else {})
    return make_estimator(method, parameters).fit(bunch.images, np.array(bunch.target_names)[bunch.target])


@pytest.fixture
def unseen(tmp_path):
    """Pictures of many kinds."""
    from sktl.datasets import make_fractals

    folder = tmp_path / "unseen"
    folder.mkdir()
    for i, image in enumerate(make_fractals(6, n_classes=2, random_state=1)[0]):
        Image.fromarray(image).resize((40 + 7 * i, 60)).save(folder / f"{i}.png")
    Image.new("L", (30, 20), 80).save(folder / "grey.jpg")
    Image.new("RGBA", (50, 50), (1, 2, 3, 99)).save(folder / "see-through.png")
    return folder


def check_probabilities(found, fitted, paths):
    """They are the estimator's, whose linear model the command multiplies in float64."""
    expected = fitted.predict_proba(paths)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    if hasattr(fitted, "steps"):
        exact = copy.deepcopy(fitted)
        exact[-1].coef_ = exact[-1].coef_.astype(np.float64)
        expected = exact.predict_proba(paths)
    np.testing.assert_array_equal(found, expected)


def test_classes_and_probabilities_are_those_of_the_estimator(run_sktl, models, method, fitted, unseen):
    result = run_sktl("predict", models[method], unseen, "--json", "--proba")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    paths = sorted(map(str, unseen.iterdir()))
    assert [row["path"] for row in content["predictions"]] == paths
    assert [row["class"] for row in content["predictions"]] == fitted.predict(paths).tolist()
    probabilities = [[row["probabilities"][name] for name in fitted.classes_] for row in content["predictions"]]
    check_probabilities(probabilities, fitted, paths)
    assert [row["probability"] for row in content["predictions"]] == [max(row) for row in probabilities]


@pytest.mark.parametrize("depth", [0, "all"])
def test_any_depth_gives_the_same_in_the_file(run_sktl, photos, unseen, tmp_path, depth):
    options = ("--unfreeze-depth", str(depth), "--max-epochs", "1", "--quiet")
    assert run_sktl("train", photos, "-o", tmp_path / "m", *options).exit_code == 0
    bunch = load_image_folder(photos)
    fitted = make_estimator("fine_tuned", {"unfreeze_depth": depth, "max_epochs": 1, "random_state": 0})
    fitted.fit(bunch.images, bunch.target)
    paths = sorted(map(str, unseen.iterdir()))
    content = json.loads(run_sktl("predict", tmp_path / "m.safetensors", *paths, "--proba", "--json").stdout)
    found = [list(row["probabilities"].values()) for row in content["predictions"]]
    np.testing.assert_array_equal(found, fitted.predict_proba(paths))


def test_three_classes_of_any_names_come_back(run_sktl, tmp_path, method):
    from sktl.datasets import make_fractals

    images, target = make_fractals(18, n_classes=3, random_state=0)
    names = ["Zebra, big", "ants\n\x1b[31m", "Äffchen"]
    for i, (image, label) in enumerate(zip(images, target, strict=True)):
        folder = tmp_path / "photos" / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    options = ("--max-epochs", "1") if method == "fine_tuned" else ()
    output = tmp_path / "m.safetensors"
    result = run_sktl("train", tmp_path / "photos", "-o", output, "--method", method, "--quiet", *options)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    bunch = load_image_folder(tmp_path / "photos")
    fitted = make_estimator(method, {"random_state": 0} | ({"max_epochs": 1} if options else {}))
    fitted.fit(bunch.images, np.array(bunch.target_names)[bunch.target])
    content = json.loads(run_sktl("predict", output, tmp_path / "photos", "--json", "--proba").stdout)
    assert content["classes"] == sorted(names) == fitted.classes_.tolist()
    paths = [row["path"] for row in content["predictions"]]
    found = [[row["probabilities"][name] for name in sorted(names)] for row in content["predictions"]]
    check_probabilities(found, fitted, paths)
    assert [row["class"] for row in content["predictions"]] == fitted.predict(paths).tolist()
    lines = run_sktl("predict", output, tmp_path / "photos").stdout.splitlines()
    assert len(lines) == 18
    assert not any("\x1b" in line for line in lines)


def test_one_line_per_image_with_tabs(run_sktl, models, unseen):
    result = run_sktl("predict", models["frozen"], unseen / "0.png", unseen / "grey.jpg")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(unseen / "0.png"), str(unseen / "grey.jpg")]
    assert all(line[1] in ("ants", "bees") and 0.5 <= float(line[2]) <= 1 for line in lines)
    assert result.stderr == ""


def test_more_classes_follow_on_the_line_when_they_are_asked_for(run_sktl, models, unseen):
    (line,) = run_sktl("predict", models["frozen"], unseen / "0.png", "--top", "5").stdout.splitlines()
    cells = line.split("\t")
    assert {cells[1], cells[3]} == {"ants", "bees"}
    assert float(cells[2]) >= float(cells[4])
    (line,) = run_sktl("predict", models["frozen"], unseen / "0.png", "--proba").stdout.splitlines()
    assert line.split("\t")[3].startswith("ants=0.")


def test_images_that_cannot_be_read_are_named_and_the_others_predicted(run_sktl, models, method, unseen, tmp_path):
    whole = run_sktl("predict", models[method], unseen, "--json")
    (unseen / "3b.png").write_bytes((unseen / "3.png").read_bytes()[:300])
    (unseen / "5b.jpg").write_text("not a picture")
    result = run_sktl("predict", models[method], unseen, "--json", "--csv", tmp_path / "table.csv")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)["predictions"]
    assert [row for row in rows if "error" not in row] == json.loads(whole.stdout)["predictions"]
    assert [row["path"] for row in rows if "error" in row] == [str(unseen / "3b.png"), str(unseen / "5b.jpg")]
    assert f"Error: '{unseen / '3b.png'}' cannot be read: the image is damaged" in result.stderr
    assert "2 of 10 images could not be read." in result.stderr
    with open(tmp_path / "table.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    assert [row["class"] for row in table] == [row.get("class", "") for row in rows]
    assert [bool(row["error"]) for row in table] == ["error" in row for row in rows]


def test_only_images_that_cannot_be_read_are_no_reason_to_fail_otherwise(run_sktl, models, method, tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    result = run_sktl("predict", models[method], tmp_path / "a.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "1 of 1 images could not be read." in result.stderr


def test_an_error_can_be_wanted_at_once(run_sktl, models, unseen):
    (unseen / "0.png").write_text("not a picture")
    result = run_sktl("predict", models["frozen"], unseen, "--on-error", "raise")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


def test_the_table_has_all_that_was_asked_for(run_sktl, models, unseen, tmp_path):
    options = ("--csv", tmp_path / "table.csv", "--top", "2", "--proba")
    result = run_sktl("predict", models["frozen"], unseen, *options)
    assert result.exit_code == 0
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["path", "class", "probability", "class_2", "probability_2", "probability of ants", "probability of bees"]
    assert list(rows[0]) == [*names, "error"]
    for row in rows:
        assert float(row["probability"]) == max(float(row[f"probability of {name}"]) for name in ("ants", "bees"))
        assert float(row["probability"]) + float(row["probability_2"]) == pytest.approx(1)


def test_results_do_not_depend_on_how_many_images_come_together(run_sktl, models, method, unseen, monkeypatch):
    together = json.loads(run_sktl("predict", models[method], unseen, "--json").stdout)["predictions"]
    monkeypatch.setattr("sktl.cli._predict._TOGETHER", 3)
    apart = json.loads(run_sktl("predict", models[method], unseen, "--json").stdout)["predictions"]
    assert [row["class"] for row in apart] == [row["class"] for row in together]
    np.testing.assert_allclose(
        [row["probability"] for row in apart], [row["probability"] for row in together], rtol=1e-12
    )


def test_names_that_would_command_a_terminal_are_spelt_out(run_sktl, models, unseen):
    odd = unseen / "a\x1b[31m\tb\udcff.png"
    (unseen / "0.png").rename(odd)
    result = run_sktl("predict", models["frozen"], odd)
    assert result.exit_code == 0, result.output
    assert "a\\x1b[31m\\tb\\udcff.png\t" in result.stdout
    assert result.stdout.count("\n") == 1
    assert json.loads(run_sktl("predict", models["frozen"], odd, "--json").stdout)["predictions"][0]["path"] == str(odd)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
def test_names_that_are_no_text_go_through_training_and_come_back_from_the_predictions(
    run_sktl, photos, tmp_path, method
):
    root, model, table = tmp_path / "caf\udce9", tmp_path / "m.safetensors", tmp_path / "table.csv"
    for name, odd in (("ants", "ant\udcff"), ("bees", "\udce9b")):
        shutil.copytree(photos / name, root / odd)
    options = ("--max-epochs", "1") if method == "fine_tuned" else ()
    result = run_sktl("train", root, "-o", model, "--method", method, "--json", *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["classes"] == ["ant\udcff", "\udce9b"]
    assert r"Images per class: ant\udcff 10, \udce9b 10." in result.stderr
    result = run_sktl("predict", model, root, "--json", "--proba", "--csv", table)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["predictions"]
    assert [row["path"] for row in rows] == sorted(map(str, root.rglob("*.png")))
    frame = pandas.read_csv(table)
    assert [unescaped(path) for path in frame["path"]] == [row["path"] for row in rows]
    assert [unescaped(name) for name in frame["class"]] == [row["class"] for row in rows]
    assert {unescaped(column) for column in frame.columns} >= {"probability of ant\udcff", "probability of \udce9b"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["none.safetensors", "{photos}"],
            "written by save_model or 'sktl train'. Found none at 'none.safetensors'",
        ),
        (["{model}", "none.png"], "IMAGES must be files or folders. Found nothing at 'none.png' instead."),
        (["{model}", "{empty}"], "a folder must have images in it."),
        (["{model}", "{photos}", "--csv", "none/a.csv"], "The folder to write none/a.csv to must exist"),
        (["{model}", "{photos}", "--device", "cuda:77"], "Error: device must exist on this machine"),
    ],
)
def test_errors_are_one_message_and_code_1(run_sktl, models, photos, tmp_path, arguments, message):
    places = {"model": models["frozen"], "photos": photos, "empty": tmp_path}
    result = run_sktl("predict", *(argument.format(**places) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("options", [[], ["{photos}", "--top", "0"], ["{photos}", "--on-error", "nan"]])
def test_wrong_usage_ends_with_code_2(run_sktl, models, photos, options):
    arguments = (option.format(photos=photos) for option in options)
    assert run_sktl("predict", models["frozen"], *arguments).exit_code == 2


@pytest.mark.slow
def test_the_command_itself_ends_with_the_code_that_it_promises(models, unseen):
    (unseen / "0.png").write_text("not a picture")
    command = [sys.executable, "-m", "sktl", "predict", models["fine_tuned"], unseen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 7
    assert "1 of 8 images could not be read." in done.stderr


@pytest.fixture
def several(photos):
    """Images with a matrix of two labels, and a model fitted on them."""
    from sktl import FineTuneClassifier

    images = sorted(map(str, photos.rglob("*.png")))
    matrix = np.stack([np.arange(len(images)) % 2, np.arange(len(images)) % 3 == 0], axis=1).astype(int)
    return images, matrix, FineTuneClassifier(unfreeze_depth=0, random_state=0).fit(images, matrix)


@pytest.mark.parametrize(
    "names",
    [
        ["red", "round|ish"],
        None,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (["red"], "re", {"a": 1})),
        [1, 2],
    ],
)
def test_several_labels_are_those_more_probable_than_not(several, run_sktl, tmp_path, names):
    from sktl.models import save_model

    images, _, model = several
    save_model(model, tmp_path / "tags.safetensors", metadata={"training": {"labels": names}})
    shown = np.array(names if names == ["red", "round|ish"] else ["0", "1"], dtype=object)
    result = run_sktl(
        "predict", tmp_path / "tags.safetensors", *images, "--json", "--proba", "--csv", tmp_path / "a.csv"
    )
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert (content["method"], content["classes"]) == ("fine_tuned", shown.tolist())
    expected = [shown[row == 1].tolist() for row in model.predict(images)]
    assert [row["labels"] for row in content["predictions"]] == expected
    assert 0 < sum(map(len, expected)) < 2 * len(images)
    probabilities = [list(row["probabilities"].values()) for row in content["predictions"]]
    np.testing.assert_array_equal(probabilities, model.predict_proba(images))
    table = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False, dtype={"labels": str})
    assert table["labels"].tolist() == ["|".join(labels) for labels in expected]
    lines = run_sktl("predict", tmp_path / "tags.safetensors", *images, "--separator", ";").stdout.splitlines()
    assert lines == [f"{path}\t{';'.join(labels)}" for path, labels in zip(images, expected, strict=True)]


def test_a_model_of_several_columns_of_labels_is_for_python(several, run_sktl, tmp_path):
    from sktl.models import save_model

    images, matrix, model = several
    save_model(model.fit(images, matrix + [[1, 2]]), tmp_path / "columns.safetensors")
    result = run_sktl("predict", tmp_path / "columns.safetensors", images[0])
    assert result.exit_code == 1
    assert "MODEL must predict one column of labels. Got one of 2 columns instead." in result.stderr


@pytest.mark.parametrize("n_targets", [1, 2])
def test_numbers_are_those_of_the_estimator(photos, run_sktl, tmp_path, n_targets):
    from sktl import FineTuneRegressor
    from sktl.models import save_model

    images = sorted(map(str, photos.rglob("*.png")))
    y = np.arange(float(n_targets * len(images))).reshape(len(images), n_targets)
    model = FineTuneRegressor(unfreeze_depth=0).fit(images, y[:, 0] if n_targets == 1 else y)
    save_model(model, tmp_path / "numbers.safetensors")
    (tmp_path / "bad.png").write_text("no picture")
    command = ("predict", tmp_path / "numbers.safetensors", *images, tmp_path / "bad.png")
    result = run_sktl(*command, "--json", "--csv", tmp_path / "a.csv")
    assert result.exit_code == 1
    *rows, bad = json.loads(result.stdout)["predictions"]
    expected = model.predict(images)
    assert [row["value" if n_targets == 1 else "values"] for row in rows] == expected.tolist()
    assert "error" in bad
    table = pandas.read_csv(tmp_path / "a.csv", dtype=str)  # the numbers of earlier releases lose digits
    columns = ["value"] if n_targets == 1 else ["value_1", "value_2"]
    assert list(table.columns) == ["path", *columns, "error"]
    np.testing.assert_array_equal(table[columns].astype(float).to_numpy()[:-1], expected.reshape(len(images), -1))
    assert table[columns].isna().to_numpy()[-1].all()
    lines = [line.split("\t") for line in run_sktl(*command).stdout.splitlines()]
    np.testing.assert_allclose(
        np.array([line[1:] for line in lines], dtype=float), expected.reshape(len(images), -1), rtol=1e-5
    )
    for option in (("--top", "2"), ("--proba",)):
        result = run_sktl(*command, *option)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{option[0]} must come with a model of classes. Got one that gives numbers instead." in result.stderr


def test_a_network_names_its_own_classes_without_any_model(run_sktl, unseen, tmp_path):
    from sktl import PretrainedClassifier

    paths = sorted(map(str, unseen.iterdir()))
    result = run_sktl("predict", "--backbone", "tiny_fractal", unseen, "--json", "--proba", "--top", "3")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    fitted = PretrainedClassifier().fit(paths)
    rows = content["predictions"]
    assert (content["model"], content["method"]) == ("tiny_fractal", "pretrained")
    assert content["backbone"]["name"] == "tiny_fractal"
    assert [row["path"] for row in rows] == paths
    assert content["classes"] == [str(name) for name in fitted.classes_]
    np.testing.assert_array_equal([list(row["probabilities"].values()) for row in rows], fitted.predict_proba(paths))
    ranked = [[(int(each["class"]), each["probability"]) for each in row["top"]] for row in rows]
    assert ranked == fitted.top(paths, k=3)
    lines = run_sktl("predict", unseen, "--backbone", "tiny_fractal", "--csv", tmp_path / "a.csv").stdout.splitlines()
    assert [line.split("\t")[1] for line in lines] == [str(name) for name in fitted.predict(paths)]
    with open(tmp_path / "a.csv", newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == [line.split("\t")[1] for line in lines]


def test_a_network_passes_over_images_that_cannot_be_read(run_sktl, unseen):
    (unseen / "0.png").write_text("not a picture")
    result = run_sktl("predict", "--backbone", "tiny_fractal", unseen)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 7
    assert "1 of 8 images could not be read." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}"], "MODEL must be a file written by save_model or 'sktl train'. Got images at"),
        (["{photos}", "{photos}"], "or name a network that has classes of its own: --backbone resnet50, say."),
        (["{model}", "{photos}", "--backbone", "tiny_fractal"], "MODEL must be left out where --backbone"),
        (["{model}", "{photos}", "--weights", "IMAGENET1K_V1"], "--weights must come with --backbone."),
        (["{photos}", "--backbone", "tiny_fractl"], "Did you mean 'tiny_fractal'? 'sktl backbones' lists them."),
    ],
)
def test_a_model_or_a_network_must_be_named_and_not_both(run_sktl, models, photos, arguments, message):
    result = run_sktl("predict", *(argument.format(model=models["frozen"], photos=photos) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_a_network_whose_classes_have_no_names_is_refused(run_sktl, photos, tmp_path):
    from safetensors.torch import save_file

    from sktl.backbones.sources._bundled import TinyResNet

    save_file(TinyResNet(3).state_dict(), tmp_path / "own.safetensors")
    result = run_sktl("predict", photos, "--backbone", "tiny_fractal", "--weights", tmp_path / "own.safetensors")
    assert result.exit_code == 1
    assert "weights must name their classes" in result.stderr
