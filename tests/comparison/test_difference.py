"""Which interval a comparison gives, and what every test image adds to a score: the mean is the score itself."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from sktl.comparison import FitRecord, TransferComparison, corrected_interval
from sktl.comparison.difference import OF_LABELS, OF_NUMBERS

SCORERS = {
    "accuracy": lambda y, p: metrics.accuracy_score(y, p),
    "balanced_accuracy": lambda y, p: metrics.balanced_accuracy_score(y, p),
    "f1_macro": lambda y, p: metrics.f1_score(y, p, average="macro"),
    "r2": lambda y, p: metrics.r2_score(y, p),
    "neg_mean_absolute_error": lambda y, p: -metrics.mean_absolute_error(y, p),
    "neg_mean_squared_error": lambda y, p: -metrics.mean_squared_error(y, p),
    "neg_root_mean_squared_error": lambda y, p: -metrics.root_mean_squared_error(y, p),
    "neg_median_absolute_error": lambda y, p: -metrics.median_absolute_error(y, p),
}
OF_WORDS, OF_FIGURES = ("accuracy", "balanced_accuracy"), tuple(SCORERS)[3:7]


def make(y, predicted, splits, scoring="accuracy", baseline="scratch", **fields):
    """A comparison whose scores are what a scorer makes of the predictions (for all images, by candidate)."""
    y = np.asarray(y)
    runs = []
    for name, all_predicted in predicted.items():
        for split, (_, test) in enumerate(splits):
            some = np.asarray(all_predicted[split] if np.ndim(all_predicted) == 2 else all_predicted)[test]
            score = float(SCORERS[scoring](y[test], some))
            runs.append(FitRecord(name, split, {scoring: score}, 1.0, 0.1, predicted=some.tolist()))
    return TransferComparison(
        tuple(runs), tuple(splits), y, seeds=tuple(range(len(splits))), baseline=baseline, scoring=scoring, rope=0.01,
        transfer={name: name not in (baseline, "pixels") for name in predicted}, settings={}, **fields,
    )  # fmt: skip


def split_up(n_images, n_folds, n_repeats=1, seed=0):
    rng = np.random.default_rng(seed)
    parts = [part for _ in range(n_repeats) for part in np.array_split(rng.permutation(n_images), n_folds)]
    return [(np.setdiff1d(np.arange(n_images), part), part) for part in parts]


def numbers(n_images=60, seed=0):
    rng = np.random.default_rng(seed)
    y = 3 + rng.standard_normal(n_images)
    return y, {"scratch": y + rng.standard_normal(n_images), "frozen": y + 0.4 * rng.standard_normal(n_images)}


def words(n_images=90, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(["ant", "bee", "cow"], n_images, p=[0.6, 0.3, 0.1])
    wrong = {name: rng.random(n_images) < share for name, share in (("scratch", 0.4), ("frozen", 0.2))}
    return y, {name: np.where(places, "bee", y) for name, places in wrong.items()}


@pytest.mark.parametrize(("name", "count"), [*zip(OF_WORDS, OF_LABELS, strict=True),
                                             *zip(OF_FIGURES, OF_NUMBERS, strict=True)])  # fmt: skip
def test_what_images_add_has_the_score_of_scikit_learn_as_its_mean(name, count):
    for seed in range(20):
        y, predicted = words(seed=seed) if name in OF_WORDS else numbers(seed=seed)
        for one in predicted.values():
            assert count(y, one).mean() == pytest.approx(SCORERS[name](y, one), abs=1e-12)
            assert count(y, one).shape == y.shape
    assert count(y, y) == pytest.approx(np.full(len(y), SCORERS[name](y, y)), abs=2.0 * (name == "balanced_accuracy"))


@pytest.mark.parametrize("name", ["r2", "neg_root_mean_squared_error"])
def test_what_images_add_to_a_score_that_is_no_mean_tells_its_spread_over_samples(name):
    """The standard error of the mean of what images add, against scores of many samples."""
    rng, count = np.random.default_rng(0), OF_NUMBERS[OF_FIGURES.index(name)]
    scores, errors = [], []
    for _ in range(500):
        y = rng.standard_normal(200)
        predicted = 0.6 * y + 0.5 * rng.standard_normal(200)
        scores.append(SCORERS[name](y, predicted))
        errors.append(count(y, predicted).std(ddof=1) / np.sqrt(200))
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.1)


@pytest.mark.parametrize("name", [*OF_WORDS, *OF_FIGURES])
def test_scores_that_are_means_over_images_have_a_crossed_interval(name):
    y, predicted = words() if name in OF_WORDS else numbers()
    comparison = make(y, predicted, split_up(len(y), 5), name)
    _, row = comparison.rows()
    assert row.interval == "crossed"
    assert row.difference == comparison.differences("frozen").mean()
    plain = replace(comparison, interval="corrected").rows()[1]
    assert plain.interval == "corrected"
    expected = corrected_interval(comparison.differences("frozen"), comparison.n_train, comparison.n_test)
    assert (plain.low, plain.high) == pytest.approx(expected)
    assert plain.difference == row.difference
    assert "The interval (crossed) allows for which images were tested" in " ".join(str(comparison).split())
    assert "(Nadeau and Bengio)" in " ".join(str(replace(comparison, interval="corrected")).split())


def test_the_crossed_interval_of_accuracy_is_the_paired_one_over_images_where_folds_agree():
    y = np.tile(["ant", "bee"], 20)
    scratch, frozen = y.copy(), y.copy()
    scratch[0::5], frozen[1::10] = "cow", "cow"  # in every fold two are wrong, and one
    splits = [(np.setdiff1d(np.arange(40), fold), fold) for fold in np.arange(40).reshape(4, 10)]
    (_, row), gain = make(y, {"scratch": scratch, "frozen": frozen}, splits).rows(), np.zeros(40)
    gain[0::5], gain[1::10] = 1, -1
    within = np.mean([part.var(ddof=1) for part in gain.reshape(4, 10)])
    assert (row.low, row.high) == pytest.approx(stats.t.interval(0.95, 36, 0.1, np.sqrt(within / 40)))


def test_a_score_that_is_no_mean_or_whose_predictions_do_not_give_it_keeps_the_corrected_interval():
    y, predicted = words()
    splits = split_up(len(y), 5)
    assert make(y, predicted, splits, "f1_macro").rows()[1].interval == "corrected"
    for unit in (1.0, 1e-15):  # a median is no mean, however small
        values, guesses = numbers()
        tiny = {name: unit * one for name, one in guesses.items()}
        comparison = make(unit * values, tiny, split_up(60, 5), "neg_median_absolute_error")
        assert comparison.rows()[1].interval == "corrected"
    comparison = make(y, predicted, splits)
    changed = [replace(run, scores={"accuracy": run.scores["accuracy"] - 0.01}) for run in comparison.runs]
    assert replace(comparison, runs=tuple(changed)).rows()[1].interval == "corrected"
    without = [replace(run, predicted=None if run.candidate == "scratch" else run.predicted) for run in comparison.runs]
    assert replace(comparison, runs=tuple(without)).rows()[1].interval == "corrected"
    alone = [(np.setdiff1d(np.arange(90), [image]), np.array([image])) for image in range(90)]
    assert make(y, predicted, alone).rows()[1].interval == "corrected"


def test_the_name_of_a_score_does_not_matter_for_what_it_is():
    y, predicted = words()
    comparison = make(y, predicted, split_up(len(y), 5))
    renamed = [replace(run, scores={"mine": run.scores["accuracy"]}) for run in comparison.runs]
    assert replace(comparison, runs=tuple(renamed), scoring="mine").rows()[1].interval == "crossed"


def test_intervals_of_two_kinds_are_named_in_the_caption():
    y, predicted = words()
    comparison = make(y, predicted | {"other": predicted["frozen"][::-1]}, split_up(len(y), 5))
    runs = [replace(run, predicted=None) if run.candidate == "other" else run for run in comparison.runs]
    text = " ".join(str(replace(comparison, runs=tuple(runs))).split())
    assert "The interval of 'frozen' (crossed) allows" in text
    assert "The interval of 'other' (corrected) allows" in text


def test_images_of_one_group_count_as_one_observation():
    y, predicted = words(30)
    many = {name: np.repeat(one, 4) for name, one in predicted.items()}
    splits = split_up(30, 5)
    wide = [tuple(np.add.outer(4 * part, range(4)).ravel() for part in pair) for pair in splits]
    once = make(y, predicted, splits).rows()[1]
    grouped = make(np.repeat(y, 4), many, wide, groups=np.repeat(np.arange(30), 4)).rows()[1]
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))
    apart = make(np.repeat(y, 4), many, wide).rows()[1]
    assert apart.high - apart.low < once.high - once.low


def test_an_unknown_interval_is_an_error():
    with pytest.raises(ValueError, match=r"interval must be one of \['auto', 'corrected'\]. Got 'naive' instead."):
        make(*words(), split_up(90, 5), interval="naive").rows()


def test_what_old_pickles_lack_has_its_default():
    comparison = make(*words(), split_up(90, 5))
    state = {name: value for name, value in comparison.__getstate__().items() if name not in ("groups", "interval")}
    old = object.__new__(TransferComparison)
    old.__dict__.update(state)
    assert old.rows() == comparison.rows()


def stuck(n_folds, n_images, right):
    """A baseline that names one of two classes for ever, and a candidate that is right on so many images per fold."""
    y = np.tile(["ant", "bee"], n_images // 2)
    folds = np.arange(n_images).reshape(n_folds, -1)
    learned = y.copy()
    for fold, n_right in zip(folds, right, strict=True):
        wrong = fold[n_right:]
        learned[wrong] = np.where(y[wrong] == "ant", "bee", "ant")
    splits = [(np.setdiff1d(np.arange(n_images), fold), fold) for fold in folds]
    return y, {"scratch": np.full(n_images, "ant"), "frozen": learned}, splits


def test_a_baseline_that_is_stuck_on_every_fold_hides_no_difference():
    y, predicted, splits = stuck(2, 60, [28, 28])
    predicted["other"] = np.where(np.arange(60) % 30 < 29, predicted["frozen"], "ant")  # worse by a little
    comparison = make(y, predicted, splits)
    assert comparison.scores["frozen"].tolist() == pytest.approx([28 / 30, 28 / 30])
    assert comparison.scores["scratch"].tolist() == [0.5, 0.5]
    assert [row.verdict for row in comparison.rows()] == ["baseline", "transfer helps", "transfer helps"]
    assert comparison.rows()[1].low > 0.01
    assert not any("same on every split" in note for note in comparison.notes())
    assert replace(comparison, interval="corrected").rows()[1].verdict == "undecided"


def test_nobody_is_advised_to_do_without_a_network_that_the_images_speak_for():
    y, predicted, splits = stuck(3, 39 * 2, [25, 24, 25])
    predicted = {"scratch": predicted["scratch"], "frozen": predicted["frozen"]}
    predicted["pixels"] = np.where(np.arange(78) % 26 < 3, y, predicted["scratch"])
    comparison = make(y, predicted, splits)
    assert comparison.scores["frozen"].mean() == pytest.approx(0.949, abs=5e-4)
    assert comparison.scores["pixels"].mean() < 0.6
    for interval in ("auto", "corrected"):
        assert not any("which needs no network" in note for note in replace(comparison, interval=interval).notes())


@pytest.mark.parametrize(("n_right", "said"), [(6, "is worse than"), (25, "is not clearly better than"), (30, None)])
def test_the_note_on_a_simple_candidate_says_scores_difference_and_interval(n_right, said):
    y, predicted, splits = stuck(2, 60, [n_right, n_right])
    predicted["pixels"] = np.where(np.arange(60) % 30 < 24, y, "cow")
    comparison = make(y, predicted, splits)
    found = [note for note in comparison.notes() if "which needs no network" in note]
    if said is None:
        assert found == []
        return
    pixels = replace(comparison, baseline="pixels").rows()[1]
    interval = f"{pixels.low:+.3f} to {pixels.high:+.3f}"
    assert found == [
        f"'frozen' {said} a linear model on small pictures ('pixels'), which needs no network: {n_right / 30:.3f} "
        f"beside 0.800, a difference of {pixels.difference:+.3f} (95 % interval {interval})."
    ]


@pytest.mark.parametrize(
    ("n_repeats", "settings", "said"),
    [
        (1, {}, r", or more repeats \(n_repeats=3\), whose worth one draw of the folds does not tell, if the"),
        (1, {"cv": "KFold(5)"}, r", or more repeats \(RepeatedStratifiedKFold\), whose worth one draw of the folds"),
        (3, {"n_repeats": 3}, r", or n_repeats=\d+ \(now 3\), if the|, and no number of repeats will, if the"),
    ],
)
def test_indecision_says_what_repeats_can_do_where_it_can_be_told(n_repeats, settings, said):
    y, rng = np.tile(["ant", "bee"], 30), np.random.default_rng(0)
    predicted = {name: np.where(rng.random(60) < 0.3, "cow", y) for name in ("scratch", "frozen")}
    comparison = replace(make(y, predicted, split_up(60, 5, n_repeats)), settings=settings)
    assert comparison.verdict == "undecided"
    (note,) = (note for note in comparison.notes() if note.startswith("What would settle it"))
    assert re.search(said, note)
