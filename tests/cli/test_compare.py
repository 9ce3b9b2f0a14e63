import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import sktl.comparison
from sktl._candidate_names import CANDIDATE_NAMES
from sktl.cli._app import app
from sktl.comparison import Run, TransferComparison
from sktl.datasets import make_fractals


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
def failing():
    """Split and error of fits that are to fail."""
    return []


@pytest.fixture
def recorded(monkeypatch, failing):
    """The calls of compare_transfer, which is replaced by one that takes no time."""
    calls = []

    def instead(X, y, **options):
        calls.append({"X": X, "y": y, **options})
        if options["verbose"]:
            print("split 1/5")
        scores = {"from_scratch": [0.6, 0.62, 0.58, 0.61, 0.59], "frozen": [0.8, 0.81, 0.79, 0.82, 0.80]}
        runs = [
            Run(name, split, {"accuracy": score}, 1.0, 0.1)
            for name, values in scores.items()
            for split, score in enumerate(values)
        ]
        folds = np.array_split(np.arange(len(y)), 5)
        return TransferComparison(
            runs=(*runs, *(Run("broken", split, {}, error=error) for split, error in failing)),
            splits=tuple((np.setdiff1d(np.arange(len(y)), fold), fold) for fold in folds),
            y=np.asarray(y),
            seeds=(0, 1, 2, 3, 4),
            baseline="from_scratch",
            scoring="accuracy",
            rope=0.01,
            transfer={"from_scratch": False, "frozen": True, "broken": True},
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
    expected |= {
        "candidates": CANDIDATE_NAMES,
        "scoring": None,
        "groups": None,
        "duplicates": "warn",
        "resume": None,
        "interval": "auto",
    }
    (call,) = recorded
    assert {name: call[name] for name in expected} == expected
    assert "split" not in result.stderr


def test_numbers_given_as_depth_and_epochs_are_numbers(photos, recorded):
    run(photos, "--unfreeze-depth", "2", "--max-epochs", "auto")
    assert (recorded[0]["unfreeze_depth"], recorded[0]["max_epochs"]) == (2, "auto")


def test_choices_of_what_is_compared_reach_the_comparison(photos, recorded):
    words = "--candidates frozen --candidates pixels --baseline pixels --scoring roc_auc --scoring accuracy"
    result = run(
        photos, *words.split(), "--near-duplicates", "ignore", "--resume", "fits.jsonl", "--precision", "float32",
        "--interval", "corrected",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = {"candidates": ["frozen", "pixels"], "baseline": "pixels", "scoring": ["roc_auc", "accuracy"]}
    expected |= {"duplicates": "ignore", "resume": Path("fits.jsonl"), "precision": "float32", "interval": "corrected"}
    assert {name: recorded[0][name] for name in expected} == expected


def test_groups_come_from_a_table(photos, recorded, tmp_path):
    lines = [f"{name}/{i}.png,{i // 2}" for name in ("ants", "bees") for i in range(8)]
    (tmp_path / "groups.csv").write_text("\n".join(["path,group", *lines]))
    result = run(photos, "--groups", "groups.csv")
    assert result.exit_code == 0, result.output
    assert recorded[0]["groups"].tolist() == [str(i // 2) for i in [*range(8), *range(8)]]


@pytest.mark.parametrize(("by", "form"), [("name", "photos/{c}/p{g}_{i}.png"), ("folder", "photos/{c}/p{g}/{i}.png")])
def test_groups_come_from_names_and_folders_of_the_files(recorded, by, form):
    expected = []
    for group in range(8):
        for view in range(2):
            path = Path(form.format(c=("ants", "bees")[group % 2], g=group, i=view))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
            expected.append((str(path), group))
    result = run("photos", "--groups", by)
    assert result.exit_code == 0, result.output
    group_of = dict(expected)
    true = np.array([group_of[path] for path in recorded[0]["X"]])
    found = np.asarray(recorded[0]["groups"])
    assert ((found[:, None] == found) == (true[:, None] == true)).all()
    rest = {"name": "folder", "folder": "name"}[by]
    result = run("photos", "--groups", rest)
    assert result.exit_code == 1
    assert f"Got {rest!r} instead, which suggests none for these 16 images" in " ".join(result.stderr.split())


def test_a_file_of_groups_may_be_called_name(photos, recorded, tmp_path):
    lines = [f"{name}/{i}.png,{i}" for name in ("ants", "bees") for i in range(8)]
    (tmp_path / "name").write_text("\n".join(["path,group", *lines]))
    assert run(photos, "--groups", "name").exit_code == 0
    assert recorded[0]["groups"].tolist() == [str(i) for i in [*range(8), *range(8)]]


def test_near_duplicates_can_be_kept_together(tmp_path):
    images, target = make_fractals(16, n_classes=2, random_state=0)
    for number, (image, label) in enumerate(zip(images, target, strict=True)):
        (tmp_path / "pictures" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "pictures" / str(label) / f"{number}.png")
        if number < 3:
            Image.fromarray(image[:, ::-1]).save(tmp_path / "pictures" / str(label) / f"{number}_mirrored.png")
    options = ("--candidates", "dummy", "--candidates", "pixels", "--baseline", "dummy", "--cv", "2", "--json")
    result = run(str(tmp_path / "pictures"), *options, "--near-duplicates", "group")
    assert result.exit_code == 0, result.output
    assert "Near copies: 3 images join the group of an earlier one." in result.stderr
    settings = json.loads(result.stdout)["settings"]
    assert (settings["groups"], settings["near_duplicates"]) == (True, None)


def test_near_copies_in_the_folder_are_said_with_the_option_that_helps(photos):
    options = ("--candidates", "dummy", "--candidates", "pixels", "--baseline", "dummy", "--cv", "2", "--plot", "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run(photos, *options)
    assert result.exit_code == 0, result.output
    assert "Warning: Near copies of one image lie on both sides of 2 of 2 splits" in result.stderr
    assert "Run it again with --near-duplicates group" in result.stderr
    assert "2 pictures are there more than once, as 16 near copies." in result.stderr
    assert "  - photos/ants/0.png (ants, tested in split " in result.stderr.replace(str(photos), "photos")
    assert "--near-duplicates" not in run(photos, *options, "--near-duplicates", "ignore").stderr


def test_advice_about_near_copies_names_options_and_no_parameters(photos):
    options = ("--candidates", "dummy", "--candidates", "pixels", "--baseline", "dummy", "--cv", "2", "--json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run(photos, *options, "--report", "report.html")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["settings"]["near_duplicates"]
    assert told.endswith(" Keep them together with --near-duplicates group.")
    assert f"Warning: {told}\n" in result.stderr
    for text in result.stderr, result.stdout, Path("report.html").read_text(encoding="utf-8"):
        assert "duplicates='group'" not in text.replace("&#x27;", "'")
        assert "near_duplicate_groups" not in text


def test_the_report_gets_the_images_and_the_names_of_their_folders(photos, recorded, monkeypatch):
    written = []

    def report(self, path, *, X=None, target_names=None):
        written.append((path, len(X), target_names))

    monkeypatch.setattr(TransferComparison, "report", report)
    result = run(photos, "--report", "page")
    assert result.exit_code == 0, result.output
    assert written == [(Path("page.html"), 16, ["ants", "bees"])]
    assert "Wrote the report to page.html." in result.stderr


@pytest.mark.parametrize("failing", [[(2, "ValueError: no luck"), (3, "ValueError: none again")]])
def test_a_candidate_that_failed_is_named_in_the_end(photos, recorded, failing, tmp_path):
    result = run(photos)
    assert result.exit_code == 1
    assert result.stdout.startswith("Transfer helps: 'frozen'")
    assert "Error: 'broken' is not in the result, since a fit failed: ValueError: no luck" in result.stderr
    assert (tmp_path / "comparison.png").exists()


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
        (["--digits", "--report", "page.pdf"], "Error: --report must end in .html, .htm. Got 'page.pdf' instead."),
        (["--digits", "--resume", "."], "Error: --resume must be a file to write. Got the folder '.' instead"),
        (["--digits", "--scoring", "acuracy"], "Did you mean 'accuracy'?"),
        (["--digits", "--candidates", "frozen", "--candidates", "pixels"], "baseline must be one of the candidates"),
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
        ["--digits", "--candidates", "frozn"],
        ["--digits", "--baseline", "mine"],
        ["--digits", "--near-duplicates", "drop"],
        ["--digits", "--groups", "groups.csv"],
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
    assert result.stderr.endswith("Interrupted. With --resume FILE, finished fits are kept for the next time.\n")
    result = run(photos, "--resume", "fits.jsonl")
    assert "Interrupted. Finished fits are in fits.jsonl: the same command goes on from there." in result.stderr


def test_a_terminal_shows_what_a_file_gets(photos, recorded, monkeypatch):
    in_file = run(photos).stdout
    on_terminal = functools.partial(Console, force_terminal=True, width=200, no_color=True)
    monkeypatch.setattr("sktl.cli._reporting.Console", on_terminal)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", run(photos).stdout)
    assert set(in_file.split()) - {"-" * 200} - set(shown.split()) <= {
        word for word in in_file.split() if "---" in word
    }


@pytest.mark.skipif(os.name != "posix", reason="pipes end in another way on Windows")
def test_files_are_written_when_the_reader_of_the_output_has_gone(photos, recorded, monkeypatch, tmp_path):
    def gone(comparison):
        raise BrokenPipeError

    monkeypatch.setattr("sktl.cli._compare.print_comparison", gone)
    result = run(photos, "--csv", "scores.csv")
    assert result.exit_code == 1
    assert (tmp_path / "scores.csv").exists()
    assert (tmp_path / "comparison.png").exists()


def test_a_narrow_terminal_loses_columns_but_no_numbers(photos, recorded):
    from sktl.reports import summarize_comparison

    run(photos)
    (table, *_) = summarize_comparison(sktl.comparison.compare_transfer([], range(20), verbose=0)).tables
    wide, narrow = table.fitting(200).header, table.fitting(80).header
    assert wide == table.header
    assert set(wide) - set(narrow) <= {"predict s", "trained", "worse / equal / better", "SD", "fit s"}
    assert {"candidate", "accuracy", "difference", "95 % interval", "verdict"} <= set(narrow)


def test_the_whole_command_runs_on_digits(tmp_path):
    result = run("--digits", "--n-labels", "40", "--cv", "2", "--max-epochs", "1", "--json", "--plot", "figure.png")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert [row["candidate"] for row in content["candidates"]] == list(CANDIDATE_NAMES)
    assert (tmp_path / "figure.png").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is another thing on Windows")
def test_what_ctrl_c_interrupts_goes_on_where_it_stopped(tmp_path):
    arguments = ["--digits", "--n-labels", "20", "--cv", "2", "--max-epochs", "40", "--resume", "fits.jsonl", "--json"]
    arguments += ["--candidates", "dummy", "--candidates", "from_scratch"]
    command = [sys.executable, "-m", "sktl", "compare", *arguments]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    fits = tmp_path / "fits.jsonl"
    while running.poll() is None and not (fits.exists() and fits.read_bytes().count(b"\n") >= 1):
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.endswith("Interrupted. Finished fits are in fits.jsonl: the same command goes on from there.\n")
    assert "Traceback" not in said
    n_finished = fits.read_bytes().count(b"\n")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert f"{n_finished} of 4 fits were finished before" in result.stderr
