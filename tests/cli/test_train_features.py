"""sktl train --features fits the head that sktl train fits, from features on disk, and writes a model for pictures."""

import json

import numpy as np
import pandas
import pytest
from safetensors import safe_open

from sktl import LinearProbeClassifier
from sktl.cli import _feature_tables
from sktl.models import load_model

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def few_features(run_sktl, photos, tmp_path_factory):
    """Features of the top stage alone."""
    file = tmp_path_factory.mktemp("features") / "few.parquet"
    assert run_sktl("embed", photos, "-o", file, "--pooling", "avg", "--quiet").exit_code == 0
    return file


@pytest.fixture(scope="module")
def features(run_sktl, photos, tmp_path_factory):
    """The features that --method frozen takes, in one file."""
    file = tmp_path_factory.mktemp("features") / "features.parquet"
    result = run_sktl("embed", photos, "-o", file, "--layer", "all", "--pooling", "avg+std", "--quiet")
    assert result.exit_code == 0, result.output
    return file


def changed(features, path, change):
    """Write the table once more with something changed, and with what it says of itself."""
    frame = pandas.read_parquet(features)
    attributes = frame.attrs
    frame = change(frame)
    frame.attrs = attributes
    frame.to_parquet(path)
    return path


def as_folder(features, folder, n_parts):
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(20), n_parts)):
        place = folder / "".join(["more.parquet/"] * (number > 0))  # at any depth
        place.mkdir(exist_ok=True)
        changed(features, place / f"{number}.parquet", lambda frame, rows=rows: frame.iloc[rows])
    return folder


@pytest.mark.slow
def test_the_model_is_that_of_training_on_the_images(run_sktl, photos, models, features, tmp_path):
    result = run_sktl("train", "--features", features, "-o", tmp_path / "m")
    assert result.exit_code == 0, result.output
    own, whole = load_model(tmp_path / "m.safetensors"), load_model(models["frozen"])
    files = sorted(map(str, photos.rglob("*.png")))
    np.testing.assert_allclose(own.predict_proba(files), whole.predict_proba(files), atol=1e-5)
    np.testing.assert_array_equal(own[0].transform(files), whole[0].transform(files))


def test_a_folder_gives_the_model_of_its_rows_and_says_how_good_it_is(
    run_sktl, photos, few_features, tmp_path, monkeypatch
):
    monkeypatch.setattr(_feature_tables, "_NUMBERS_IN_BLOCK", 1000)  # some blocks
    folder = as_folder(few_features, tmp_path / "parts.parquet", 3)
    result = run_sktl("train", "--features", folder, "-o", tmp_path / "m", "--json")
    assert result.exit_code == 0, result.output
    report, frame = json.loads(result.stdout), pandas.read_parquet(few_features)
    whole = LinearProbeClassifier().fit(frame.iloc[:, 2:].to_numpy(), frame["label"])
    files = sorted(map(str, photos.rglob("*.png")))
    own = load_model(tmp_path / "m.safetensors")
    np.testing.assert_allclose(own.predict_proba(files), whole.predict_proba(frame.iloc[:, 2:].to_numpy()), atol=1e-5)
    assert (report["classes"], report["n_images"]) == (["ants", "bees"], 20)
    assert report["images_per_class"] == {"ants": 10, "bees": 10}
    assert 0.4 <= report["leave_one_out"]["accuracy"] <= 1
    assert report["leave_one_out"]["accuracy_of_the_most_frequent_class"] == 0.5
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["sktl"])["metadata"]["training"]["leave_one_out"] == report["leave_one_out"]
    result = run_sktl("train", "--features", few_features, "-o", tmp_path / "n")
    assert "Training on the features of 20 images in 2 classes." in result.stderr
    assert "Images per class: ants 10, bees 10." in result.stderr
    assert "Accuracy where each image is left out of the fit once: " in result.stdout
    assert "Always naming the most frequent class scores 0.500." in result.stdout
    predicted = run_sktl("predict", tmp_path / "n.safetensors", photos / "ants", "--json")
    assert predicted.exit_code == 0, predicted.output


