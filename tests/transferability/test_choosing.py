"""Which strategy follows from which scores, when a search is over, and which cell of the textbook it is."""

import time
from itertools import chain

import numpy as np
import pytest

from sktl.comparison import FitRecord, TransferComparison
from sktl.transferability import _search
from sktl.transferability._choosing import Quadrant, choose, peak_stage, quadrant_of
from sktl.transferability._costs import StrategyCost
from sktl.transferability._search import search_depths
from sktl.transferability._strategies import Strategy

STAGES = ("stem", "middle", "top")
SPREAD = 0.001 * np.array([-2, -1, 0, 1, 2])
BASE = {"dummy": 0.3, "pixels": 0.5, "frozen_random": 0.5, "frozen": 0.8}
SINGLE = {"frozen_stem_avg+std": 0.6, "frozen_middle_avg+std": 0.7, "frozen_top_avg+std": 0.75}
TRAINED = ("fine_tuned_1", "fine_tuned_2", "fine_tuned_all", "from_scratch")
SECONDS = {name: place for place, name in enumerate([*BASE, *SINGLE, *TRAINED])}


def runs_of(scores, jitter):
    generator = np.random.default_rng(len(scores))
    return tuple(
        FitRecord(name, split, {"accuracy": score + noise}, fit_seconds=1.0, predict_seconds=0.1)
        for name, score in scores.items()
        for split, noise in enumerate(generator.permutation(SPREAD) * jitter)
    )


def comparison(scores, *, jitter=1.0, n=100, rope=0.01, **settings):
    """A comparison whose mean scores are these, with differences that jitter from fold to fold."""
    folds = np.arange(n).reshape(5, -1)
    return TransferComparison(
        runs_of(scores, jitter),
        tuple((np.setdiff1d(np.arange(n), fold), fold) for fold in folds),
        y=np.arange(n) % 2,
        seeds=(1, 2, 3, 4, 5),
        baseline="frozen",
        scoring="accuracy",
        rope=rope,
        transfer={name: name not in ("dummy", "pixels", "frozen_random", "from_scratch") for name in scores},
        settings={"task": "classification", "n_images": n, "score_bounds": {"accuracy": (0.0, 1.0)}, **settings},
    )


def strategies():
    frozen = [Strategy("frozen", "frozen", STAGES, None, "avg+std")]
    frozen += [Strategy(f"frozen_{stage}_avg+std", "frozen", (stage,), None, "avg+std") for stage in STAGES]
    trained = [
        Strategy("fine_tuned_1", "fine-tuned", ("top",), None, depth=1),
        Strategy("fine_tuned_2", "fine-tuned", ("middle", "top"), None, depth=2),
        Strategy("fine_tuned_all", "fine-tuned", STAGES, None, depth="all"),
        Strategy("from_scratch", "from scratch", STAGES, None, depth="all"),
    ]
    return frozen, trained


def chosen(scores, *, seconds=SECONDS, **options):
    return choose(comparison(BASE | SINGLE | scores, **options), list(chain(*strategies())), seconds)


# ---- candidates that failed


def test_a_stage_whose_probe_failed_is_no_peak():
    every = list(chain(*strategies()))
    scored = {name: score for name, score in SINGLE.items() if "top" not in name}
    assert peak_stage(comparison(BASE | scored), every) == "middle"
    assert peak_stage(comparison(BASE), every) == "top"


def test_without_simple_candidates_the_textbook_has_no_cell():
    assert quadrant_of(comparison({"dummy": 0.3, "frozen": 0.8})) == Quadrant("small", None, None)


# ---- what is recommended


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({}, "frozen"),
        ({"fine_tuned_1": 0.805}, "frozen"),  # within the rope
        ({"fine_tuned_1": 0.85}, "fine_tuned_1"),
        ({"fine_tuned_1": 0.85, "fine_tuned_2": 0.855}, "fine_tuned_1"),
        ({"fine_tuned_1": 0.85, "fine_tuned_2": 0.9}, "fine_tuned_2"),
        ({"fine_tuned_1": 0.7, "from_scratch": 0.9}, "from_scratch"),
    ],
)
def test_the_cheapest_strategy_that_is_not_clearly_worse_than_the_best(scores, expected):
    assert chosen(scores)[0] == expected


def test_what_may_be_chance_is_not_paid_for():
    assert chosen({"fine_tuned_1": 0.85}, jitter=60)[0] == "frozen"


