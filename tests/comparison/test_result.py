import copy
import json
import pickle
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot
from scipy import stats
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from sktl._costs import COSTS
from sktl._text import number
from sktl.comparison import FitRecord, TransferComparison, _result
from sktl.displays import ComparisonDisplay


def make(scores, transfer=("frozen", "fine_tuned"), baseline="from_scratch", rope=0.01, n_train=80, n_test=20, **more):
    """A comparison with these scores, on splits of these sizes."""
    n_splits = len(next(iter(scores.values())))
    runs = tuple(
        FitRecord(name, split, {"accuracy": float(score)}, 12.5, 0.25, 722_000 if name == "from_scratch" else None)
        for name, values in scores.items()
        for split, score in enumerate(values)
    )
    indices = np.arange(n_train + n_test)
    return TransferComparison(
        runs=runs + more.get("runs", ()),
        splits=tuple((indices[:n_train], indices[n_train:]) for _ in range(n_splits)),
        y=indices % 2,
        seeds=tuple(range(n_splits)),
        baseline=baseline,
        scoring="accuracy",
        rope=rope,
        transfer={name: name in transfer for name in [*scores, "broken"]},
        settings={"task": "classification"},
    )


SCRATCH = [0.60, 0.62, 0.58, 0.61, 0.59]
UP = [0.80, 0.81, 0.79, 0.82, 0.80]
DOWN = [0.40, 0.41, 0.39, 0.42, 0.40]
MIXED = [0.75, 0.55, 0.70, 0.54, 0.66]
ALIKE = [0.601, 0.619, 0.581, 0.609, 0.591]
CHANCE = [0.1, 0.1, 0.11, 0.1, 0.1]
SLIGHTLY = [0.608, 0.63, 0.586, 0.62, 0.597]  # higher than SCRATCH by more than chance, and by a little less than 0.01


@pytest.mark.parametrize(
    ("scores", "verdict", "words"),
    [
        (UP, "transfer helps", "Transfer helps: 'frozen' scores 0.804 in accuracy, 0.204 higher (95 % interval +0.187"),
        (UP, "transfer helps", " to +0.221) than 'from_scratch' with 0.600."),
        (DOWN, "negative transfer", "Negative transfer: 'frozen' scores 0.404 in accuracy, 0.196 lower (95 % interval"),
        (ALIKE, "practically equal", "which is within ±0.01 and makes no difference in practice."),
        (MIXED, "undecided", "which may be chance."),
        (
            SLIGHTLY,
            "undecided",
            " with 0.600: more than chance, and within ±0.01, though it may be beyond.",
        ),
    ],
)
def test_verdict_in_words(scores, verdict, words):
    comparison = make({"from_scratch": SCRATCH, "frozen": scores})
    assert comparison.verdict == verdict
    assert words in str(comparison).splitlines()[0]


def test_negative_transfer_of_the_best_of_several_says_so():
    comparison = make({"from_scratch": SCRATCH, "frozen": CHANCE, "fine_tuned": DOWN})
    assert str(comparison).startswith("Negative transfer: even 'fine_tuned' scores")


def test_transfer_words_are_kept_for_comparisons_of_transfer_with_no_transfer():
    comparison = make({"from_scratch": SCRATCH, "other": UP, "dummy": CHANCE}, transfer=())
    assert [row.verdict for row in comparison.rows()] == ["baseline", "better", "worse"]
    to_chance = make({"dummy": CHANCE, "frozen": UP}, baseline="dummy")
    assert to_chance.verdict == "better"
    both = make({"fine_tuned": SCRATCH, "frozen": UP}, baseline="fine_tuned")
    assert both.verdict == "better"


def test_headline_is_the_best_candidate_with_transfer():
    comparison = make({"from_scratch": SCRATCH, "frozen": MIXED, "fine_tuned": UP, "other": [0.9] * 5})
    assert comparison.headline.candidate == "fine_tuned"


def test_rows_hold_the_corrected_numbers():
    row = make({"from_scratch": SCRATCH, "frozen": MIXED}).rows()[1]
    differences = np.array(MIXED) - SCRATCH
    error = np.sqrt((1 / 5 + 20 / 80) * differences.var(ddof=1))
    expected = stats.t.interval(0.95, 4, loc=differences.mean(), scale=error)
    assert (row.low, row.high) == pytest.approx(expected)
    assert row.better == pytest.approx(stats.t.sf(0.01, 4, differences.mean(), error))
    assert row.worse + row.equal + row.better == pytest.approx(1)
    assert row.mean == pytest.approx(np.mean(MIXED))
    assert row.sd == pytest.approx(np.std(MIXED, ddof=1))
    assert row.splits_won == 3


