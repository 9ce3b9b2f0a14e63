import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from sktl.comparison import ResumeWarning, compare_transfer

DIGITS, LABELS = (part[:60] for part in load_digits(return_X_y=True))
CHEAP = {"neighbours": KNeighborsClassifier(3), "tree": DecisionTreeClassifier()}


def compare(path, X=DIGITS, y=LABELS, candidates=None, **options):
    options = {"baseline": "tree", "cv": 3, "duplicates": "ignore"} | options
    return compare_transfer(X, y, candidates=CHEAP if candidates is None else candidates, resume=path, **options)


@pytest.fixture
def n_fits(monkeypatch):
    """Counts the fits that are really done."""
    counted = []

    def fit_and_score(fit, X, y):
        from sktl.comparison._fitting import fit_and_score as original

        counted.append((fit.candidate, fit.split))
        return original(fit, X, y)

    monkeypatch.setattr("sktl.comparison._execution.fit_and_score", fit_and_score)
    return counted


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_second_call_fits_nothing_and_gives_the_same_table_seconds_included(tmp_path, n_jobs):
    with parallel_config("threading"):  # tests/comparison/test_compare.py has a comparison in two processes
        first = compare(tmp_path / "fits.jsonl", n_jobs=n_jobs)
        lines = (tmp_path / "fits.jsonl").read_text().splitlines()
        again = compare(str(tmp_path / "fits.jsonl"), n_jobs=n_jobs)
    assert len(lines) == 6
    assert (tmp_path / "fits.jsonl").read_text().splitlines() == lines
    assert str(again) == str(first)
    assert again.runs == first.runs
    assert again.transfer == first.transfer


def test_only_what_is_missing_is_done(tmp_path, n_fits, capsys):
    path = tmp_path / "fits.jsonl"
    whole = compare(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]))
    n_fits.clear()
    again = compare(path, verbose=1)
    assert n_fits == [("neighbours", 2), ("tree", 2)]
    np.testing.assert_array_equal(again.scores["tree"], whole.scores["tree"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "4 of 6 fits were finished before and are taken from the file."
    assert said[1].startswith("fit 5 of 6")


def changed_images():
    images = DIGITS.copy()
    images[7, 3] += 1
    return images


def named_alike():
    def score(estimator, X, y):
        return 0.5

    return score


@pytest.mark.parametrize(
    "change",
    [
        {"X": changed_images()},
        {"y": np.r_[LABELS[:-1], 9 - LABELS[-1]]},
        {"random_state": 1},
        {"cv": 2},
        {"scoring": "balanced_accuracy"},
        {"scoring": {"accuracy": named_alike()}},
        {"candidates": {"neighbours": KNeighborsClassifier(5), "tree": DecisionTreeClassifier(max_depth=2)}},
    ],
    ids=["image", "label", "seed", "folds", "score", "scorer", "parameters"],
)
def test_another_comparison_in_the_same_file_is_not_mistaken_for_this_one(change, tmp_path, n_fits):
    compare(tmp_path / "fits.jsonl")
    n_fits.clear()
    compare(tmp_path / "fits.jsonl", **change)
    assert len(n_fits) == len(CHEAP) * change.get("cv", 3)


def test_other_versions_of_packages_do_everything_again(tmp_path, n_fits, monkeypatch):
    compare(tmp_path / "fits.jsonl")
    monkeypatch.setattr("sktl.comparison._checkpoint_file.versions", lambda: {"numpy": "99"})
    n_fits.clear()
    compare(tmp_path / "fits.jsonl")
    assert len(n_fits) == 6


def test_a_candidate_that_joins_later_is_the_only_one_to_be_fitted(tmp_path, n_fits):
    compare(tmp_path / "fits.jsonl")
    n_fits.clear()
    more = compare(tmp_path / "fits.jsonl", candidates={**CHEAP, "linear": LogisticRegression(max_iter=2000)})
    assert {name for name, _ in n_fits} == {"linear"}
    assert more.candidates == ["neighbours", "tree", "linear"]


def test_a_line_that_was_cut_off_is_done_again_without_a_word(tmp_path, n_fits):
    path = tmp_path / "fits.jsonl"
    compare(path)
    content = path.read_bytes()
    for cut in (len(content) - 1, len(content) - 50, content[:-1].rindex(b"\n") + 5):
        path.write_bytes(content[:cut])
        n_fits.clear()
        compare(path)
        assert len(n_fits) == (cut < len(content) - 1)
        n_fits.clear()
        compare(path)
        assert not n_fits


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b'"split"', b'"split\x00"'),
        lambda line: b"\xff\xfe\n" + line[5:],
        lambda line: b"[1, 2]\n",
        lambda line: b"[" * 5000 + b"\n",
        lambda line: line.replace(b'"scores": {', b'"scores": {"accuracy": "high", '),
        lambda line: line.replace(b'"predicted": [', b'"predicted": [{}, '),
        lambda line: line.replace(b'"n_parameters": null', b'"n_parameters": true'),
    ],
    ids=["bits", "bytes", "other", "deep", "score", "label", "cost"],
)
def test_lines_that_cannot_be_read_are_reported_once_and_done_again(damage, tmp_path, n_fits):
    path = tmp_path / "fits.jsonl"
    compare(path)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = damage(lines[2])
    if b'"high", ' in damaged:  # JSON keeps the last one of two
        damaged = damaged.replace(b'"accuracy": "high", "accuracy": ', b'"accuracy": "high", "other": ')
    path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    n_fits.clear()
    with pytest.warns(ResumeWarning, match="cannot be read and are passed over") as caught:
        compare(path)
    assert len(caught) == 1
    assert n_fits == [("neighbours", 1)]