def test_another_stage_is_taken_only_where_it_is_clearly_better():
    assert chosen({"frozen_top_avg+std": 0.85})[0] == "frozen_top_avg+std"
    assert chosen({"frozen_top_avg+std": 0.85}, jitter=50)[0] == "frozen"  # one of many, by chance


def test_strategies_that_the_data_do_not_tell_apart_are_named_the_cheapest_first():
    assert chosen({"fine_tuned_1": 0.85}, jitter=60) == ["frozen", "fine_tuned_1"]
    assert chosen({"fine_tuned_1": 0.85}) == ["fine_tuned_1"]


@pytest.mark.parametrize("unknown", [("fine_tuned_1",), ("fine_tuned_1", "fine_tuned_2")])
def test_a_fit_too_short_to_be_timed_is_not_cheaper_than_one_that_trains_less(unknown):
    seconds = SECONDS | dict.fromkeys(unknown, np.nan)
    level = chosen({"fine_tuned_1": 0.85, "fine_tuned_2": 0.86}, jitter=90, seconds=seconds)
    assert level == ["frozen", "fine_tuned_1", "fine_tuned_2"]


def test_without_any_spread_the_difference_decides():
    assert chosen({"fine_tuned_1": 0.805}, jitter=0) == ["frozen", "fine_tuned_1"]
    assert chosen({"fine_tuned_1": 0.85}, jitter=0) == ["fine_tuned_1"]


def test_of_equal_stages_the_upper_one_is_the_peak():
    frozen, _ = strategies()
    assert peak_stage(comparison(BASE | SINGLE), frozen) == "top"
    assert peak_stage(comparison(BASE | SINGLE | {"frozen_middle_avg+std": 0.9}), frozen) == "middle"
    equal = dict.fromkeys(SINGLE, 0.7)
    assert peak_stage(comparison(BASE | equal, jitter=0), frozen) == "top"


# ---- the search


def search(monkeypatch, truth, base=BASE | SINGLE, *, budget=1e9, jitter=1.0, missing=1.0):
    """Search with fits that score as told, and fail where nothing is told."""
    tried = []

    def with_candidates(result, X, estimators, **options):
        (name,) = estimators
        tried.append(name)
        known = {} if name not in truth else {name: truth[name]}
        return comparison(base | {one: truth[one] for one in tried if one in truth} | known, jitter=jitter)

    monkeypatch.setattr(_search, "with_candidates", with_candidates)
    monkeypatch.setattr(_search, "share_missing", lambda *args, **options: missing)
    frozen, trained = strategies()
    costs = {one.name: StrategyCost(10.0, 50.0) for one in trained}
    options = {"end": time.perf_counter() + budget, "scoring": None, "resume": None, "n_jobs": None, "verbose": 0}
    _, untried = search_depths(comparison(base, jitter=jitter), None, frozen, trained, costs, **options)
    return tried, untried


def test_the_search_goes_deeper_as_long_as_that_may_gain(monkeypatch):
    truth = {"fine_tuned_1": 0.85, "fine_tuned_2": 0.9, "fine_tuned_all": 0.95}
    tried, untried = search(monkeypatch, truth)
    assert tried == ["fine_tuned_1", "fine_tuned_2", "fine_tuned_all"]
    assert list(untried) == ["from_scratch"]  # pretrained features are clearly better than random ones
    assert "clearly better than those of random weights" in untried["from_scratch"]


def test_it_is_over_where_no_gain_beyond_the_rope_is_left(monkeypatch):
    tried, untried = search(monkeypatch, {"fine_tuned_1": 0.801})
    assert tried == ["fine_tuned_1"]
    assert untried["fine_tuned_2"] == "'fine_tuned_1' gains no more than 0.010 over 'frozen', by its interval"
    assert list(untried) == ["fine_tuned_2", "fine_tuned_all", "from_scratch"]


def test_a_gain_is_one_over_the_best_before(monkeypatch):
    tried, _ = search(monkeypatch, {"fine_tuned_1": 0.85, "fine_tuned_2": 0.85})
    assert tried == ["fine_tuned_1", "fine_tuned_2"]


def test_wide_intervals_leave_a_gain_open(monkeypatch):
    truth = {"fine_tuned_1": 0.80, "fine_tuned_2": 0.80, "fine_tuned_all": 0.80}
    assert search(monkeypatch, truth, jitter=50)[0] == ["fine_tuned_1", "fine_tuned_2", "fine_tuned_all"]


