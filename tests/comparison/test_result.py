import json
import pickle
import sys

import numpy as np
import pytest
from matplotlib import pyplot
from scipy import stats

from sktl.comparison import ComparisonDisplay, TransferComparison


def make(scores, transfer=("frozen", "fine_tuned"), baseline="from_scratch", rope=0.01, n_train=80, n_test=20):
    scores = {name: np.array(values, dtype=float) for name, values in scores.items()}
    n_splits = len(next(iter(scores.values())))
    return TransferComparison(
        scores=scores,
        fit_seconds={name: np.full(n_splits, 12.5) for name in scores},
        predict_seconds={name: np.full(n_splits, 0.25) for name in scores},
        n_trained_parameters=dict.fromkeys(scores) | {"from_scratch": 722_000},
        transfer={name: name in transfer for name in scores},
        n_train=np.full(n_splits, n_train),
        n_test=np.full(n_splits, n_test),
        seeds=tuple(range(n_splits)),
        baseline=baseline,
        scoring="accuracy",
        rope=rope,
        settings={"task": "classification"},
    )


SCRATCH = [0.60, 0.62, 0.58, 0.61, 0.59]
UP = [0.80, 0.81, 0.79, 0.82, 0.80]
DOWN = [0.40, 0.41, 0.39, 0.42, 0.40]
MIXED = [0.75, 0.55, 0.70, 0.54, 0.66]
ALIKE = [0.601, 0.619, 0.581, 0.609, 0.591]
GUESSES = [0.1, 0.1, 0.11, 0.1, 0.1]


@pytest.mark.parametrize(
    ("scores", "verdict", "words"),
    [
        (UP, "transfer helps", "Transfer helps: 'frozen' scores 0.204 higher in accuracy than 'from_scratch' (95 %"),
        (DOWN, "negative transfer", "Negative transfer: 'frozen' scores 0.196 lower in accuracy than 'from_scratch'"),
        (ALIKE, "practically equal", "which is within ±0.01 and makes no difference in practice."),
        (MIXED, "undecided", "which may be chance."),
    ],
)
def test_verdict_in_words(scores, verdict, words):
    comparison = make({"from_scratch": SCRATCH, "frozen": scores})
    assert comparison.verdict == verdict
    assert words in str(comparison).splitlines()[0]


def test_negative_transfer_of_the_best_of_several_says_so():
    comparison = make({"from_scratch": SCRATCH, "frozen": GUESSES, "fine_tuned": DOWN})
    assert str(comparison).startswith("Negative transfer: even 'fine_tuned' scores")


def test_transfer_words_are_kept_for_comparisons_of_transfer_with_no_transfer():
    comparison = make({"from_scratch": SCRATCH, "other": UP, "dummy": GUESSES}, transfer=())
    assert [row.verdict for row in comparison.rows()] == ["baseline", "better", "worse"]
    guessing = make({"dummy": GUESSES, "frozen": UP}, baseline="dummy")
    assert guessing.verdict == "better"
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
    amount = {0.0: "the same in accuracy as", 0.1: "+0.100 in accuracy against", -0.1: "-0.100 in accuracy against"}
    assert text.startswith(f"Undecided: 'frozen' scores {amount[gain]} 'from_scratch' on every split")
    assert "nan" not in text + comparison._repr_html_()
    (line,) = [line for line in text.splitlines() if line.startswith("frozen")]
    assert line.split()[-3:] == ["–", "–", "undecided"]
    json.dumps(comparison.to_dict(), allow_nan=False)
    pyplot.close(comparison.plot().figure_)


def test_ten_pictures_that_all_come_out_right_are_no_certainty():
    comparison = make({"from_scratch": [1.0] * 5, "frozen": [1.0] * 5}, n_train=8, n_test=2)
    assert comparison.verdict == "undecided"
    assert "100 %" not in str(comparison)


def test_a_constant_lead_over_guessing_is_not_called_no_better_than_guessing():
    comparison = make({"dummy": [0.5] * 5, "from_scratch": [0.9] * 5, "frozen": [1.0] * 5})
    assert not any("guessing" in note for note in comparison.notes())
    level = make({"dummy": [0.5] * 5, "from_scratch": [0.9] * 5, "frozen": [0.5] * 5})
    assert any("not clearly better than guessing" in note for note in level.notes())


def test_weights_of_unknown_origin_are_noted():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    comparison.settings["networks"] = {"from_scratch": {"weights": None}, "frozen": {"weights": "its own"}}
    assert any("nothing shows how they came about" in note and "'frozen'" in note for note in comparison.notes())
    comparison.settings["networks"]["frozen"] = {"weights": "default"}
    assert comparison.notes() == []


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
    assert any("not clearly better than guessing" in note for note in comparison.notes())


def test_indecision_says_how_many_images_would_settle_it():
    (note,) = make({"from_scratch": SCRATCH, "frozen": MIXED}).notes()
    assert note.startswith("What would settle it: about ")
    assert "(now 100)" in note
    at_the_edge = np.array(SCRATCH) + [0.0, 0.02, 0.0, 0.02, 0.01]
    (note,) = make({"from_scratch": SCRATCH, "frozen": at_the_edge}).notes()
    assert "more than 100 times the 100 images" in note


def test_frames_hold_one_row_per_fit_and_per_candidate():
    comparison = make({"from_scratch": SCRATCH, "frozen": UP})
    frame = comparison.frame()
    assert frame.shape == (10, 8)
    assert frame.groupby("candidate")["score"].mean()["frozen"] == pytest.approx(np.mean(UP))
    summary = comparison.summary()
    assert summary.index.tolist() == ["from_scratch", "frozen"]
    assert summary.loc["frozen", "verdict"] == "transfer helps"
    assert summary.shape == (2, 13)


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


def test_plot_returns_a_display():
    assert isinstance(make({"from_scratch": SCRATCH, "frozen": UP}).plot(), ComparisonDisplay)
