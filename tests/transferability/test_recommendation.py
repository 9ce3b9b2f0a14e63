"""What a recommendation says, for scores that are known."""

import pickle

import numpy as np
import pytest

from sktl import FineTuneClassifier
from sktl.comparison import FitRecord, TransferComparison
from sktl.displays import StrategyDisplay
from sktl.feature_extraction.frozen_pipeline import frozen_pipeline
from sktl.transferability import LabelCurve, Quadrant, StrategyCost, StrategyRecommendation
from sktl.transferability._bias_corrected import CorrectedScore
from sktl.transferability._strategies import Strategy

STAGES = ("stem", "top")
SCORES = {
    "dummy": 0.3,
    "pixels": 0.5,
    "frozen_random": 0.55,
    "frozen": 0.8,
    "frozen_stem_avg+std": 0.6,
    "frozen_top_avg+std": 0.75,
    "fine_tuned_1": 0.85,
}
STRATEGIES = (
    Strategy("frozen", "frozen", STAGES, frozen_pipeline("classification"), "avg+std"),
    Strategy("frozen_stem_avg+std", "frozen", ("stem",), frozen_pipeline("classification"), "avg+std"),
    Strategy("frozen_top_avg+std", "frozen", ("top",), frozen_pipeline("classification"), "avg+std"),
    Strategy("fine_tuned_1", "fine-tuned", ("top",), FineTuneClassifier(), depth=1),
    Strategy("fine_tuned_all", "fine-tuned", STAGES, FineTuneClassifier(unfreeze_depth="all"), depth="all"),
)
COSTS = {one.name: StrategyCost(10.0 * place + 1, 50.0 * place) for place, one in enumerate(STRATEGIES)}
JITTER = np.array([[0, 1, 2, 3, 4], [1, 3, 0, 2, 4], [4, 2, 0, 1, 3]]) - 2.0


def comparison(scores=SCORES, jitter=0.001):
    folds = np.arange(100).reshape(5, 20)
    runs = tuple(
        FitRecord(name, split, {"accuracy": score + jitter * JITTER[place // 2 % 3, split]}, 1.0 + place, 0.5)
        for place, (name, score) in enumerate(scores.items())
        for split in range(5)
    )
    return TransferComparison(
        runs,
        tuple((np.setdiff1d(np.arange(100), fold), fold) for fold in folds),
        y=np.arange(100) % 2,
        seeds=(1, 2, 3, 4, 5),
        baseline="frozen",
        scoring="accuracy",
        rope=0.01,
        transfer={name: name.startswith(("frozen", "fine")) for name in scores},
        settings={"task": "classification", "n_images": 100, "score_bounds": {"accuracy": (0.0, 1.0)}},
    )


def recommendation(recommended="fine_tuned_1", scores=SCORES, jitter=0.001, **changes):
    curve = LabelCurve(np.array([20, 40, 80]), np.full((3, 5), 0.7), gain=0.02, low=-0.01, high=0.05)
    given = {
        "comparison": comparison(scores, jitter),
        "strategies": STRATEGIES,
        "costs": COSTS,
        "recommended": recommended,
        "level": (recommended,),
        "untried": {"fine_tuned_all": "its folds would take about 200 s, and the budget has 60 s left"},
        "labels": curve,
        "quadrant": Quadrant("small", "similar", 0.6),
        "peak": "top",
        "budget": 300.0,
        "spent": 240.0,
        "corrected": CorrectedScore(3, 0.85, 0.83, 0.78, 0.9, np.array([0.0, 0.0, 0.1, 0.9])),
    }
    return StrategyRecommendation(**given | changes)


def text(result):
    return " ".join(repr(result).split())


def test_the_answer_says_what_to_do_what_it_gains_and_what_it_costs():
    answer = recommendation().to_dict()["answer"]
    assert answer.startswith("Fine-tune the top stage: accuracy 0.850, +0.050 (95 % interval +0.0")
    assert answer.endswith("over frozen features of all stages; about 31 s to fit on all images.")
    answer = recommendation("frozen").to_dict()["answer"]
    assert answer == (
        "Frozen features of all stages (avg+std) with a linear model: accuracy 0.800; about 1.0 s to fit on all images."
    )


def test_the_table_shows_what_was_tried_and_what_not():
    lines = repr(recommendation()).splitlines()
    (tried,) = (line for line in lines if line.startswith("fine_tuned_1"))
    assert tried.split()[:3] == ["fine_tuned_1", "←", "0.850"]
    assert tried.split()[-3:] == ["31", "150", "38"]  # to fit, of the folds, and measured: 5 × (7 + 0.5)
    (untried,) = (line for line in lines if line.startswith("fine_tuned_all"))
    assert untried.split() == ["fine_tuned_all", "–", "41", "200", "not", "tried"]
    assert not any(line.startswith("frozen_stem") for line in lines)  # which stands in the table of stages


def test_stages_and_labels_have_tables():
    lines = [line.split() for line in repr(recommendation()).splitlines()]
    for row in (["stem", "–", "0.600"], ["top", "–", "0.750"], ["all", "stages", "–", "0.800"], ["80", "0.700"]):
        assert row in lines
    assert ["pixels", "0.500"] in lines


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "'top' has the best features, the top one"),
        ({"peak": "stem"}, "'stem' has the best features, and not the top one, 'top': those above it may need"),
        ({}, "'frozen' stands for all choices of stages and pooling unless one is clearly better"),
        ({}, "it is 0.850, and 0.830 (95 % interval 0.780 to 0.900) once corrected for that (BBC-CV)"),
        ({"corrected": None}, "chosen among several on the same folds, so that it is rather too high"),
        ({}, "Not tried: 'fine_tuned_all' (its folds would take about 200 s"),
        ({}, "Textbook: this is small and similar (pretraining gains 60% of what"),
        ({}, "do not fine-tune: a linear model on frozen features. Your data say: fine-tune the top stage."),
        ({"quadrant": Quadrant("medium", "in between", 0.3)}, "no rule for that"),
        ({}, "240 s of a budget of 300 s were spent"),
        (
            {"level": ("frozen", "fine_tuned_1"), "recommended": "frozen"},
            "do not tell 'frozen' from 'fine_tuned_1', which scores best; the cheapest of them is recommended. "
            "'fine_tuned_1' has +0.050",
        ),
        ({"level": ("frozen", "fine_tuned_1"), "recommended": "frozen"}, "for 31 s instead of 1.0 s"),
        (
            {"level": ("fine_tuned_1", "frozen")},
            "do not tell 'frozen' from 'fine_tuned_1', which scores best; the cheapest of them is recommended. More",
        ),
    ],
)
def test_notes(changes, expected):
    assert expected in text(recommendation(**changes))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, []),
        ({"pixels": 0.848}, ["which needs no network): 0.850 beside 0.848, +0.002."]),  # all folds alike
        ({"frozen_random": 0.848}, ["which need no pretraining): 0.850 beside 0.848, +0.002 (95 % interval"]),
        ({"frozen_random": 0.9}, ["which need no pretraining): 0.850 beside 0.900, -0.050"]),
        ({"pixels": 0.9, "frozen_random": 0.9}, ["better than 'pixels' (", "better than 'frozen_random' ("]),
        ({"dummy": 0.848, "pixels": 0.9}, ["not clearly better than 'dummy' (chance level)"]),
    ],
)
def test_what_is_as_good_without_pretraining_is_said_first(scores, said):
    notes = recommendation(scores=SCORES | scores).to_dict()["notes"]
    assert sum("not clearly better than" in note for note in notes) == len(said)
    for note, words in zip(notes, said, strict=False):
        assert words in note