def test_a_record_with_another_number_of_predictions_is_not_taken(tmp_path, n_fits):
    path = tmp_path / "fits.jsonl"
    compare(path)
    lines = path.read_text().splitlines()
    content = json.loads(lines[0])
    content["run"]["predicted"].append(0)
    path.write_text("\n".join([json.dumps(content), *lines[1:]]) + "\n")
    n_fits.clear()
    compare(path)
    assert n_fits == [("neighbours", 0)]


@pytest.mark.parametrize("content", [b"my notes\n", b"\x89PNG\r\n", b"{}\n"])
def test_a_file_of_something_else_is_left_alone(content, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="resume must be a new file"):
        compare(path)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_written_is_found_out_before_the_first_fit(tmp_path, n_fits):
    with pytest.raises(OSError):
        compare(tmp_path / "no such folder" / "fits.jsonl")
    assert not n_fits


class Locked:
    """Can be copied, and neither pickled nor hashed."""

    def __init__(self):
        self.lock = Lock()

    def __deepcopy__(self, memo):
        return self


def test_a_candidate_that_cannot_be_recognised_is_fitted_anew_and_said_to_be(tmp_path, n_fits):
    step = FunctionTransformer(inv_kw_args={"lock": Locked()})
    candidates = {**CHEAP, "odd": make_pipeline(step, DecisionTreeClassifier())}
    for expected in ({"neighbours", "tree", "odd"}, {"odd"}):
        n_fits.clear()
        with pytest.warns(ResumeWarning, match="Candidate 'odd' cannot be recognised by a later call.*lock"):
            compare(tmp_path / "fits.jsonl", candidates=candidates)
        assert {name for name, _ in n_fits} == expected


def test_values_of_another_type_are_not_taken(tmp_path, n_fits):
    path = tmp_path / "fits.jsonl"
    compare(path)
    kept = path.read_text().splitlines()
    for field, value in {"history": [{"epoch": "1"}], "peak_memory": 1.5, "pretrained": 1, "error": "E"}.items():
        content = json.loads(kept[0])
        content["run"][field] = value
        path.write_text("\n".join([json.dumps(content), *kept[1:]]) + "\n")
        n_fits.clear()
        with pytest.warns(ResumeWarning, match="1 lines of .* cannot be read"):
            compare(path)
        assert n_fits == [("neighbours", 0)]


def test_a_full_disk_ends_the_keeping_and_not_the_comparison(tmp_path, monkeypatch):
    def full(self, line):
        raise OSError("No space left on device")

    monkeypatch.setattr("sktl.comparison._checkpoint_file.CheckpointFile._append", full)
    with pytest.warns(ResumeWarning, match="No space left on device.*no longer kept") as caught:
        comparison = compare(tmp_path / "fits.jsonl")
    assert len(caught) == 1
    assert comparison.candidates == list(CHEAP)


