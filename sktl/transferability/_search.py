"""Successive halving over depths: deeper as long as that may still gain something, within a budget of seconds."""

import time

from joblib import effective_n_jobs

from sktl._candidate_names import RANDOM_WEIGHTS
from sktl._text import number, seconds
from sktl.comparison.further_candidates import with_candidates
from sktl.transferability._choosing import best_of, is_clear, is_excluded, peak_stage

__all__ = ["search_depths"]


def search_depths(comparison, X, strategies, trained, costs, *, budget, start, n_jobs=None, **running):
    """Train one strategy after the other on the splits; return the comparison, and why others were not trained.

    The search ends where a strategy that trains the stage with the most informative features, and all above it, cannot
    gain more than the rope over the best before it.
    """
    names = [one.name for one in strategies if one.name in comparison.scores]
    peak, untried, ended = peak_stage(comparison, strategies), {}, None
    for strategy in trained:
        why = _anew(comparison) if strategy.kind == "from scratch" else ended
        left = budget - (time.perf_counter() - start)
        needed = costs[strategy.name].folds / min(effective_n_jobs(n_jobs), comparison.n_splits)
        if why is None and needed > left:
            why = f"its folds would take about {seconds(needed)} s, and {seconds(max(left, 0))} s of the budget were left"
        if why is not None:
            untried[strategy.name] = why
            continue
        comparison = with_candidates(comparison, X, {strategy.name: strategy.estimator}, n_jobs=n_jobs, **running)
        if strategy.name not in comparison.scores:  # it failed, and a warning says so
            continue
        best = best_of(comparison, names)
        if peak in strategy.stages and is_excluded(comparison, strategy.name, best):
            ended = f"{strategy.name!r} gains at most {number(comparison.rope)} over {best!r}, by its interval"
        names.append(strategy.name)
    return comparison, untried


def _anew(comparison):
    """Say why training from scratch is not worth a try; None where it may be."""
    if RANDOM_WEIGHTS in comparison.scores and is_clear(comparison, "frozen", RANDOM_WEIGHTS):
        return "the features of the pretrained network are clearly better than those of random weights"
    return None
