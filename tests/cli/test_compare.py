import csv
import json
from importlib import import_module

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image
from typer.testing import CliRunner

import sktl.comparison
from sktl.cli._app import app
from sktl.cli._compare import _subset
from sktl.comparison import TransferComparison


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    pyplot.close("all")


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(("ants", "bees")):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for copy in range(8):
            Image.new("RGB", (9, 9), (100 * number + copy, 10, 10)).save(folder / f"{copy}.png")
    return str(tmp_path / "photos")


@pytest.fixture
def recorded(monkeypatch):
    """The calls of compare_transfer, which is replaced by one that takes no time."""
    calls = []

    def instead(X, y, **options):
        calls.append({"X": X, "y": y, **options})
        if options["verbose"]:
            print("split 1/5")
        scores = {"from_scratch": [0.6, 0.62, 0.58, 0.61, 0.59], "frozen": [0.8, 0.81, 0.79, 0.82, 0.80]}
        scores = {name: np.array(values) for name, values in scores.items()}
        return TransferComparison(
            scores,
            fit_seconds=scores,
            predict_seconds=scores,
            n_trained_parameters=dict.fromkeys(scores),
            transfer={"from_scratch": False, "frozen": True},
            n_train=np.full(5, 80),
            n_test=np.full(5, 20),
            seeds=(0, 1, 2, 3, 4),
            baseline="from_scratch",
            scoring="accuracy",
            rope=0.01,
            settings={},
        )

    monkeypatch.setattr(sktl.comparison, "compare_transfer", instead)
    return calls


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *arguments])


def test_a_folder_is_compared_printed_and_drawn(photos, recorded, tmp_path):
    result = run(photos)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Transfer helps: 'frozen'")
    assert "Comparing on 16 of 16 images in 2 classes." in result.stderr
    assert "split 1/5" in result.stderr
    assert "Wrote the figure to comparison.png." in result.stderr
    with Image.open(tmp_path / "comparison.png") as figure:
        assert figure.size[0] > 1000
    (call,) = recorded
    assert len(call["X"]) == 16
    assert call["y"].tolist() == [0] * 8 + [1] * 8


def test_options_reach_the_comparison(photos, recorded):
    words = "--backbone resnet18 --weights w.pth --image-size 64 --cv 3 --repeats 2 --unfreeze-depth all --max-epochs 4"
    more = "--n-jobs 2 --seed 7 --device cpu --quiet --plot out.png"
    result = run(photos, *words.split(), *more.split())
    assert result.exit_code == 0, result.output
    expected = {"backbone": "resnet18", "weights": "w.pth", "image_size": 64, "cv": 3, "n_repeats": 2, "n_jobs": 2}
    expected |= {"unfreeze_depth": "all", "max_epochs": 4, "random_state": 7, "device": "cpu", "verbose": 0}
    (call,) = recorded
    assert {name: call[name] for name in expected} == expected
    assert "split" not in result.stderr


def test_numbers_given_as_depth_and_epochs_are_numbers(photos, recorded):
    run(photos, "--unfreeze-depth", "2", "--max-epochs", "auto")
    assert (recorded[0]["unfreeze_depth"], recorded[0]["max_epochs"]) == (2, "auto")


@pytest.mark.parametrize(
    ("counts", "n_images", "expected"),
    [
        ([50, 50], 99, [50, 49]),
        ([10, 10, 10], 29, [10, 10, 9]),
        ([97, 2, 1], 10, [8, 1, 1]),
        ([97, 2, 1], 99, [96, 2, 1]),
        ([1, 1, 1, 1], 3, [1, 1, 1, 0]),
        ([60, 30, 10], 10, [6, 3, 1]),
    ],
)
def test_any_number_of_images_can_be_drawn_in_the_shares_of_the_classes(counts, n_images, expected):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = _subset(y, n_images, seed=3)
    assert np.bincount(y[chosen], minlength=len(counts)).tolist() == expected
    assert len(np.unique(chosen)) == n_images
    np.testing.assert_array_equal(chosen, _subset(y, n_images, seed=3))
    if n_images < 0.5 * len(y):
        assert chosen.tolist() != _subset(y, n_images, seed=4).tolist()


@pytest.mark.parametrize("n_images", range(10, 41))
def test_drawn_numbers_are_the_shares_but_for_rounding_and_the_one_that_each_class_has(n_images):
    y = np.repeat(np.arange(4), [20, 15, 5, 1])
    drawn = np.bincount(y[_subset(y, n_images, 0)], minlength=4)
    assert drawn.sum() == n_images
    assert drawn.min() >= 1
    assert np.abs(drawn - n_images * np.bincount(y) / 41).max() <= 1


@pytest.mark.parametrize("number", [15, 16, 17])
def test_nearly_all_images_may_be_asked_for(photos, recorded, number):
    result = run(photos, "--max-images", str(number))
    assert result.exit_code == 0, result.output
    assert len(recorded[0]["X"]) == min(number, 16)