SCRIPT = """
import os, signal, sys
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sktl.comparison import compare_transfer

class Counted(LogisticRegression):
    def fit(self, X, y):
        with open(sys.argv[2], "ab") as file:
            file.write(b"+")
        if os.path.getsize(sys.argv[2]) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y)

X, y = load_digits(return_X_y=True)
candidates = {
    "bayes": GaussianNB(), "linear": Counted(max_iter=2000), "half": Counted(C=0.5, max_iter=2000)
}
for path in sys.argv[1], None:
    comparison = compare_transfer(
        X[:100], y[:100], candidates=candidates, baseline="bayes", cv=4, resume=path, duplicates="ignore"
    )
    print(comparison.frame().drop(columns=["fit_seconds", "predict_seconds", "peak_memory"]).to_csv())
    print(os.path.getsize(sys.argv[2]), "=" * 50)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX")
def test_a_killed_comparison_goes_on_and_gives_the_same_table(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def call(killed_at):
        command = [sys.executable, tmp_path / "script.py", tmp_path / "fits.jsonl", tmp_path / "counted", killed_at]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert call("5").returncode == -9
    done = call("-1")
    assert done.returncode == 0, done.stderr
    resumed, n_fits, undisturbed, _ = re.split(r"(\d+) =+\n", done.stdout)[:4]
    assert int(n_fits) == 8 + 1  # two candidates on four splits, and the one that was killed once more
    assert resumed.strip() == undisturbed.strip()
    assert resumed.count("\n") > 12


def test_an_interrupt_loses_nothing_that_was_finished(tmp_path, n_fits, monkeypatch):
    def interrupted(fit, X, y):
        if fit.split == 2:
            raise KeyboardInterrupt
        from sktl.comparison._fitting import fit_and_score

        return fit_and_score(fit, X, y)

    with monkeypatch.context() as patched:
        patched.setattr("sktl.comparison._execution.fit_and_score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare(tmp_path / "fits.jsonl")
    compare(tmp_path / "fits.jsonl")
    assert n_fits == [("neighbours", 2), ("tree", 2)]


class Last(KNeighborsClassifier):
    """Is not done before others are in the file."""

    def __init__(self, path="", n_lines=0):
        super().__init__()
        self.path = path
        self.n_lines = n_lines

    def fit(self, X, y):
        end = time.monotonic() + 30
        while len(Path(self.path).read_bytes().splitlines()) < self.n_lines:
            if time.monotonic() > end:
                raise TimeoutError("the others are not there")
            time.sleep(0.01)
        return super().fit(X, y)


def test_a_finished_fit_is_kept_while_a_slower_one_is_still_going_on(tmp_path):
    path = tmp_path / "fits.jsonl"
    with parallel_config("threading"):
        kept = compare(path, candidates={"last": Last(str(path), 8), **CHEAP}, cv=4, n_jobs=5)
    assert len(path.read_text().splitlines()) == 12
    assert [(run.split, run.candidate) for run in kept.runs[:4]] == [
        (0, "last"), (0, "neighbours"), (0, "tree"), (1, "last")
    ]  # fmt: skip


def test_files_that_a_table_names_are_read_again(tmp_path, n_fits):
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(str(number))
    table = pd.DataFrame({"file": [str(tmp_path / f"{number}.txt") for number in range(60)], "level": 0.0})
    candidates = {"tree": DummyClassifier(), "other": DummyClassifier(strategy="uniform")}
    for content, expected in (("7", 6), ("7", 0), ("seven", 6)):
        (tmp_path / "7.txt").write_text(content)
        n_fits.clear()
        compare(tmp_path / "fits.jsonl", X=table, candidates=candidates)
        assert len(n_fits) == expected


def test_a_pipe_socket_or_device_is_refused_rather_than_waited_for(special_file, n_fits):
    with pytest.raises(ValueError, match="resume must be a regular file, or a new one"):
        compare(special_file)
    assert not n_fits
