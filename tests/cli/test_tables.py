"""A table in the place of a folder: the same images, classes, numbers and groups reach every command."""

import csv
import json
import os

import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.metrics import f1_score, r2_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

import sktl.comparison
from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.cli._scores import score_of_answers, score_of_chance
from sktl.cli._train import make_estimator
from sktl.images import load_image_folder
from sktl.models import load_model
from sktl.models.metadata import metadata_of

FAST = ("--unfreeze-depth", "0", "--quiet")


@pytest.fixture
def rows(photos):
    """Path, class, a measure, whether it is bright and has a left half, and one of five groups, of each image."""
    folder = load_image_folder(photos)
    found = []
    for number, (image, label) in enumerate(zip(folder.images, folder.target, strict=True)):
        pixels = np.asarray(Image.open(image).convert("L"), dtype=float)
        tags = "|".join(name for name, has in (("odd", number % 2), ("third", number % 3 == 0)) if has)
        path = os.path.relpath(image, photos).replace(os.sep, "/")
        found.append((path, folder.target_names[label], f"{pixels.mean():.4f}", tags, f"g{number % 5}"))
    return found


@pytest.fixture
def table(photos, rows, tmp_path):
    with open(tmp_path / "photos.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "light", "tags", "patient"), *rows])
    return tmp_path / "photos.csv"


@pytest.fixture
def recorded(monkeypatch):
    """The calls of compare_transfer, which ends each of them."""
    calls = []

    def instead(X, y, **options):
        calls.append({"X": X, "y": y, **options})
        raise ValueError("that is enough")

    monkeypatch.setattr(sktl.comparison, "compare_transfer", instead)
    return calls


def test_a_comparison_of_a_table_is_that_of_the_folder(run_sktl, photos, rows, table, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_sktl("compare", photos)
    result = run_sktl("compare", "--table", table, "--root", photos)
    assert "Comparing on 20 of 20 images in 2 classes.\nImages per class: ants 10, bees 10.\n" in result.stderr
    first, second = recorded
    for call in recorded:
        call["X"], call["y"] = call["X"].tolist(), call["y"].tolist()
    assert first == second
    run_sktl("compare", "--table", table, "--root", photos, "--group", "patient", "--max-images", "8")
    group_of = {str(photos / path): group for path, *_, group in rows}
    assert recorded[-1]["groups"].tolist() == [group_of[image] for image in recorded[-1]["X"]]
    assert np.bincount(recorded[-1]["y"]).tolist() == [4, 4]
    result = run_sktl("compare", "--table", table, "--root", photos, "--target", "light")
    assert recorded[-1]["task"] == "regression"
    assert recorded[-1]["y"].dtype == float
    assert "Numbers: from " in result.stderr


def test_groups_of_a_table_may_come_from_its_files(run_sktl, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"p{number // 2}_{number % 2}.png,{'ab'[number // 2 % 2]},{number}" for number in range(16)]
    (tmp_path / "names.csv").write_text("\n".join(["path,label,patient", *rows]))
    for number in range(16):
        Image.new("L", (4, 4)).save(tmp_path / f"p{number // 2}_{number % 2}.png")
    run_sktl("compare", "--table", "names.csv", "--groups", "name")
    assert np.asarray(recorded[-1]["groups"]).tolist() == [number // 2 for number in range(16)]
    result = run_sktl("compare", "--table", "names.csv", "--groups", "name", "--group", "patient")
    assert result.exit_code == 2


def test_a_regression_is_compared_and_reported(run_sktl, photos, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "--target light --task regression --candidates dummy --candidates pixels --baseline dummy --cv 2 --json"
    result = run_sktl(
        "compare", "--table", table, "--root", photos, *words.split(), "--group", "patient", "--report", "page.html"
    )
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert (content["scoring"], content["settings"]["task"], content["settings"]["groups"]) == (
        "r2",
        "regression",
        True,
    )
    assert (tmp_path / "page.html").exists()


def test_a_model_of_a_table_is_that_of_the_folder(run_sktl, photos, table, tmp_path):
    for name, source in (("a", [photos]), ("b", ["--table", table, "--root", photos])):
        result = run_sktl("train", *source, "-o", tmp_path / name, "--cv", "2", "--json", *FAST)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    report = json.loads(result.stdout)
    assert (report["task"], report["images_per_class"]) == ("classification", {"ants": 10, "bees": 10})


def test_groups_stay_on_one_side_of_the_folds_that_score_a_model(run_sktl, photos, rows, table, tmp_path):
    command = ("train", "--table", table, "--root", photos, "-o", tmp_path / "m", "--target", "light", *FAST)
    report = json.loads(run_sktl(*command, "--group", "patient", "--cv", "5", "--json").stdout)
    images = np.array([str(photos / path) for path, *_ in rows], dtype=object)
    y, groups = np.array([float(row[2]) for row in rows]), [row[4] for row in rows]
    folds = list(GroupKFold(5, shuffle=True, random_state=0).split(images, y, groups))
    seeds = np.random.SeedSequence(0).generate_state(5) % 2**31
    expected = []
    for (train, test), seed in zip(folds, seeds.tolist(), strict=True):
        model = FineTuneRegressor(unfreeze_depth=0, random_state=seed).fit(images[train], y[train])
        expected.append(r2_score(y[test], model.predict(images[test])))
    assert report["cross_validation"]["r2"] == expected
    result = run_sktl(*command, "--group", "patient", "--cv", "6")
    assert "--cv must be at most the number of groups. Got 6, and 5 groups instead." in result.stderr


@pytest.mark.parametrize("method", ["fine_tuned", "frozen"])
def test_a_regression_is_trained_scored_and_predicted(run_sktl, photos, rows, table, tmp_path, method):
    source = ("--table", table, "--root", photos, "--target", "light")
    fast = FAST if method == "fine_tuned" else ("--quiet",)
    command = ("train", *source, "-o", tmp_path / "m", "--method", method, "--cv", "2")
    result = run_sktl(*command, *fast)
    assert result.exit_code == 0, result.output
    y = np.array([float(row[2]) for row in rows])
    assert f"20 images with numbers from {y.min():g} to {y.max():g}: " in result.stdout
    assert "R2 on held-out images, 2 folds: " in result.stdout
    assert "The same answer for all scores -" in result.stdout
    images = [str(photos / path) for path, *_ in rows]
    parameters = {"random_state": 0} | ({"unfreeze_depth": 0} if method == "fine_tuned" else {})
    expected = make_estimator(method, parameters, task="regression").fit(images, y).predict(images)
    result = run_sktl("predict", tmp_path / "m.safetensors", *source, "--json", "--csv", tmp_path / "a.csv")
    content = json.loads(result.stdout)
    np.testing.assert_allclose([row["value"] for row in content["predictions"]], expected, rtol=1e-6)
    assert [row["target"] for row in content["predictions"]] == y.tolist()
    assert content["score"] == {"r2": pytest.approx(r2_score(y, expected)), "n_images": 20}
    assert f"R2 on 20 images: {r2_score(y, expected):.3f}." in result.stderr
    assert pandas.read_csv(tmp_path / "a.csv")["target"].tolist() == y.tolist()


def test_several_labels_are_trained_scored_and_predicted_by_name(run_sktl, photos, rows, table, tmp_path):
    source = ("--table", table, "--root", photos, "--target", "tags", "--separator", "|")
    result = run_sktl("train", *source, "-o", tmp_path / "m", "--cv", "2", "--json", *FAST)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["task"], report["classes"]) == ("multilabel", ["odd", "third"])
    assert report["images_per_label"] == {"odd": 10, "third": 7}
    images = np.array([str(photos / path) for path, *_ in rows], dtype=object)
    matrix = np.array([["odd" in row[3], "third" in row[3]] for row in rows]).astype(int)
    seeds = (np.random.SeedSequence(0).generate_state(2) % 2**31).tolist()
    expected = []
    for (train, test), seed in zip(KFold(2, shuffle=True, random_state=0).split(images), seeds, strict=True):
        model = FineTuneClassifier(unfreeze_depth=0, random_state=seed).fit(images[train], matrix[train])
        expected.append(f1_score(matrix[test], model.predict(images[test]), average="micro", zero_division=0.0))
    assert report["cross_validation"]["f1_of_all_labels"] == expected
    assert metadata_of(tmp_path / "m.safetensors")["training"]["labels"] == ["odd", "third"]
    result = run_sktl("predict", tmp_path / "m.safetensors", *source, "--json")
    content = json.loads(result.stdout)
    predicted = load_model(tmp_path / "m.safetensors").predict(images)
    names = np.array(["odd", "third"])
    assert [row["labels"] for row in content["predictions"]] == [names[row == 1].tolist() for row in predicted]
    assert [row["target"] for row in content["predictions"]] == [[*filter(None, row[3].split("|"))] for row in rows]
    assert content["score"]["f1_of_all_labels"] == f1_score(matrix, predicted, average="micro")
    result = run_sktl("train", *source, "-o", tmp_path / "n", "--method", "frozen")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--method must be fine_tuned where an image may have several labels" in result.stderr


def test_predictions_of_a_table_are_scored_against_it(run_sktl, photos, models, rows, table, tmp_path):
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace(",ants,", ",wasps,")
    table.write_text("\n".join(lines))
    found = run_sktl("predict", models["frozen"], "--table", table, "--root", photos, "--json", "--target", "label")
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert [row["path"] for row in content["predictions"]] == [str(photos / row[0]) for row in rows]
    right = np.mean([row["class"] == row["target"] for row in content["predictions"]])
    assert content["score"] == {"accuracy": right, "n_images": 20}
    assert "Not among the classes of the model, and counted as wrong: 'wasps'." in found.stderr
    without = json.loads(run_sktl("predict", models["frozen"], "--table", table, "--root", photos, "--json").stdout)
    assert "score" not in without
    assert "target" not in without["predictions"][0]
    assert [row["class"] for row in without["predictions"]] == [row["class"] for row in content["predictions"]]


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_embeddings_carry_what_the_table_says(run_sktl, photos, rows, table, tmp_path, ending):
    output = tmp_path / f"a.{ending}"
    wanted = {
        "label": [row[1] for row in rows],
        "light": [float(row[2]) for row in rows],
        "tags": [row[3] for row in rows],
    }
    for name, cells in wanted.items():
        options = ("--separator", "|") if name == "tags" else ()
        command = ("embed", "--table", table, "--root", photos, "--target", name, "--group", "patient", *options)
        result = run_sktl(*command, "-o", output)
        assert result.exit_code == 0, result.output
        if ending == "npz":
            with np.load(output) as arrays:
                found = {name: arrays[name].tolist() for name in ("path", "label", "group")}
        else:
            frame = (
                pandas.read_parquet(output) if ending == "parquet" else pandas.read_csv(output, keep_default_na=False)
            )
            found = frame.to_dict("list")
        assert found["path"] == [str(photos / row[0]) for row in rows]
        assert (found["label"], found["group"]) == (cells, [row[4] for row in rows])
    assert run_sktl("embed", "--table", table, "--root", photos, "-o", output).stdout.endswith(", without labels.\n")


def test_a_test_folder_scores_the_model_that_is_written(run_sktl, photos, tmp_path):
    command = ("train", photos, "-o", tmp_path / "m", "--test-folder", photos, "--json", *FAST)
    result = run_sktl(*command)
    assert result.exit_code == 0, result.output
    folder = load_image_folder(photos)
    predicted = load_model(tmp_path / "m.safetensors").predict(folder.images)
    accuracy = float(np.mean(predicted == np.array(folder.target_names)[folder.target]))
    scores = {"n_images": 20, "accuracy": accuracy, "accuracy_of_the_most_frequent_class": 0.5}
    assert json.loads(result.stdout)["test"] == metadata_of(tmp_path / "m.safetensors")["training"]["test"] == scores
    text = run_sktl(*(word for word in command if word != "--json")).stdout
    assert f"Accuracy on the test folder, 20 images: {accuracy:.3f}. Always naming the most frequent class" in text
    assert "No score" not in text
    for name in ("ants", "wasps"):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "other" / name / "1.png")
    result = run_sktl("train", photos, "-o", tmp_path / "n", "--test-folder", tmp_path / "other")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--test-folder must have folders of the same classes. Got 'wasps' instead" in result.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["train", "{photos}", "--table", "{table}", "-o", "m"],
            "give FOLDER or --table or --features, and one of them alone.",
        ),
        (["train", "-o", "m"], "give FOLDER or --table or --features, and one of them alone."),
        (["embed", "-o", "a.csv"], "give IMAGES or --table, and one of them alone."),
        (["compare", "--table", "{table}", "--digits"], "give FOLDER or --table or --digits, and one of them alone."),
        (["compare", "{photos}", "--target", "label"], "is for --table"),
        (["compare", "--table", "{table}", "--groups", "g.csv"], "--group names the column of a table"),
        (["compare", "--table", "{table}", "--separator", "|"], "a comparison is about one label for each image"),
        (["train", "{photos}", "-o", "m", "--task", "regression"], "is for --table"),
        (["train", "--table", "{table}", "-o", "m", "--task", "rank"], "must be one of auto, classification"),
        (["predict", "{model}", "{photos}", "--table", "{table}"], "IMAGES must be left out where --table lists them"),
        (["predict", "--table", "{table}"], "MODEL must be a file"),
    ],
)
def test_options_that_do_not_go_together_end_with_code_2(run_sktl, photos, table, models, tmp_path, command, message):
    places = {"photos": photos, "table": table, "model": models["frozen"]}
    result = run_sktl(*(word.format(**places) for word in command))
    assert (result.exit_code, result.stdout) == (2, "")
    assert " ".join(message.split()) in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--target", "lable"],
            "must have the column 'lable'. Got 'path', 'label', 'light', 'tags' and 'patient' instead.",
        ),
        ([], "that do not instead: "),
        (["--root", "{photos}", "--target", "path", "--task", "regression"], "must hold numbers for regression"),
        (["--root", "{photos}", "--cv", "11"], "--cv must be at most the number of images of each class. Got 11"),
        (["--root", "{photos}", "--target", "light", "--cv", "11"], "--cv must leave two images in each fold. Got 11"),
        (["--root", "{photos}", "--target", "light", "--task", "classification"], "--task regression"),
        (
            ["--root", "{photos}", "--target", "light", "--test-folder", "{photos}"],
            "--test-folder must come with classes",
        ),
    ],
)
def test_errors_of_tables_are_one_message_and_code_1(run_sktl, photos, table, tmp_path, options, message):
    options = [option.format(photos=photos) for option in options]
    result = run_sktl("train", "--table", table, "-o", tmp_path / "m", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert not (tmp_path / "m.safetensors").exists()


def test_one_class_in_a_table_is_nothing_to_learn(run_sktl, photos, rows, tmp_path):
    (tmp_path / "a.csv").write_text("path,label\n" + "\n".join(f"{path},ant" for path, *_ in rows))
    result = run_sktl("train", "--table", tmp_path / "a.csv", "--root", photos, "-o", tmp_path / "m")
    assert result.exit_code == 1
    assert "--target must have at least two classes. Got 'ant' alone instead." in result.stderr


def test_the_score_of_chance_is_that_of_the_best_single_answer():
    names = np.array(["a", "b", "b", "c"])
    assert score_of_chance("classification", names, names) == 0.5
    numbers = np.array([1.0, 2.0, 6.0])
    assert score_of_chance("regression", numbers, numbers) == 0.0
    assert score_of_chance("regression", numbers, numbers + 1) == pytest.approx(r2_score(numbers + 1, [3, 3, 3]))
    matrix = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 1]])
    answers = [[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]]
    best = max(f1_score(matrix, np.tile(answer, (4, 1)), average="micro", zero_division=0.0) for answer in answers)
    assert score_of_chance("multilabel", matrix, matrix) == pytest.approx(best)


def test_lists_of_labels_are_scored_like_their_matrix():
    true, said = [["a"], [], ["a", "b"]], [["a"], ["c"], ["b"]]
    matrices = ([[1, 0, 0], [0, 0, 0], [1, 1, 0]], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    assert score_of_answers("multilabel", true, said) == f1_score(*matrices, average="micro")


def test_classes_without_groups_are_scored_on_the_same_folds_as_before(photos):
    from sktl._splits import splitter

    y = load_image_folder(photos).target
    ours = splitter(3, None, "classification", 7).split(y, y)
    for (train, test), (other_train, other_test) in zip(
        ours, StratifiedKFold(3, shuffle=True, random_state=7).split(y, y), strict=True
    ):
        assert (train.tolist(), test.tolist()) == (other_train.tolist(), other_test.tolist())
