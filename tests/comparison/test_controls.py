"""What is said of a baseline that learned nothing, or has no network, and of intervals: never more than is known."""

from dataclasses import replace

import numpy as np
import pytest

from sktl.comparison import FitRecord, TransferComparison, corrected_interval
from sktl.displays import CostDisplay
from sktl.displays.verdicts import tone

UP, DOWN = [0.80, 0.81, 0.79, 0.82, 0.80], [0.40, 0.41, 0.39, 0.42, 0.40]
CHANCE, LOST = [0.24, 0.24, 0.25, 0.24, 0.24], [0.25, 0.22, 0.28, 0.24, 0.26]
HALF = [0.58, 0.62, 0.60, 0.61, 0.59]
NETWORK = {"name": "some_network", "weights": None}


def make(scores, baseline="from_scratch", *, right=None, epochs=None, transfer=("frozen", "fine_tuned"), **settings):
    """A comparison of 100 images in five folds; `right` are shares of images that are predicted correctly."""
    y, folds = np.arange(100) % 4, np.arange(100).reshape(20, 5).T
    runs = []
    for name, values in scores.items():
        for split, score in enumerate(values):
            predicted = None
            if right is not None:
                wrong = np.arange(20) >= round(20 * right[name])
                predicted = np.where(wrong, (y[folds[split]] + 1) % 4, y[folds[split]]).tolist()
            trained = epochs if name == "from_scratch" else None
            history = None if trained is None else [{"epoch": 1 + i, "train_loss": 1.0} for i in range(trained[split])]
            runs.append(FitRecord(name, split, {"accuracy": score}, 1.0, 0.1, predicted=predicted, history=history))
    return TransferComparison(
        runs=tuple(runs),
        splits=tuple((np.setdiff1d(np.arange(100), fold), fold) for fold in folds),
        y=y,
        seeds=(0, 1, 2, 3, 4),
        baseline=baseline,
        scoring="accuracy",
        rope=0.01,
        transfer={name: name in transfer for name in scores},
        settings={"task": "classification", **settings},
    )


def test_a_baseline_that_learned_nothing_is_said_to_in_words_colour_and_first_note():
    comparison = make(
        {"dummy": CHANCE, "frozen_random": HALF, "frozen": UP, "from_scratch": LOST}, epochs=[20] * 5,
        photographs="The network has never seen photographs.",
    )  # fmt: skip
    assert comparison.verdict == "transfer helps"
    assert comparison.baseline_at_chance
    assert comparison.to_dict()["baseline_at_chance"] is True
    assert str(comparison).startswith(
        "Transfer helps, against a baseline not clearly better than chance: 'frozen' scores 0.804 in accuracy, "
    )
    assert "'dummy' scores 0.242." in str(comparison).splitlines()[0]
    assert tone(comparison) == "open"
    first, on_photographs, on_pretraining = comparison.notes()
    assert first.startswith(
        "The baseline 'from_scratch' is not clearly better than chance level: 0.250 in accuracy beside 0.242 of "
        "'dummy', after 20 epochs on 80 images: more epochs (max_epochs) may help."
    )
    gain = np.subtract(UP, HALF)
    low, high = corrected_interval(gain, 80, 20)
    interval = f"{gain.mean():+.3f} (95 % interval {low:+.3f} to {high:+.3f})."
    assert on_pretraining == (
        f"Pretraining alone: 'frozen' scores 0.804, and 'frozen_random', with random weights instead, 0.600: {interval}"
    )
    assert on_photographs == "The network has never seen photographs."


@pytest.mark.parametrize(
    ("epochs", "said"),
    [([1] * 5, "after 1 epoch on"), ([3, 9, 5, 3, 4], "after 3 to 9 epochs on"), (None, "beside 0.242 of 'dummy'. A")],
)
def test_the_note_tells_the_budget(epochs, said):
    assert said in make({"dummy": CHANCE, "frozen": UP, "from_scratch": LOST}, epochs=epochs).notes()[0]


@pytest.mark.parametrize(
    ("scratch", "right", "at_chance"),
    [
        (UP, None, False),  # clearly better on the splits
        (LOST, None, True),
        ([0.9, 0.3, 0.6, 0.3, 0.5], None, False),  # not clearly so, but on every split
        ([0.9, 0.2, 0.6, 0.3, 0.5], None, True),
        ([0.9, 0.2, 0.6, 0.3, 0.5], {"dummy": 0.25, "frozen": 0.9, "from_scratch": 0.5}, False),  # over the images
        (LOST, {"dummy": 0.25, "frozen": 0.9, "from_scratch": 0.25}, True),
        (CHANCE, None, True),
        (DOWN, None, False),
    ],
)
def test_a_baseline_is_at_chance_unless_something_shows_that_it_learned(scratch, right, at_chance):
    comparison = make({"dummy": CHANCE, "frozen": UP, "from_scratch": scratch}, right=right)
    assert comparison.baseline_at_chance is at_chance
    assert ("not clearly better than chance:" in str(comparison).splitlines()[0]) is at_chance
    assert any("not clearly better than chance level:" in note for note in comparison.notes()) is at_chance


def test_without_a_dummy_nothing_is_said_of_chance():
    comparison = make({"frozen": UP, "from_scratch": LOST})
    assert not comparison.baseline_at_chance
    assert comparison.notes() == []
    assert tone(comparison) == "good"


