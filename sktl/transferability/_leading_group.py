"""The networks that the images cannot tell from the best one, whatever the number of networks."""

from dataclasses import replace
from itertools import combinations

from sktl._statistics import CONFIDENCE, holm

__all__ = ["adjusted_p_values", "leader_of"]


def leader_of(comparison, names):
    """Return the best of some candidates, of equal ones the first."""
    scores = comparison.scores
    return max(names, key=lambda name: scores[name].mean())


def adjusted_p_values(comparison, leader, names):
    """Return the p-value of no difference to the leader for each of some candidates, corrected for their number.

    The best was chosen for being the best, so that a comparison with it stands for those of all pairs: with ten equal
    candidates the best and the worst of ten are compared, and not any two. Holm's method over all pairs allows for
    that, however they depend on each other.
    """
    runs = tuple(run for run in comparison.runs if run.candidate in names)
    p_values = {}
    for baseline in names:
        rows = replace(comparison, runs=runs, baseline=baseline).rows()
        p_values.update(
            {frozenset((baseline, row.candidate)): row.p_value for row in rows if row.candidate != baseline}
        )
    pairs = [frozenset(pair) for pair in combinations(names, 2)]
    adjusted = dict(zip(pairs, holm([p_values[pair] for pair in pairs]), strict=True))
    return {name: adjusted[frozenset((leader, name))] for name in names if name != leader}


def may_be_equal(p_value):
    """Whether a corrected p-value, NaN where there is none, leaves open that there is no difference."""
    return not p_value < 1 - CONFIDENCE
