"""Successive halving over depths: deeper as long as that may still gain something, within a budget of seconds."""

import time

from joblib import effective_n_jobs

from sktl._candidate_names import RANDOM_WEIGHTS
from sktl._text import number, seconds
from sktl.comparison.further_candidates import share_missing, with_candidates
from sktl.transferability._choosing import is_clear, is_excluded, peak_stage, rows_against
from sktl.transferability._leading_group import best_of

__all__ = ["search_depths"]


def search_depths(comparison, X, strategies, trained, costs, *, end, scoring, resume, n_jobs, verbose):
    """Train one strategy after the other on the splits; return the comparison, and why others were not trained.

    `end` is when the budget is used up. The search is over where a strategy that trains the stage with the most
    informative features, and all above it, cannot gain more than the rope over the best before it.
    """
    tried = [one.name for one in strategies if one.name in comparison.scores]
    peak, untried, over = peak_stage(comparison, strategies), {}, None
    n_at_once = min(effective_n_jobs(n_jobs), comparison.n_splits)
    kept = {"scoring": scoring, "resume": resume}
    for strategy in trained:
        candidate = {strategy.name: strategy.estimator}
        needed = costs[strategy.name].folds / n_at_once * share_missing(comparison, X, candidate, **kept)
        why = _why_not_anew(comparison) if strategy.kind == "from scratch" else over
        why = why or _beyond(needed, end - time.perf_counter())
        if why:
            untried[strategy.name] = why
            continue
        comparison = with_candidates(comparison, X, candidate, n_jobs=n_jobs, verbose=verbose, **kept)
        if strategy.name not in comparison.scores:  # it failed, and a warning says so
            continue
        best = best_of(comparison, tried)
        if peak in strategy.stages and is_excluded(rows_against(comparison, best)[strategy.name], comparison.rope):
            over = f"{strategy.name!r} gains no more than {number(comparison.rope)} over {best!r}, by its interval"
        tried.append(strategy.name)
    return comparison, untried


def _beyond(needed, left):
    """Say that so many seconds are more than are left; None where they are not."""
    known = seconds(needed) if needed == needed else "an unknown number of"
    if needed == 0 or needed <= left or (needed != needed and left > 0):
        return None
    return f"its folds would take about {known} s, and the budget has {seconds(max(left, 0))} s left"


def _why_not_anew(comparison):
    """Say why training from scratch is not worth a try; None where it may be."""
    if RANDOM_WEIGHTS in comparison.scores and is_clear(rows_against(comparison, RANDOM_WEIGHTS)["frozen"]):
        return "features of the pretrained network are clearly better than those of random weights"
    return None