@pytest.mark.parametrize("gain", [0.0, 0.1, -0.1])
@pytest.mark.parametrize("n_splits", [3, 5, 20])
def test_equal_differences_decide_nothing_however_many_folds(gain, n_splits):
    scratch = np.resize([0.5, 0.6, 0.7], n_splits)
    comparison = make({"from_scratch": scratch, "frozen": scratch + gain})
    row = comparison.headline
    assert comparison.verdict == "undecided"
    assert np.isnan([row.low, row.high, row.worse, row.equal, row.better]).all()
    assert any("there is no interval and no verdict" in note for note in comparison.notes())
    text = str(comparison)
    amount = {0.0: "the same as", 0.1: "0.100 higher than", -0.1: "0.100 lower than"}
    start = f"Undecided: 'frozen' scores {number(scratch.mean() + gain)} in accuracy, {amount[gain]} 'from_scratch'"
    assert text.startswith(start)
    assert "on every split, which does not tell how far chance could move it." in text.splitlines()[0]
    assert "nan" not in text + comparison._repr_html_()
    line, p_values = [line for line in text.splitlines() if line.startswith("frozen")]
    assert p_values.split()[1:] == ["–", "–"]
    assert line.split()[-3:] == ["–", "–", "undecided"]
    json.dumps(comparison.to_dict(), allow_nan=False)
    pyplot.close(comparison.plot().figure_)


def test_ten_pictures_that_all_come_out_right_are_no_certainty():
    comparison = make({"from_scratch": [1.0] * 5, "frozen": [1.0] * 5}, n_train=8, n_test=2)
    assert comparison.verdict == "undecided"
    assert "100 %" not in str(comparison)


def test_a_constant_lead_over_chance_level_is_not_called_no_better():
    comparison = make({"dummy": [0.5] * 5, "from_scratch": [0.9] * 5, "frozen": [1.0] * 5})
    assert not any("chance level" in note for note in comparison.notes())
    level = make({"dummy": [0.5] * 5, "from_scratch": [0.9] * 5, "frozen": [0.5] * 5})
    assert any("not clearly better than chance level" in note for note in level.notes())


def test_weights_of_unknown_origin_are_noted():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    comparison.settings["networks"] = {"from_scratch": {"weights": None}, "frozen": {"weights": "its own"}}
    assert any("nothing shows how they came about" in note and "'frozen'" in note for note in comparison.notes())
    known = {"networks": {"frozen": {"weights": "default"}}}
    assert replace(comparison, settings=comparison.settings | known).notes() == []


def test_one_split_is_undecided_and_says_why():
    comparison = make({"from_scratch": [0.5], "frozen": [0.9]})
    assert comparison.verdict == "undecided"
    assert "One split says nothing about the spread" in str(comparison)
    assert "nan" not in str(comparison)


def test_few_splits_are_noted():
    assert any("Only 2 splits" in note for note in make({"from_scratch": [0.5, 0.6], "frozen": [0.6, 0.9]}).notes())
    assert make({"from_scratch": SCRATCH, "frozen": UP}).notes() == []


def test_a_comparison_at_chance_is_noted():
    comparison = make({"dummy": MIXED, "from_scratch": SCRATCH, "frozen": [0.61, 0.63, 0.60, 0.62, 0.61]})
    assert any("not clearly better than chance level" in note for note in comparison.notes())


def test_indecision_says_how_many_images_would_settle_it():
    (note,) = make({"from_scratch": SCRATCH, "frozen": MIXED}).notes()
    assert note.startswith("What would settle it: about ")
    assert "(now 100)" in note
    at_the_edge = np.array(SCRATCH) + [0.0, 0.02, 0.0, 0.02, 0.01]
    (note,) = make({"from_scratch": SCRATCH, "frozen": at_the_edge}).notes()
    assert "more than 100 times the 100 images" in note