@pytest.mark.parametrize("scores", [UP, DOWN])
@pytest.mark.parametrize("baseline", ["dummy", "pixels"])
def test_against_a_baseline_without_a_network_no_word_is_of_transfer(scores, baseline):
    comparison = make({baseline: HALF, "frozen_random": LOST, "frozen": scores}, baseline=baseline)
    assert comparison.verdict == ("better" if scores is UP else "worse")
    (note, *_) = comparison.notes()
    assert note.startswith(
        f"{baseline!r} has no network, so the difference is that of a network and its pretraining together. "
        f"Pretraining alone: 'frozen' scores {np.mean(scores):.3f}, and 'frozen_random', with random weights instead"
    )
    without = make({baseline: HALF, "frozen": scores}, baseline=baseline)
    assert without.notes()[0].endswith(
        "The candidate 'frozen_random', the frozen network with random weights, tells what pretraining alone adds."
    )


@pytest.mark.parametrize(
    ("baseline", "networks", "verdict"),
    [
        ("mine", {"mine": None, "frozen": NETWORK}, "better"),  # an SVC of the user's own, say
        ("mine", {"mine": NETWORK, "frozen": NETWORK}, "transfer helps"),
        ("pixels", {"pixels": NETWORK, "frozen": NETWORK}, "transfer helps"),  # a name of the user's own
        ("mine", {}, "transfer helps"),
        ("frozen_random", {"frozen_random": NETWORK, "frozen": NETWORK}, "transfer helps"),
    ],
)
def test_whether_a_baseline_has_a_network_is_read_from_its_fits(baseline, networks, verdict):
    comparison = make({baseline: HALF, "frozen": UP}, baseline=baseline, networks=networks)
    assert comparison.verdict == verdict
    assert any("has no network" in note for note in comparison.notes()) is (verdict == "better")


def test_pretraining_that_adds_nothing_to_the_network_is_noted():
    comparison = make({"frozen_random": UP, "frozen": UP, "from_scratch": HALF})
    assert comparison.verdict == "transfer helps"
    assert comparison.notes() == [
        "'frozen' is not clearly better than the frozen network with random weights ('frozen_random'), which needs no "
        "pretraining: 0.804 beside 0.804, a difference of +0.000."
    ]


def test_an_interval_off_zero_beside_undecided_is_explained():
    gap = [0.012, 0.006, 0.01, 0.012, 0.005]
    scores = {"other": np.add(HALF, gap).tolist(), "frozen": UP, "from_scratch": HALF}
    row, headline, _ = (comparison := make(scores)).rows()
    assert (row.verdict, headline.verdict) == ("undecided", "transfer helps")
    assert row.low > 0
    (note,) = comparison.notes()
    assert note == (
        "The interval of 'other' leaves out zero, and the verdict is undecided all the same: the difference is "
        "within ±0.01, the region of practical equivalence (rope), and may be beyond."
    )
    assert replace(comparison, rope=0.0).notes() == []


@pytest.mark.parametrize(
    ("scoring", "factor", "bounds", "ends"),
    [
        ("accuracy", 1, None, (-1, 1)),
        ("roc_auc", 1, None, (-1, 1)),
        ("matthews_corrcoef", 1, None, (-2, 2)),
        ("mine", 1, None, None),
        ("mine", 1, {"mine": (0.0, 1.0)}, (-1, 1)),  # a name of the user's own for a known scorer
        ("accuracy", 1, {"accuracy": (-np.inf, np.inf)}, None),  # a scorer of the user's own of a known name
        ("accuracy", 100, None, None),  # in percent: not what scikit-learn means by the name
        ("r2", 1, None, None),  # at most 1, and a difference is of any size
    ],
)
def test_intervals_stay_within_what_a_difference_can_be(scoring, factor, bounds, ends):
    scores = {"frozen": [0.99, 0.55], "from_scratch": [0.1, 0.5]}
    splits = tuple((np.arange(8), np.arange(8, 10)) for _ in range(2))
    runs = tuple(
        FitRecord(name, split, {scoring: factor * score}, 1.0, 0.1)
        for name, values in scores.items()
        for split, score in enumerate(values)
    )
    comparison = TransferComparison(
        runs, splits, np.arange(10) % 2, (0, 1), "from_scratch", scoring, 0.01,
        {"frozen": True, "from_scratch": False}, {} if bounds is None else {"score_bounds": bounds},
    )  # fmt: skip
    row = comparison.headline
    free = corrected_interval(factor * np.subtract(*scores.values()), 8, 2)
    assert free[1] - free[0] > 4 * factor
    assert (row.low, row.high) == pytest.approx(free if ends is None else ends)


@pytest.mark.parametrize(("scoring", "ends"), [("accuracy", (0, 1)), ("r2", (-np.inf, 1)), ("mine", None)])
def test_intervals_of_scores_in_the_plot_of_costs_stay_within_what_a_score_can_be(scoring, ends):
    scores = {"frozen": [0.99, 0.55], "from_scratch": [0.9, 0.2]}
    runs = tuple(
        FitRecord(name, split, {scoring: score}, 1.0, 0.1)
        for name, values in scores.items()
        for split, score in enumerate(values)
    )
    splits = tuple((np.arange(8), np.arange(8, 10)) for _ in range(2))
    comparison = TransferComparison(
        runs, splits, np.arange(10) % 2, (0, 1), "from_scratch", scoring, 0.01,
        {"frozen": True, "from_scratch": False}, {},
    )  # fmt: skip
    for name, interval in zip(scores, CostDisplay.from_comparison(comparison).intervals, strict=True):
        free = corrected_interval(scores[name], 8, 2)
        assert interval == pytest.approx(free if ends is None else tuple(np.clip(free, *ends)))