def test_fewer_images_keep_the_shares_of_the_classes(photos, recorded):
    result = run(photos, "--max-images", "6")
    assert result.exit_code == 0, result.output
    assert recorded[0]["y"].tolist() == [0, 0, 0, 1, 1, 1]
    assert len(recorded[0]["X"]) == 6


def test_digits_are_a_stratified_hundred(recorded):
    result = run("--digits")
    assert result.exit_code == 0, result.output
    (call,) = recorded
    assert call["X"].shape == (100, 8, 8)
    assert call["value_range"] == (0, 16)
    assert np.bincount(call["y"]).min() >= 9
    assert "100 labelled digits of scikit-learn's 1797" in result.stderr


def test_json_is_all_there_is_on_stdout(photos, recorded, tmp_path):
    result = run(photos, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdict"] == "transfer helps"
    assert not (tmp_path / "comparison.png").exists()
    run(photos, "--json", "--plot", "wanted.png")
    assert (tmp_path / "wanted.png").exists()


def test_csv_holds_every_fit(photos, recorded, tmp_path):
    assert run(photos, "--csv", "scores.csv").exit_code == 0
    with open(tmp_path / "scores.csv", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 10
    assert records[0]["candidate"] == "from_scratch"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "Error: path must be a folder"),
        (["--digits", "--csv", "nowhere/scores.csv"], "Error: The folder to write nowhere/scores.csv to must exist"),
        (["--digits", "--n-labels", "12", "--backbone", "resnet1"], "Error: backbone must be a name"),
        (["--digits", "--unfreeze-depth", "9"], "Error: unfreeze_depth must be at most 5"),
        (["--digits", "--device", "cuda:77"], "Error: device must exist on this machine"),
        (["--digits", "--plot", "."], "Error: --plot must be a file to write. Got the folder '.' instead"),
        (["--digits", "--csv", "."], "Error: --csv must be a file to write. Got the folder '.' instead"),
        (
            ["--digits", "--plot", "figure.doc"],
            "pdf, pgf, png, ps, raw, rgba, svg, svgz, tif, tiff, webp. Got 'figure.doc' instead",
        ),
    ],
)
def test_errors_in_the_data_are_one_message_and_code_1(arguments, message):
    result = run(*arguments, "--max-epochs", "1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["photos", "--digits"],
        ["--digits", "--cv", "1"],
        ["--digits", "--unfreeze-depth", "deep"],
        ["--digits", "--max-epochs", "-1"],
        ["--digits", "--max-epochs", "0"],
        ["--digits", "--weights", "none"],
    ],
)
def test_wrong_usage_ends_with_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_no_weights_is_answered_without_the_advice_to_pass_none():
    result = run("--digits", "--weights", "none")
    assert "from_scratch" in result.stderr
    assert "or None" not in result.stderr


def test_a_plot_without_an_ending_gets_one_and_its_true_name_is_said(photos, recorded, tmp_path):
    result = run(photos, "--plot", "v1")
    assert result.exit_code == 0, result.output
    assert "Wrote the figure to v1.png." in result.stderr
    assert (tmp_path / "v1.png").exists()
    (tmp_path / "v2.png").mkdir()
    assert "Got the folder 'v2.png' instead" in run(photos, "--plot", "v2").stderr


@pytest.mark.parametrize(("option", "package"), [(["--csv", "scores.csv"], "pandas"), ([], "matplotlib")])
def test_what_is_not_installed_is_found_out_before_the_work(photos, recorded, monkeypatch, option, package):
    def missing(name):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=package)
        return import_module(name)

    monkeypatch.setattr("sktl._optional.import_module", missing)
    result = run(photos, *option)
    assert result.exit_code == 1
    assert f"needs {package}, which is not installed" in result.stderr
    assert recorded == []


def test_an_interrupt_ends_with_code_130(photos, monkeypatch):
    def interrupted(X, y, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sktl.comparison, "compare_transfer", interrupted)
    result = run(photos)
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr


def test_a_narrow_terminal_loses_columns_but_no_numbers(photos, recorded, monkeypatch):
    from sktl.cli._reporting import _grid
    from sktl.comparison._rendering import table

    run(photos)
    header, lines = table(sktl.comparison.compare_transfer([], [], verbose=0))
    wide = [column.header for column in _grid(header, lines, width=200).columns]
    narrow = [column.header for column in _grid(header, lines, width=80).columns]
    assert wide == header
    assert set(header) - set(narrow) <= {"predict s", "trained", "worse / equal / better", "SD", "fit s"}
    assert {"candidate", "accuracy", "difference", "95 % interval", "verdict"} <= set(narrow)


def test_the_whole_command_runs_on_digits(tmp_path):
    result = run("--digits", "--n-labels", "40", "--cv", "2", "--max-epochs", "1", "--json", "--plot", "figure.png")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [row["candidate"] for row in content["candidates"]] == ["dummy", "frozen", "fine_tuned", "from_scratch"]
    assert (tmp_path / "figure.png").exists()