def test_indecision_says_how_many_repeats_would_settle_it_or_that_none_will():
    (note,) = make({"from_scratch": SCRATCH, "frozen": MIXED}).notes()
    assert ", and no number of repeats will, if the difference" in note
    better = np.array(SCRATCH) + [0.04, 0.07, 0.0, 0.08, 0.06]
    comparison = make({"from_scratch": SCRATCH, "frozen": better})
    comparison.settings["n_repeats"] = 3
    (note,) = comparison.notes()
    assert re.search(r", or n_repeats=\d+ \(now 3\), if the difference", note)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cv": repr(StratifiedKFold(5))}, "or more repeats (RepeatedStratifiedKFold), about "),
        ({"cv": repr(KFold(5)), "task": "regression"}, "or more repeats (RepeatedKFold), about "),
        ({"cv": repr(GroupKFold(5)), "groups": True}, "or more repeats, about "),
        ({"cv": "[(array([0]), array([1]))]"}, "or more repeats (RepeatedStratifiedKFold), about "),
    ],
)
def test_n_repeats_is_not_advised_with_a_splitter(settings, words):
    better = np.array(SCRATCH) + [0.04, 0.07, 0.0, 0.08, 0.06]
    comparison = make({"from_scratch": SCRATCH, "frozen": better})
    comparison.settings.update(settings)
    (note,) = comparison.notes()
    assert words in note
    assert "n_repeats" not in note


def test_p_values_are_corrected_for_all_candidates_but_the_baseline():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP, "fine_tuned": MIXED, "dummy": CHANCE})
    rows = {row.candidate: row for row in comparison.rows()}
    error = np.sqrt((1 / 5 + 20 / 80) * np.var(np.array(MIXED) - SCRATCH, ddof=1))
    expected = 2 * stats.t.sf(abs(np.mean(MIXED) - np.mean(SCRATCH)) / error, 4)
    assert rows["fine_tuned"].p_value == rows["fine_tuned"].p_value_holm == pytest.approx(expected)
    smallest = min((rows[name] for name in ("frozen", "dummy")), key=lambda row: row.p_value)
    assert smallest.p_value_holm == pytest.approx(3 * smallest.p_value)
    assert rows["from_scratch"].p_value is rows["from_scratch"].p_value_holm is None


def with_predictions(predicted, task="classification"):
    """Three images tested in each of two repeats of two splits, and what two candidates predicted for them."""
    splits = tuple((np.array([5, 6]), np.array(test)) for test in ([0, 1], [2], [2, 1], [0]))
    runs = tuple(
        FitRecord(name, split, {"accuracy": 0.5 + split / 10}, 1.0, 1.0, predicted=part)
        for name, parts in predicted.items()
        for split, part in enumerate(parts)
    )
    return TransferComparison(
        runs, splits, y=np.array(["a", "b", "a", "b", "a", "b", "b"]), seeds=(0, 1, 2, 3), baseline="base",
        scoring="accuracy", rope=0.01, transfer=dict.fromkeys(predicted, False), settings={"task": task},
    )  # fmt: skip


PREDICTED = {
    "base": [["a", "a"], ["b"], ["b", "a"], ["b"]],  # image 0: right, wrong; 1: wrong, wrong; 2: wrong, wrong
    "other": [["a", "b"], ["a"], ["b", "b"], ["a"]],  # image 0: right, right; 1: right, right; 2: right, wrong
}


def test_image_by_image_the_repeats_are_averaged_before_images_are_compared():
    base, other = with_predictions(PREDICTED).rows()
    gains = np.array([0.5, 1.0, 0.5])
    expected = np.clip(stats.ttest_1samp(gains, 0).confidence_interval(0.95), -1, 1)
    assert expected[1] == 1
    assert other.image_difference == pytest.approx(gains.mean())
    assert (other.image_low, other.image_high) == pytest.approx(tuple(expected))
    assert base.image_difference is None
    assert with_predictions(PREDICTED, task="regression").rows()[1].image_difference is None


def test_predictions_that_were_not_kept_are_an_error_where_they_are_asked_for():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    assert comparison.rows()[1].image_difference is None
    with pytest.raises(ValueError, match="predictions of 'frozen' must have been kept"):
        comparison.out_of_fold("frozen")


def test_a_candidate_that_failed_is_listed_and_left_out_everywhere_else():
    failed = FitRecord("broken", 1, {}, error="ValueError: no")
    comparison = make({"from_scratch": SCRATCH, "frozen": UP}, runs=(FitRecord("broken", 0, {"accuracy": 1.0}), failed))
    assert comparison.candidates == ["from_scratch", "frozen"]
    assert comparison.failures == [failed]
    assert comparison.notes() == ["Candidate 'broken' failed on split 2 of 5 and is left out: ValueError: no"]
    assert comparison.to_dict()["failures"] == [{"candidate": "broken", "split": 1, "error": "ValueError: no"}]
    assert "broken" not in str(comparison).partition("Note:")[0]
    assert "broken" in comparison._repr_html_()