def test_where_the_information_sits_low_the_search_goes_on_until_training_reaches_it(monkeypatch):
    base = BASE | SINGLE | {"frozen_stem_avg+std": 0.79}
    truth = {"fine_tuned_1": 0.7, "fine_tuned_2": 0.7, "fine_tuned_all": 0.7}
    assert search(monkeypatch, truth, base)[0] == ["fine_tuned_1", "fine_tuned_2", "fine_tuned_all"]


def test_random_weights_that_do_as_well_have_the_network_trained_from_scratch(monkeypatch):
    base = BASE | SINGLE | {"frozen_random": 0.82}
    tried, untried = search(monkeypatch, {"fine_tuned_1": 0.7, "from_scratch": 0.9}, base)
    assert tried == ["fine_tuned_1", "from_scratch"]
    assert list(untried) == ["fine_tuned_2", "fine_tuned_all"]


def test_what_does_not_fit_into_the_budget_is_not_tried(monkeypatch):
    tried, untried = search(monkeypatch, {}, budget=20)
    assert tried == []
    assert untried["fine_tuned_1"] == "its folds would take about 50 s, and the budget has 20 s left"


def test_what_costs_nobody_knows_what_is_tried(monkeypatch):
    truth = {"fine_tuned_1": 0.85, "fine_tuned_2": 0.9, "fine_tuned_all": 0.95}
    assert len(search(monkeypatch, truth, budget=1, missing=np.nan)[0]) == 3
    assert len(search(monkeypatch, truth, budget=0, missing=np.nan)[0]) == 0


def test_fits_that_are_in_a_file_need_no_budget(monkeypatch):
    truth = {"fine_tuned_1": 0.85, "fine_tuned_2": 0.9, "fine_tuned_all": 0.95}
    assert len(search(monkeypatch, truth, budget=0, missing=0.0)[0]) == 3
    assert len(search(monkeypatch, truth, budget=20, missing=0.2)[0]) == 3
    assert len(search(monkeypatch, truth, budget=20, missing=0.6)[0]) == 0


def test_a_strategy_that_fails_does_not_end_the_search(monkeypatch):
    tried, untried = search(monkeypatch, {"fine_tuned_2": 0.9, "fine_tuned_all": 0.9})
    assert tried == ["fine_tuned_1", "fine_tuned_2", "fine_tuned_all"]
    assert "fine_tuned_1" not in untried


# ---- the textbook


@pytest.mark.parametrize(
    ("n", "random", "frozen", "expected"),
    [
        (100, 0.5, 0.8, ("small", "similar")),
        (100, 0.5, 0.55, ("small", "different")),
        (100, 0.5, 0.7, ("small", "in between")),
        (100, 0.9, 0.8, ("small", "different")),  # random weights win
        (2000, 0.5, 0.8, ("medium", "similar")),
        (20_000, 0.5, 0.8, ("large", "similar")),
        (20_000, 0.5, 0.55, ("large", "different")),
    ],
)
def test_the_cell_of_the_textbook(n, random, frozen, expected):
    cell = quadrant_of(comparison({"pixels": 0.4, "frozen_random": random, "frozen": frozen}, jitter=0, n=n))
    assert (cell.size, cell.similarity) == expected
    assert cell.gain == pytest.approx((frozen - random) / (1 - random))


def test_few_images_of_a_class_are_a_small_data_set():
    result = comparison({"pixels": 0.4, "frozen": 0.8}, jitter=0, n=2000)
    assert quadrant_of(result).size == "medium"
    vars(result)["y"] = np.arange(2000) % 200
    assert quadrant_of(result).size == "small"
    vars(result)["settings"] = result.settings | {"task": "regression"}
    assert quadrant_of(result).size == "medium"


def test_a_score_without_a_best_value_has_no_similarity():
    scores = {"pixels": 0.4, "frozen": 0.8}
    result = comparison(scores, jitter=0, score_bounds={"accuracy": (-np.inf, np.inf)})
    assert quadrant_of(result) == Quadrant("small", None, None)
    assert quadrant_of(result).textbook is None


def test_pixels_that_know_everything_leave_nothing_to_be_gained():
    assert quadrant_of(comparison({"pixels": 1.0, "frozen": 1.0}, jitter=0)).gain == 0.0


def test_what_the_textbook_says():
    assert Quadrant("small", "similar", 0.7).textbook.startswith("do not fine-tune")
    assert Quadrant("medium", "similar", 0.7).textbook is None
