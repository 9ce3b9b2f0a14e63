"""The networks that the images cannot tell from the best one, whatever the number of networks."""

from math import comb

from sktl._score_bounds import possible_difference
from sktl._statistics import CONFIDENCE
from sktl.comparison.difference import mean_difference

__all__ = ["best_of", "intervals_to_leader"]


def best_of(comparison, names):
    """Return the name with the best mean score, of equal ones the first."""
    scores = comparison.scores
    return max(names, key=lambda name: scores[name].mean())


def intervals_to_leader(comparison, leader, names):
    """Return the interval of the difference to the leader for each of some candidates, widened for their number.

    The leader was chosen for being the best, so that a comparison with it stands for those of all pairs: of ten equal
    candidates the best and the worst are compared, and not any two. The intervals of all pairs hold at once with 95 %
    probability, however they depend on each other (Bonferroni).
    """
    confidence = 1 - (1 - CONFIDENCE) / max(1, comb(len(names), 2))
    others = [name for name in names if name != leader]
    found = {name: mean_difference(comparison, name, leader).interval(confidence) for name in others}
    return {name: possible_difference(comparison, interval) for name, interval in found.items()}