def test_numbers_are_learnt_from_a_column(run_sktl, photos, few_features, tmp_path):
    table = changed(few_features, tmp_path / "n.parquet", lambda frame: frame.assign(size=np.arange(20) / 8))
    result = run_sktl("train", "--features", table, "--target", "size", "-o", tmp_path / "m", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["task"] == "regression"
    assert report["targets"] == {"min": 0.0, "max": 19 / 8, "mean": pytest.approx(19 / 16)}
    assert report["leave_one_out"]["r2"] < 1
    assert load_model(tmp_path / "m.safetensors").predict([str(next(photos.rglob("*.png")))]).shape == (1,)


@pytest.mark.parametrize(
    ("cells", "options", "task", "classes"),
    [
        (np.arange(20) % 3, (), "classification", ["0", "1", "2"]),
        (np.arange(20) % 3 + 9.0, (), "classification", ["10", "11", "9"]),
        (np.arange(20) % 2 == 0, (), "classification", ["False", "True"]),
        (np.arange(20) % 3, ("--task", "regression"), "regression", None),
        (np.arange(20) % 3 / 2, ("--task", "classification"), "classification", ["0", "0.5", "1"]),
        ([" b", "a", "b", "a"] * 5, (), "classification", ["a", "b"]),
        ([r"caf\udce9", "a"] * 10, (), "classification", ["a", "caf\udce9"]),
    ],
)
def test_a_column_is_understood_as_in_a_table_of_images(
    run_sktl, few_features, tmp_path, cells, options, task, classes
):
    table = changed(few_features, tmp_path / "n.parquet", lambda frame: frame.assign(y=cells))
    result = run_sktl("train", "--features", table, "--target", "y", *options, "-o", tmp_path / "m", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["task"], report.get("classes")) == (task, classes)


def test_images_without_features_stop_it_or_are_left_out(run_sktl, few_features, tmp_path):
    numbers = slice(2, None)

    def blank(frame):
        frame.iloc[[0, 7], numbers] = np.nan
        return frame

    table = changed(few_features, tmp_path / "n.parquet", blank)
    result = run_sktl("train", "--features", table, "-o", tmp_path / "m")
    assert result.exit_code == 1
    assert "Got 2 that could not be read instead, '" in result.stderr
    assert "Pass --on-error skip to leave them out." in result.stderr
    result = run_sktl("train", "--features", table, "-o", tmp_path / "m", "--on-error", "skip", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["n_images"], len(report["unreadable"])) == (18, 2)
    rest = changed(few_features, tmp_path / "r.parquet", lambda frame: frame.drop([0, 7]))
    assert run_sktl("train", "--features", rest, "-o", tmp_path / "r", "--quiet").exit_code == 0
    left, without = (load_model(tmp_path / f"{name}.safetensors")[-1].coef_ for name in "mr")
    np.testing.assert_array_equal(left, without)


def infinite(frame):
    frame.iloc[3, 5] = np.inf
    return frame


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (infinite, (), "--features must hold finite numbers."),
        (lambda frame: frame.drop(columns="label"), (), "--target must name a column of --features. Got 'label'"),
        (lambda frame: frame, ("--target", "lable"), "Did you mean 'label'?"),
        (lambda frame: frame.assign(label=[None, *"ab" * 9, "a"]), (), "must have a value in every row. Got none in 1"),
        (lambda frame: frame.assign(label="a"), (), "must have at least two classes. Got 'a' alone instead."),
        (lambda frame: frame.assign(label=np.arange(20)), (), "Pass --task regression to predict numbers."),
        (lambda frame: frame, ("--task", "regression"), "must hold finite numbers for regression."),
        (lambda frame: frame.drop(columns=frame.columns[2]), (), "Got none for 1 of them instead, '"),
        (lambda frame: frame, ("--weights", "none.pth"), "none.pth"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(run_sktl, few_features, tmp_path, change, options, message):
    table = changed(few_features, tmp_path / "n.parquet", change)
    result = run_sktl("train", "--features", table, "-o", tmp_path / "m", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert not (tmp_path / "m.safetensors").exists()


def test_features_that_do_not_say_whose_they_are_give_no_model(run_sktl, few_features, tmp_path):
    frame = pandas.read_parquet(few_features)
    frame.attrs = {}
    frame.to_parquet(tmp_path / "n.parquet")
    result = run_sktl("train", "--features", tmp_path / "n.parquet", "-o", tmp_path / "m")
    assert result.exit_code == 1
    assert "--features must be Parquet of 'sktl embed', which says of what network they are." in result.stderr


@pytest.mark.parametrize("key", [b"PANDAS_ATTRS", b"pandas"])
def test_what_features_are_is_known_from_what_either_library_keeps(few_features, key):
    recipe = {"backbone": {"name": "any"}}
    kept = {"sktl": recipe} if key == b"PANDAS_ATTRS" else {"attributes": {"sktl": recipe}}
    schema = parquet.read_schema(few_features)
    assert schema.metadata[b"PANDAS_ATTRS"]
    assert _feature_tables.recipe_in(schema.with_metadata({key: json.dumps(kept)})) == recipe


def test_features_of_two_recipes_or_of_other_weights_give_no_model(run_sktl, photos, few_features, tmp_path):
    folder = as_folder(few_features, tmp_path / "parts", 2)
    assert run_sktl("embed", photos, "-o", folder / "2.parquet", "--image-size", "32").exit_code == 0
    result = run_sktl("train", "--features", folder, "-o", tmp_path / "m")
    assert result.exit_code == 1
    assert "--features must be of one recipe. Got 2 in " in result.stderr

    def of_others(frame):
        frame.attrs["sktl"]["backbone"]["digest"] = "0" * 64
        return frame

    result = run_sktl(
        "train", "--features", changed(few_features, tmp_path / "o.parquet", of_others), "-o", tmp_path / "m"
    )
    assert result.exit_code == 1
    assert "Got other weights of tiny_fractal instead" in result.stderr


def test_a_smaller_image_size_and_another_layer_are_in_the_model(run_sktl, photos, tmp_path):
    table = tmp_path / "s.parquet"
    assert run_sktl("embed", photos, "-o", table, "--image-size", "32", "--layer", "stage2").exit_code == 0
    assert run_sktl("train", "--features", table, "-o", tmp_path / "m", "--quiet").exit_code == 0
    files = sorted(map(str, photos.rglob("*.png")))
    own = load_model(tmp_path / "m.safetensors")[0].transform(files)
    np.testing.assert_array_equal(own, pandas.read_parquet(table).iloc[:, 2:].to_numpy())


@pytest.mark.parametrize(
    "options", [("--cv", "3"), ("--method", "fine_tuned"), ("--backbone", "resnet18"), ("--augment", "light")]
)
def test_options_of_images_are_refused(run_sktl, few_features, tmp_path, options):
    result = run_sktl("train", "--features", few_features, "-o", tmp_path / "m", *options)
    assert result.exit_code == 2
    assert "is not for --features" in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "message"), [("none", "Found nothing at"), ("empty", "--features must hold Parquet files.")]
)
def test_where_there_are_no_features_it_is_said(run_sktl, tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    result = run_sktl("train", "--features", tmp_path / name, "-o", tmp_path / "m")
    assert result.exit_code == 1
    assert message in result.stderr
