import copyreg
import subprocess
import sys
import threading
import warnings
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor, compare_transfer
from sktl._splits import make_seeds, make_splits
from sktl.comparison import _execution
from sktl.comparison._execution import run_all
from sktl.comparison._fitting import FitTask
from sktl.comparison._warnings import CandidateFailedWarning
from sktl.exceptions import ImageReadError
from sktl.images import as_images, load_image_folder
from sktl.inference import share_warned

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.tile(["a", "b", "c"], 20)


def splits_of(cv):
    return make_splits(X, Y, cv=cv, n_repeats=1, groups=None, task="classification", random_state=0)


class Stumbling(ClassifierMixin, BaseEstimator):
    """A classifier that fails on purpose."""

    def __init__(self, error=None, random_state=None):
        self.error = error
        self.random_state = random_state

    def fit(self, X, y):
        if self.error is not None:
            raise self.error
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class Reader(ClassifierMixin, BaseEstimator):
    """Reads every image, in fit or in predict."""

    def __init__(self, reads_in="fit"):
        self.reads_in = reads_in

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self._read(X, "fit")

    def predict(self, X):
        self._read(X, "predict")
        return np.full(len(X), self.classes_[0])

    def _read(self, X, method):
        if self.reads_in == method:
            images = as_images(X)
            for i in range(len(images)):
                images.digest(i)
                images.subset([i]).learn_value_range()
        return self