def test_a_linear_model_on_pixels_that_is_as_good_is_noted():
    comparison = make({"pixels": [0.79, 0.82, 0.80, 0.81, 0.80], "from_scratch": SCRATCH, "frozen": UP})
    assert any("not clearly better than a linear model on small pictures" in note for note in comparison.notes())


def test_unknown_names_are_an_error_with_a_suggestion():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        comparison.scores_of("acuracy")
    with pytest.raises(ValueError, match="Did you mean 'frozen'"):
        comparison.histories("frozn")


def test_frames_hold_one_row_per_fit_and_per_candidate():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    frame = comparison.frame()
    assert frame.shape == (10, 13)
    assert list(frame.columns[6:12]) == list(COSTS)
    assert frame.groupby("candidate")["score"].mean()["frozen"] == pytest.approx(np.mean(UP))
    summary = comparison.summary()
    assert summary.index.tolist() == ["from_scratch", "frozen"]
    assert summary.loc["frozen", "verdict"] == "transfer helps"
    assert summary.shape == (2, 22)


@pytest.mark.parametrize("method", ["frame", "summary"])
def test_without_pandas_the_message_says_what_to_install(method, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=f"TransferComparison.{method} needs pandas"):
        getattr(make({"from_scratch": SCRATCH, "frozen": UP}), method)()


def test_dictionary_is_json_without_numbers_that_json_does_not_know():
    content = make({"from_scratch": [0.5], "frozen": [0.9]}).to_dict()
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text)["candidates"][1]["low"] is None
    assert content["verdict"] == "undecided"
    assert content["scores"] == {"from_scratch": [0.5], "frozen": [0.9]}


def test_dictionary_writes_what_json_cannot_hold_as_text():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    comparison.settings.update(value_range=(0, np.float32(16)), module=object)
    assert comparison.to_dict()["settings"]["value_range"] == [0, 16.0]
    assert comparison.to_dict()["settings"]["module"] == "<class 'object'>"


def test_pickling_keeps_everything():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    assert str(pickle.loads(pickle.dumps(comparison))) == str(comparison)


@pytest.fixture
def n_summed_up(monkeypatch):
    """How often the rows and the notes of comparisons are made."""
    counts = {"rows": 0, "notes": 0}

    def counted(name, make):
        def made(comparison):
            counts[name] += 1
            return make(comparison)

        return made

    for name in counts:
        where = f"make_{name}"
        monkeypatch.setattr(_result, where, counted(name, getattr(_result, where)))
    return counts


def test_a_report_makes_the_rows_and_the_notes_once(n_summed_up, make_comparison, pictures, tmp_path):
    comparison = make_comparison()
    comparison.report(tmp_path / "report.html", X=pictures)
    assert n_summed_up == {"rows": 1, "notes": 1}
    comparison.report(tmp_path / "again.html"), comparison.plot(), comparison.summary(), comparison.to_dict()
    assert str(comparison)
    assert comparison._repr_html_()
    assert n_summed_up == {"rows": 1, "notes": 1}


def test_what_is_handed_out_may_be_changed_without_harm():
    comparison = make({"from_scratch": SCRATCH, "frozen": [0.61, 0.63, 0.60, 0.62, 0.61]})
    before = str(comparison)
    for given in (comparison.candidates, comparison.rows(), comparison.notes(), comparison.runs_of("frozen")):
        given.clear()
    comparison.scores["frozen"][:] = 0
    comparison.fit_seconds["frozen"][:] = 0
    assert str(comparison) == before
    assert comparison.scores["frozen"].tolist() == [0.61, 0.63, 0.60, 0.62, 0.61]
    assert len(comparison.runs_of("frozen")) == 5


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_hold_the_fields_alone_and_sum_up_anew(copied, n_summed_up):
    comparison = make({"from_scratch": SCRATCH, "frozen": MIXED})
    size = len(pickle.dumps(comparison))
    rows = comparison.rows()
    assert len(pickle.dumps(comparison)) == size
    assert copied(comparison).rows() == rows
    assert n_summed_up["rows"] == 2


def test_a_comparison_with_another_region_of_equivalence_is_another_one():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    assert comparison.verdict == "transfer helps"
    assert replace(comparison, rope=0.5).verdict == "practically equal"
    assert comparison != replace(comparison)


def test_plot_returns_a_display():
    assert isinstance(make({"from_scratch": SCRATCH, "frozen": UP}).plot(), ComparisonDisplay)
