"""recommend_strategy: measure first what is cheap, and train only as long as that may still gain something."""

import time
from numbers import Real

import numpy as np

from sktl._splits import fixed_random_state
from sktl._validation import Interval, validate_params
from sktl.backbones import load_backbone
from sktl.comparison import compare_transfer
from sktl.comparison.further_candidates import with_candidates
from sktl.exceptions import WeightsError
from sktl.images import read_once
from sktl.transferability._choosing import choose, corrected_best, peak_stage, quadrant_of
from sktl.transferability._costs import predict_costs
from sktl.transferability._probing import probed
from sktl.transferability._recommendation import StrategyRecommendation
from sktl.transferability._search import search_depths
from sktl.transferability._strategies import frozen_strategies, trained_strategies, used_as_it_is

__all__ = ["recommend_strategy"]

SIMPLE = ("dummy", "pixels", "frozen_random", "frozen")


@validate_params({"budget": [Interval(Real, 0, None, closed="left")]}, prefer_skip_nested_validation=True)
def recommend_strategy(
    X,
    y,
    backbone="tiny_fractal",
    *,
    budget=600,
    weights="default",
    task="auto",
    cv=5,
    n_repeats=1,
    groups=None,
    scoring=None,
    rope=0.01,
    max_epochs="auto",
    image_size=None,
    image_shape=None,
    value_range=None,
    batch_size=32,
    device="auto",
    precision="auto",
    n_jobs=None,
    random_state=0,
    duplicates="warn",
    on_bad_image="raise",
    resume=None,
    verbose=0,
):
    """DOC"""
    start = time.perf_counter()
    X, random_state = read_once(X), fixed_random_state(random_state)
    record, can_start_anew = load_backbone(backbone, weights), _has_random_twin(backbone)
    reading = {"image_size": image_size, "image_shape": image_shape, "value_range": value_range}
    network = {"backbone": backbone, "weights": weights, **reading}
    network |= {"batch_size": batch_size, "device": device, "precision": precision}
    running = {"scoring": scoring, "resume": resume, "n_jobs": n_jobs, "verbose": verbose}
    comparison = compare_transfer(
        X,
        y,
        candidates=[name for name in SIMPLE if can_start_anew or name != "frozen_random"],
        baseline="frozen",
        task=task,
        cv=cv,
        n_repeats=n_repeats,
        groups=groups,
        rope=rope,
        random_state=random_state,
        duplicates=duplicates,
        on_bad_image=on_bad_image,
        **network,
        **running,
    )
    task = comparison.settings["task"]
    own = used_as_it_is(comparison.y, record, **network)
    if own:
        comparison = with_candidates(comparison, X, {own[0].name: own[0].estimator}, **running)
    frozen = frozen_strategies(task, record, **network)
    comparison, labels = probed(comparison, X, frozen, network=network, random_state=random_state, **running)
    trained = trained_strategies(task, record, max_epochs=max_epochs, can_start_anew=can_start_anew, **network)
    strategies = [*own, *frozen, *trained]
    costs = predict_costs(comparison, X, strategies, network)
    comparison, untried = search_depths(comparison, X, [*own, *frozen], trained, costs, budget=budget, start=start, **running)
    recommended, level = choose(comparison, strategies, {name: cost.fit for name, cost in costs.items()})
    return StrategyRecommendation(
        comparison,
        tuple(strategies),
        costs,
        recommended,
        tuple(level),
        untried,
        labels,
        quadrant_of(comparison),
        peak_stage(comparison, strategies),
        float(budget),
        time.perf_counter() - start,
        corrected_best(comparison, strategies, groups),
    )


def _has_random_twin(backbone):
    """Whether the same network can be made with random weights: not every function does so."""
    try:
        load_backbone(backbone, None)
    except (ValueError, TypeError, WeightsError):
        return False
    return True