@pytest.mark.parametrize("reads_in", ["fit", "predict"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_unreadable_array_is_named_by_its_place_in_the_X_that_was_passed(reads_in, n_jobs):
    images = [np.full((5, 5), number / 20) for number in range(20)]
    images[13] = np.full((5, 5), np.nan)
    folds = [(np.arange(1, 20, 2), np.arange(0, 20, 2)), (np.arange(0, 20, 2), np.arange(1, 20, 2))]
    options = {
        "splits": folds,
        "seeds": [0, 0],
        "scorers": {"accuracy": get_scorer("accuracy")},
        "baseline": None,
        "n_jobs": n_jobs,
        "verbose": 0,
    }
    split = {"fit": 1, "predict": 2}[reads_in]
    message = rf"'reader' failed on split {split} of 2: .*image 13: "
    # In threads: whether another process can import the class above depends on how the tests were started.
    with parallel_config("threading"), pytest.raises(RuntimeError, match=message) as caught:
        run_all({"reader": Reader(reads_in)}, images, np.arange(20) // 2 % 2, **options)
    assert isinstance(caught.value.__cause__, ImageReadError)
    assert caught.value.__cause__.index == 13


@pytest.mark.parametrize("reads_in", ["fit", "predict"])
@pytest.mark.parametrize("kind", [list, np.array, pd.Series, lambda paths: pd.DataFrame({"path": paths})])
def test_an_unreadable_file_is_named_by_its_place_and_its_path(reads_in, kind, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (5, 5), (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "b" / "3.png").write_bytes(b"no picture")
    photos = load_image_folder(tmp_path)
    folds = [(np.arange(1, 12, 2), np.arange(0, 12, 2)), (np.arange(0, 12, 2), np.arange(1, 12, 2))]
    reader = PretrainedFeatureExtractor() if reads_in == "fit" else None
    model = make_pipeline(reader, StandardScaler(), SGDClassifier()) if reader else LastMinute()
    options = {
        "splits": folds,
        "seeds": [0, 0],
        "scorers": {"accuracy": get_scorer("accuracy")},
        "baseline": None,
        "n_jobs": 1,
        "verbose": 0,
    }
    with pytest.raises(RuntimeError, match=r"image 9 \('.*3\.png'\): ") as caught:
        run_all({"reader": model}, kind(list(photos.images)), photos.target, **options)
    cause = caught.value.__cause__
    assert (cause.index, cause.path) == (9, str(tmp_path / "b" / "3.png"))
    assert "format that Pillow reads" in cause.reason


class LastMinute(ClassifierMixin, BaseEstimator):
    """Reads images in predict only."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        PretrainedFeatureExtractor().fit(X).transform(X)
        return np.full(len(X), self.classes_[0])


def test_a_place_in_a_part_of_the_part_is_not_passed_off_as_one_in_X(tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(12)]
    for path in paths:
        Image.new("RGB", (5, 5)).save(path)
    (tmp_path / "9.png").write_bytes(b"no picture")
    inner = make_pipeline(PretrainedFeatureExtractor(), SGDClassifier())
    search = GridSearchCV(inner, {"sgdclassifier__alpha": [0.1]}, cv=2, error_score="raise")
    options = {
        "splits": [(np.r_[0:6, 7:12], np.array([6]))],
        "seeds": [0],
        "scorers": {"accuracy": get_scorer("accuracy")},
        "baseline": None,
    }
    with pytest.raises(RuntimeError, match=r"ImageReadError: the image \('.*9\.png'\)"):
        run_all({"search": search}, paths, np.arange(12) % 2, n_jobs=1, verbose=0, **options)


def run(estimators, n_jobs=None, verbose=0, scoring="accuracy", **options):
    splits = splits_of(cv=3)
    return run_all(
        estimators,
        X,
        Y,
        splits=splits,
        seeds=make_seeds(0, "fit", 3),
        scorers={scoring: get_scorer(scoring)},
        baseline=next(iter(estimators)),
        n_jobs=n_jobs,
        verbose=verbose,
        **options,
    )


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_failing_candidate_is_named_with_its_split_and_its_error(n_jobs):
    with pytest.raises(RuntimeError, match=r"Candidate 'bad' failed on split 1 of 3: .*'alpha'") as caught:
        run({"good": SGDClassifier(), "bad": SGDClassifier(alpha=-1)}, n_jobs=n_jobs)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        run({"slow": Stumbling(KeyboardInterrupt())})


def test_a_score_that_is_not_a_number_is_an_error():
    def never(estimator, X, y):
        return float("nan")

    with pytest.raises(
        RuntimeError, match=r"'good' failed on split 1 of 3: .*its score 'never' must be a finite number"
    ):
        run_all(
            {"good": Stumbling()},
            X,
            Y,
            splits=splits_of(cv=3),
            seeds=[0] * 3,
            scorers={"never": never},
            baseline="good",
        )


def test_estimators_passed_in_stay_unfitted_and_unseeded():
    forest = RandomForestClassifier(5)
    run({"forest": forest, "other": Stumbling()})
    assert forest.random_state is None
    assert not hasattr(forest, "estimators_")


def test_progress_is_one_line_per_fit(capsys):
    run({"one": Stumbling(), "three": Stumbling()}, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("fit 1 of 6  split 1/3  one    accuracy 0.350  ")
    assert lines[0].endswith(" s")  # nobody knows yet what a fit of the other one takes
    assert " s  about " in lines[1]
    assert lines[1].endswith(" left")
    assert lines[5].startswith("fit 6 of 6  split 3/3  three  accuracy 0.3")
    assert lines[5].endswith(" s")


class FailsAtHalf(Stumbling):
    """A classifier that fails on every split but the first ones."""

    def fit(self, X, y):
        if self.random_state != make_seeds(0, "fit", 3)[0]:
            raise ZeroDivisionError("half of nothing")
        return super().fit(X, y)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_failing_candidate_is_left_out_with_one_warning_and_the_rest_goes_on(n_jobs):
    candidates = {"good": Stumbling(), "bad": FailsAtHalf(), "fine": SGDClassifier()}
    with (
        parallel_config("threading"),
        pytest.warns(CandidateFailedWarning, match="Candidate 'bad' failed on split 2 of 3: ZeroDiv.*left out") as said,
    ):
        runs = run(candidates, n_jobs=n_jobs, on_error="warn")
    assert len(said) == 1
    assert [(one.split, one.candidate) for one in runs if one.error is None] == [
        (0, "good"), (0, "bad"), (0, "fine"), (1, "good"), (1, "fine"), (2, "good"), (2, "fine")
    ]  # fmt: skip
    (failed,) = [one for one in runs if one.error is not None]
    assert (failed.candidate, failed.split, failed.scores) == ("bad", 1, {})
    assert failed.error == "ZeroDivisionError: half of nothing"


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ({"good": Stumbling(ValueError("no")), "b": Stumbling(), "c": Stumbling()}, "'good' failed on split 1 of 3"),
        ({"good": Stumbling(), "bad": Stumbling(ValueError("no"))}, "'bad' failed .* Fewer than two candidates"),
    ],
    ids=["baseline", "only one left"],
)
def test_without_a_baseline_or_a_second_candidate_there_is_no_comparison(candidates, message):
    with pytest.raises(RuntimeError, match=message) as caught:
        run(candidates, on_error="warn")
    assert isinstance(caught.value.__cause__, ValueError)


def test_progress_tells_failures_and_counts_what_is_left(capsys):
    with pytest.warns(CandidateFailedWarning):
        run({"a": Stumbling(), "bad": Stumbling(ValueError("no")), "b": Stumbling()}, verbose=1, on_error="warn")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "fit 2 of 9  split 1/3  bad  failed: ValueError: no"
    assert lines[2].startswith("fit 3 of 7  split 1/3  b    accuracy")
    assert lines[-1].startswith("fit 7 of 7")


class FailsBackwards(Stumbling):
    """A classifier that fails on every split, and on the first one last."""

    failed = threading.Event()

    def fit(self, X, y):
        if self.random_state == make_seeds(0, "fit", 3)[0]:
            assert self.failed.wait(30)
            raise ZeroDivisionError("first split")
        self.failed.set()
        raise ZeroDivisionError("another split")


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_the_first_split_that_fails_is_told_whichever_fails_first(on_error):
    FailsBackwards.failed.clear()
    candidates = {"good": Stumbling(), "bad": FailsBackwards(), "fine": Stumbling()}
    message = "Candidate 'bad' failed on split 1 of 3: ZeroDivisionError: first split"
    with parallel_config("threading"):
        if on_error == "raise":
            with pytest.raises(RuntimeError, match=message):
                run(candidates, n_jobs=4, on_error=on_error)
            return
        with pytest.warns(CandidateFailedWarning, match=message) as said:
            runs = run(candidates, n_jobs=4, on_error=on_error)
    assert len(said) == 1
    assert [(one.split, one.candidate) for one in runs if one.candidate == "bad"] == [(0, "bad")]
    assert len(runs) == 7


def test_fits_that_are_called_off_are_no_error_whatever_another_thread_does_to_the_filters():
    class Results:
        closed = False

        def close(self):
            self.closed = True
            warnings.simplefilter("error")
            warnings.warn("2 tasks have been cancelled", UserWarning, stacklevel=2)

    results = Results()
    _execution._close(results)
    assert results.closed


SCRIPT = """
import os, warnings
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sktl.comparison import compare_transfer

class TwoWords(Exception):
    def __init__(self, one, two):
        super().__init__(one)

class Bad(ClassifierMixin, BaseEstimator):
    def __init__(self, dies=False):
        self.dies = dies
    def fit(self, X, y):
        if self.dies:
            os._exit(1)
        raise TwoWords("boom", 3)

X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
good = {"a": DummyClassifier(), "b": DummyClassifier(strategy="uniform")}
warnings.simplefilter("ignore")
for bad in Bad(), Bad(dies=True):
    try:
        comparison = compare_transfer(
            X, y, candidates={**good, "bad": bad}, baseline="a", cv=2, n_jobs=2, duplicates="ignore"
        )
        print(comparison.candidates, [run.error for run in comparison.failures])
    except RuntimeError as error:
        print(error)
"""


class TwoWords(Exception):
    """Pickles, and cannot be made again from its one argument."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


class RaisingTwoWords(Stumbling):
    def fit(self, X, y):
        raise TwoWords("boom", "bang")


@pytest.mark.parametrize(
    ("estimator", "kind", "sent_kind", "words"),
    [
        (RaisingTwoWords(), TwoWords, RuntimeError, "TwoWords: boom bang"),
        (Stumbling(KeyError("lost")), KeyError, KeyError, "'lost'"),
    ],
)
def test_an_error_of_another_process_comes_over_or_else_its_words_do(estimator, kind, sent_kind, words, monkeypatch):
    monkeypatch.delitem(copyreg.dispatch_table, kind, raising=False)  # where dask has made errors survive more
    train, test = splits_of(3)[0]
    fit = FitTask("mine", 0, estimator, train, test, 0, {"accuracy": get_scorer("accuracy")})
    _, here, _ = _execution._fitted_here(fit, X, Y, _execution._this_process(), share_warned(), False)
    assert type(here) is kind
    _, sent, _ = _execution._fitted_here(fit, X, Y, -1, share_warned(), False)
    assert type(sent) is sent_kind
    assert str(sent) == words


@pytest.mark.parametrize(("keeps", "advice"), [(False, "Pass resume="), (True, "call again with the same resume")])
def test_a_process_that_is_lost_is_told_with_what_keeps_finished_fits(keeps, advice, monkeypatch, tmp_path):
    def lost(*arguments, **options):
        yield from ()
        raise BrokenProcessPool("a process was terminated abruptly")

    monkeypatch.setattr(_execution, "Parallel", lambda **options: lost)
    with pytest.raises(RuntimeError, match=rf"A worker process died.*{advice}.*n_jobs=1.*terminated abruptly"):
        compare_transfer(
            X, Y, candidates={"one": Stumbling(), "two": Stumbling()}, baseline="one", cv=3,
            resume=tmp_path / "fits.jsonl" if keeps else None,
        )  # fmt: skip


@pytest.mark.slow
def test_an_error_that_cannot_be_sent_and_a_worker_that_dies_are_told(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sent, died = done.stdout.splitlines()[:2]
    assert sent == "['a', 'b'] ['TwoWords: boom']"
    assert died.startswith("A worker process died, often for lack of memory")
    assert "n_jobs=1" in died
    assert "resume=" in died