def test_what_is_not_known_is_not_said():
    result = recommendation(quadrant=Quadrant("small", None, None), untried={}, level=("fine_tuned_1",))
    assert "Textbook" not in text(result)
    assert "Not tried" not in text(result)
    assert "These data do not tell" not in text(result)


@pytest.mark.parametrize(
    ("gain", "tuned", "jitter", "expected"),
    [
        ((0.02, -0.01, 0.05), 0.85, 0.001, "Clear is what training gained."),
        ((0.02, 0.01, 0.03), 0.85, 0.001, "Clear is what training gained, the greater."),
        ((0.2, 0.1, 0.3), 0.85, 0.001, "Clear is what more labels gained, the greater."),
        ((0.02, 0.01, 0.03), 0.79, 0.001, "Clear is what more labels gained."),
        ((0.02, -0.01, 0.05), 0.85, 0.05, "Both may be chance."),
    ],
)
def test_labels_or_training(gain, tuned, jitter, expected):
    curve = LabelCurve(np.array([40, 80]), np.full((2, 5), 0.7), *gain)
    result = recommendation(scores=SCORES | {"fine_tuned_1": tuned}, jitter=jitter, labels=curve)
    assert expected in text(result)
    assert "from 40 to 80 labels the frozen network gained" in text(result)


def test_html_holds_the_same_with_every_text_escaped():
    result = recommendation(untried={"fine_tuned_all": "a < b"})
    html = result._repr_html_()
    assert "a &lt; b" in html
    assert result.to_dict()["answer"].replace("'", "&#x27;") in html


def test_what_is_drawn_are_the_numbers_of_the_recommendation():
    display = StrategyDisplay.from_recommendation(recommendation())
    assert display.stages == ["stem", "top", "all"]
    np.testing.assert_allclose(display.by_stage["avg+std"], [0.6, 0.75, 0.8])
    assert np.isnan(display.by_stage["avg"]).all()
    assert display.strategies == ["frozen", "fine_tuned_1", "fine_tuned_all"]
    np.testing.assert_allclose(display.scores, [0.8, 0.85, np.nan])
    assert display.fit_seconds == [1.0, 31.0, 41.0]
    low, high = display.intervals[1]
    assert low < 0.85 < high
    assert np.isnan(display.intervals[2]).all()
    assert recommendation().plot().recommended == "fine_tuned_1"


def test_a_recommendation_can_be_pickled():
    result = recommendation()
    assert repr(pickle.loads(pickle.dumps(result))) == repr(result)
