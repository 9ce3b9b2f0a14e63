"""Those who wait are told what is done, what is known so far, and how long the rest takes."""

import io
import re
import time
from contextlib import redirect_stderr

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from sktl import FineTuneClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.comparison import FitRecord, _execution
from sktl.comparison._fitting import FitTask
from sktl.comparison._progress import Progress, announced, shown
from sktl.datasets import make_fractals
from sktl.feature_extraction import PixelFeatures
from sktl.fine_tuning.rehearsal import FitCost
from sktl.inference.progress import keep, kept_work, tell

PICTURES, LABELS = make_fractals(24, n_classes=2, image_size=40, random_state=0)
N_IMAGES = 120
ALL = {"baseline": "from_scratch", "cv": 2, "max_epochs": 1, "duplicates": "ignore"}


def duration(text):
    """Read the seconds of a line about what is left; None where there are none."""
    found = re.search(r"(about|at least) ([\d.]+) (s|min|h) left$", text)
    return None if found is None else float(found[2]) * {"s": 1, "min": 60, "h": 3600}[found[3]]


class Clock:
    """Time that goes by when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for user in "_progress", "_forecast":
            monkeypatch.setattr(f"sktl.comparison.{user}.time", self)

    def perf_counter(self):
        return self.now


def arrive(progress, clock, candidate, split, taken, once=0.0, error=None, goes_by=True):
    clock.now += taken * goes_by
    scores = {} if error else {"accuracy": 0.5 + split / 10}
    spent = {"fit_seconds": taken, "predict_seconds": 0.0}
    progress.show(FitRecord(candidate, split, scores, **({} if error else spent), error=error), once)


def tasks(order):
    folds = np.array_split(np.arange(N_IMAGES), max(split for _, split in order) + 1)
    rest = [np.setdiff1d(np.arange(N_IMAGES), fold) for fold in folds]
    return [FitTask(name, split, None, rest[split], folds[split], 0, {}) for name, split in order]


QUICK_FIRST = [(name, split) for split in range(4) for name in ("dummy", "frozen")]
QUICK_FIRST += [(name, split) for split in range(4) for name in ("fine_tuned", "from_scratch")]
SECONDS = {"dummy": 0.01, "frozen": 0.5, "fine_tuned": 12.0, "from_scratch": 100.0}
TIERS = {"dummy": 0, "frozen": 0, "fine_tuned": 2, "from_scratch": 2}
ONCE = {"frozen": 20.0, "fine_tuned": 40.0}  # on the first split, besides


def test_the_estimate_is_the_least_until_each_candidate_has_run_and_within_a_factor_of_two_from_then_on(
    monkeypatch, capsys
):
    clock = Clock(monkeypatch)
    progress = Progress(tasks(QUICK_FIRST), [], TIERS, 4, "accuracy", 1)
    taken = [SECONDS[name] + (ONCE.get(name, 0) if split == 0 else 0) for name, split in QUICK_FIRST]
    seen = set()
    for number, (name, split) in enumerate(QUICK_FIRST):
        arrive(progress, clock, name, split, taken[number], ONCE.get(name, 0) if split == 0 else 0)
        seen.add(name)
        line = capsys.readouterr().out.splitlines()[0]
        left, truth = duration(line), sum(taken[number + 1 :])
        if number + 1 == len(taken):
            assert not line.endswith("left")
        elif seen < SECONDS.keys():
            assert "about" not in line
            assert left is None or left <= truth
        else:
            assert "about" in line
            assert truth / 2 <= left <= 2 * truth
    assert seen == SECONDS.keys()


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 8])
def test_fits_that_run_at_once_are_counted_by_the_clock(n_jobs, monkeypatch, capsys):
    clock = Clock(monkeypatch)
    order = [(name, split) for split in range(6) for name in ("quick", "slow")]
    taken = {"quick": 7.0, "slow": 10.0}
    progress = Progress(tasks(order), [], {"quick": 0, "slow": 0}, 6, "accuracy", 1, n_jobs)
    waiting, running, told = list(order), [], []
    while waiting or running:
        while waiting and len(running) < n_jobs:
            name, split = waiting.pop(0)
            running.append((clock.now + taken[name], name, split))
        end, name, split = min(running)
        running.remove((end, name, split))
        clock.now = end
        arrive(progress, clock, name, split, taken[name], goes_by=False)
        told.append((clock.now, duration(capsys.readouterr().out.splitlines()[0])))
    known = [(at, left) for at, left in told if left is not None and at >= 10]
    assert len(known) >= 4
    for at, left in known:
        assert left == pytest.approx(clock.now - at, abs=0.5)


@pytest.mark.parametrize("wrong_by", [1.0, 0.6, 1.8])
def test_short_fits_tell_what_is_left_before_the_first_long_one(wrong_by, monkeypatch, capsys):
    clock = Clock(monkeypatch)
    order = QUICK_FIRST[:8] + [(name, split) for split in range(4) for name in ("fine_tuned", "from_scratch")]
    progress = Progress(tasks(order), [], TIERS, 4, "accuracy", 1)
    folds = np.array_split(np.arange(N_IMAGES), 4)
    each, per_new_image = {"fine_tuned": 12.0, "from_scratch": 100.0}, {"fine_tuned": 0.4, "from_scratch": 0.0}
    seen, truth = {"fine_tuned": set(), "from_scratch": set()}, []
    for name, split in order[8:]:
        train = {image for fold in range(4) if fold != split for image in folds[fold].tolist()}
        truth.append(each[name] + per_new_image[name] * len(train - seen[name]))
        seen[name] |= train
    for name, split in order[:8]:
        arrive(progress, clock, name, split, SECONDS[name])
    capsys.readouterr()
    size = (3 * N_IMAGES // 4, N_IMAGES // 4)
    progress.expect(
        {name: {size: FitCost(each[name] * wrong_by, per_new_image[name] * wrong_by)} for name in each} | {"gone": {}}
    )
    first = capsys.readouterr().out
    assert first.startswith("A fit takes, timed on a few images: fine_tuned up to ")
    lines = [first.rstrip()]
    for (name, split), taken in zip(order[8:], truth, strict=True):
        arrive(progress, clock, name, split, taken)
        lines.append(capsys.readouterr().out.splitlines()[0])
    for number, line in enumerate(lines[:-1]):
        left = sum(truth[number:])
        assert "  about " in line
        assert left / 2 <= duration(line) <= 2 * left
        if number == 0 or number > 1:  # both have been fitted
            assert duration(line) == pytest.approx(left * (1 if number else wrong_by), rel=0.1, abs=30)  # whole minutes
    assert not lines[-1].endswith("left")


def test_a_candidate_that_failed_is_not_waited_for(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    progress = Progress(tasks([(n, s) for s in range(3) for n in "ab"]), [], {"a": 0, "b": 0}, 3, "accuracy", 1)
    arrive(progress, clock, "a", 0, 10.0)
    arrive(progress, clock, "b", 0, 30.0, error="no")
    progress.drop("b")
    arrive(progress, clock, "a", 1, 10.0)
    assert capsys.readouterr().out.splitlines()[-1].endswith("  about 10 s left")


def test_the_answer_so_far_stands_once_the_quick_ones_are_through_and_grows(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    progress = Progress(tasks(QUICK_FIRST), [], TIERS, 4, "accuracy", 1)
    tables = {}
    for number, (name, split) in enumerate(QUICK_FIRST):
        arrive(progress, clock, name, split, 2.0)
        _, *table = capsys.readouterr().out.splitlines()
        if table:
            tables[number + 1] = table
    assert list(tables) == [8]  # after twice the time nothing is left to wait for
    assert tables[8] == [
        "So far, accuracy and its SD over the splits that are done:",
        "  dummy         0.650  0.129  4 of 4 splits",
        "  frozen        0.650  0.129  4 of 4 splits",
        "  fine_tuned        –      –  0 of 4 splits",
        "  from_scratch      –      –  0 of 4 splits",
    ]
    assert np.std([0.5, 0.6, 0.7, 0.8], ddof=1) == pytest.approx(0.129, abs=5e-4)
    order = QUICK_FIRST + [(name, split) for split in range(4, 12) for name in ("fine_tuned", "from_scratch")]
    progress = Progress(tasks(order), [], TIERS, 12, "accuracy", 1)
    told = []
    for number, (name, split) in enumerate(order):
        arrive(progress, clock, name, split, 2.0)
        if "So far" in capsys.readouterr().out:
            told.append(number + 1)
    assert told == [8, 16]


def test_fits_taken_from_a_file_count_in_the_answer(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    kept = [FitRecord("dummy", split, {"accuracy": 0.25}, 1.0, 0.1) for split in range(2)]
    tiers = {"dummy": 0, "quick": 0, "slow": 2}
    progress = Progress(tasks([("quick", 0), ("slow", 0), ("slow", 1)]), kept, tiers, 2, "accuracy", 1)
    arrive(progress, clock, "quick", 0, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 5 fits were finished before and are taken from the file."
    assert lines[3:] == [
        "  dummy  0.250  0.000  2 of 2 splits",
        "  quick  0.500      –  1 of 2 splits",
        "  slow       –      –  0 of 2 splits",
    ]


@pytest.fixture
def started(monkeypatch):
    """Which fits were started, in order."""
    from sktl.comparison._fitting import fit_and_score

    order = []

    def noted(fit, X, y):
        order.append((fit.candidate, fit.split))
        return fit_and_score(fit, X, y)

    monkeypatch.setattr(_execution, "fit_and_score", noted)
    return order


def test_those_that_train_a_network_come_last_and_nothing_else_depends_on_the_order(started, monkeypatch, tmp_path):
    candidates = ["fine_tuned", "dummy", "from_scratch", "frozen_random", "frozen", "pixels"]
    first = compare_transfer(PICTURES, LABELS, candidates=candidates, **ALL, resume=tmp_path / "new.jsonl")
    quick = [(name, split) for split in range(2) for name in ("dummy", "frozen", "pixels")]
    random = [("frozen_random", split) for split in range(2)]
    slow = [(name, split) for split in range(2) for name in ("fine_tuned", "from_scratch")]
    assert started == quick + random + slow
    assert first.candidates == candidates
    started.clear()
    monkeypatch.setattr(_execution, "tier_of", lambda estimator: 0)  # split by split, as they are named
    other = compare_transfer(PICTURES, LABELS, candidates=candidates, **ALL, resume=tmp_path / "old.jsonl")
    assert started == [(name, split) for split in range(2) for name in candidates]
    assert [(run.candidate, run.split) for run in first.runs] == [(run.candidate, run.split) for run in other.runs]
    for one, two in zip(first.runs, other.runs, strict=True):
        assert (one.scores, one.predicted, one.confidence) == (two.scores, two.predicted, two.confidence)
        assert one.history == two.history
    monkeypatch.undo()
    started.clear()
    again = compare_transfer(PICTURES, LABELS, candidates=candidates, **ALL, resume=tmp_path / "old.jsonl")
    assert again.runs == other.runs
    assert started == []


def test_searches_and_pipelines_around_a_trained_network_come_last_as_well(started):
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(FineTuneClassifier(max_epochs=1), {"unfreeze_depth": [0]}, cv=2)
    compare_transfer(
        PICTURES, LABELS, candidates={"search": search, "pixels": "pixels"}, **{**ALL, "baseline": "pixels"}
    )
    assert [name for name, _ in started] == ["pixels", "pixels", "search", "search"]


@pytest.mark.slow
def test_short_fits_change_no_result_and_come_after_the_first_answer(capsys, monkeypatch, tmp_path):
    candidates = ["fine_tuned", "pixels"]
    options = {**ALL, "baseline": "pixels", "max_epochs": 70, "candidates": candidates, "batch_size": 12}
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "quiet"))
    quiet = compare_transfer(PICTURES, LABELS, **options)
    assert "A fit takes" not in capsys.readouterr().out
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "loud"))
    loud = compare_transfer(PICTURES, LABELS, **options, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith("A fit takes, timed on a few images: "))
    assert [line.split("  ")[2].split()[0] for line in lines[:place] if line.startswith("fit ")] == ["pixels"] * 2
    assert duration(lines[place]) > 0
    for one, two in zip(quiet.runs, loud.runs, strict=True):
        assert (one.scores, one.predicted, one.confidence) == (two.scores, two.predicted, two.confidence)
        assert (one.history, one.n_images_through_network) == (two.history, two.n_images_through_network)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, "all"])
def test_from_the_first_answer_on_the_estimate_is_within_a_factor_of_two(depth, monkeypatch, capsys):
    monkeypatch.setattr(time, "perf_counter", time.process_time)  # whatever else the machine does
    lines = []

    class Noting(Progress):
        def expect(self, costs):
            super().expect(costs)
            lines.append((time.process_time(), capsys.readouterr().out.splitlines()[-1]))

        def show(self, run, once=0.0):
            super().show(run, once)
            lines.append((time.process_time(), capsys.readouterr().out.splitlines()[0]))

    monkeypatch.setattr(_execution, "Progress", Noting)
    pictures, labels = make_fractals(80, n_classes=2, image_size=64, random_state=0)
    compare_transfer(pictures, labels, cv=2, unfreeze_depth=depth, verbose=1, duplicates="ignore")
    end = lines[-1][0]
    (first,) = (number for number, (_, line) in enumerate(lines) if line.startswith("A fit takes"))
    told = [(at, duration(line)) for at, line in lines[first:] if duration(line) is not None]
    assert len(told) >= 5
    for at, left in told:
        assert (end - at) / 2 <= left <= 2 * (end - at)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_images_and_epochs_within_a_fit(capsys):
    with redirect_stderr(Terminal()) as terminal:
        compare_transfer(PICTURES, LABELS, candidates=["frozen", "from_scratch"], **{**ALL, "max_epochs": 2}, verbose=1)
    shown_there = terminal.getvalue()
    assert "split 1, frozen: image" in shown_there
    assert "split 2, from_scratch: epoch" in shown_there
    assert "\n" not in shown_there  # bars leave nothing behind
    assert "|" not in capsys.readouterr().out


def test_without_a_terminal_there_is_no_bar(capsys):
    compare_transfer(PICTURES, LABELS, candidates=["frozen", "from_scratch"], **ALL, verbose=1)
    assert capsys.readouterr().err == ""


def test_what_is_told_is_drawn_as_it_stands():
    with redirect_stderr(Terminal()) as terminal, shown("work"):
        for done in range(1, 4):
            time.sleep(0.25)
            tell("epoch", done, 3)
        time.sleep(0.25)
        tell("image", 5, 20)
    tell("image", 6, 20)  # nobody listens any longer
    drawn = terminal.getvalue()
    assert "work: epoch 3 of 3 |" in drawn
    assert "work: image 5 of 20 |" in drawn
    assert "image 6" not in drawn


def test_nothing_is_said_unless_it_is_wanted(capsys):
    with redirect_stderr(Terminal()) as terminal, announced("Working", 0):
        tell("image", 1, 2)
    assert (capsys.readouterr().out, terminal.getvalue()) == ("", "")
    with announced("Working", 1):
        pass
    assert capsys.readouterr().out == "Working …\n"


class Sleeping(ClassifierMixin, BaseEstimator):
    """Takes a while, part of which it keeps."""

    def fit(self, X, y):
        time.sleep(0.05)
        keep(0.04)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_work_that_is_kept_is_told_by_those_who_keep_it(tmp_path):
    with kept_work() as first:
        PixelFeatures(size=3).fit_transform(PICTURES)
    with kept_work() as second:
        PixelFeatures(size=3).fit_transform(PICTURES)
    assert sum(first) > 0
    assert second == []
    extractor = PretrainedFeatureExtractor(cache=tmp_path / "store").fit(PICTURES)
    with kept_work() as first:
        start = time.perf_counter()
        extractor.transform(PICTURES)
        taken = time.perf_counter() - start
    with kept_work() as second:
        extractor.transform(PICTURES)
    assert 0 < sum(first) <= taken
    assert sum(second) == 0
    keep(1.0)  # nobody asks


def test_seconds_that_are_not_spent_again_are_not_expected_again(monkeypatch):
    told = []

    class Noting(Progress):
        def show(self, run, once=0.0):
            told.append((run.candidate, once))
            super().show(run, once)

    monkeypatch.setattr(_execution, "Progress", Noting)
    compare_transfer(PICTURES, LABELS, candidates={"sleeping": Sleeping(), "dummy": "dummy"}, baseline="dummy", cv=2)
    assert told == [("sleeping", 0.04), ("dummy", 0), ("sleeping", 0.04), ("dummy", 0)]
