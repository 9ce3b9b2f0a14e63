"""Which strategy is recommended, when a search over them has seen enough, and what the textbook would say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sktl._candidate_names import PIXELS, RANDOM_WEIGHTS
from sktl._statistics import CONFIDENCE, holm
from sktl.transferability._leading_group import best_of

__all__ = ["Quadrant", "choose", "is_clear", "is_excluded", "peak_stage", "quadrant_of", "rows_against"]

# Conventions, not laws: where the textbook says "large" and "similar" it gives no number.
SMALL, LARGE, FEW_PER_CLASS = 1000, 10_000, 20
SIMILAR, DIFFERENT = 0.5, 0.2
TEXTBOOK: dict[tuple[str, str | None], str] = {
    ("small", "similar"): "do not fine-tune: a linear model on frozen features",
    ("small", "different"): "a linear model on features of earlier stages",
    ("large", "similar"): "fine-tune all stages",
    ("large", "different"): "train from scratch, or fine-tune all stages",
}


def rows_against(comparison, baseline):
    """Return the rows of a comparison by candidate, their differences being to this one."""
    return {row.candidate: row for row in replace(comparison, baseline=baseline).rows()}


def is_clear(row):
    """Whether the interval of what a candidate gains leaves out zero."""
    return row.low is not None and row.low > 0


def is_excluded(row, rope):
    """Whether the interval of what a candidate gains leaves out a gain beyond the rope."""
    return row.high is not None and row.high <= rope


def choose(comparison, strategies, seconds):
    """Return the strategies that the data do not tell from the best one, the cheapest first, which is recommended.

    Those are in it whose interval of the difference to the best includes zero, or whose score lies within the rope of
    it. All frozen strategies cost about the same, so that of their many the one with all stages stands for all, which
    is the best on average over data sets, unless others are clearly better on this one.
    """
    tried = [one for one in strategies if one.name in comparison.scores]
    better = _clearly_better(comparison, [one.name for one in tried if one.kind == "frozen" and one.name != "frozen"])
    chosen = best_of(comparison, better) if better else "frozen"
    pool = [one.name for one in tried if one.kind != "frozen" or one.name == chosen]
    best, scores = best_of(comparison, pool), comparison.scores
    rows = rows_against(comparison, best)
    level = [
        name
        for name in pool
        # Where all folds differ alike there is no interval, and the difference itself decides.
        if name == best or rows[name].high >= 0 or scores[best].mean() - scores[name].mean() <= comparison.rope
    ]
    return sorted(level, key=_at_least(strategies, seconds).get)


def _at_least(strategies, seconds):
    """Return seconds by name; where fits are too short to be timed, those of the one before it, which trains less."""
    known, costs = 0.0, {}
    for one in strategies:
        known = known if np.isnan(seconds[one.name]) else seconds[one.name]
        costs[one.name] = known
    return costs


def _clearly_better(comparison, names):
    """Return those of some candidates that are better than "frozen", whatever their number (Holm)."""
    rows = rows_against(comparison, "frozen")
    p_values = holm([rows[name].p_value for name in names])
    return [name for name, p in zip(names, p_values, strict=True) if p < 1 - CONFIDENCE and rows[name].difference > 0]


def peak_stage(comparison, strategies):
    """Return the stage whose features alone score best; of equal ones the upper one."""
    single = {
        one.stages[0]: comparison.scores[one.name].mean()
        for one in strategies
        if one.name in comparison.scores and (one.kind, one.pooling, len(one.stages)) == ("frozen", "avg+std", 1)
    }
    top = strategies[-1].stages[-1]  # which stands for all where none of them could be scored
    return max(reversed(single), key=single.get, default=top)


@dataclass(frozen=True)
class Quadrant:
    """Where the textbook puts a data set: by its size, and by how similar it is to what the network has seen.

    Parameters
    ----------
    size : {"small", "medium", "large"}
        Small is fewer than 1,000 images, or fewer than 20 of a class on average; large more than 10,000.
    similarity : {"similar", "in between", "different"} or None
        By `gain`: above 0.5, or below 0.2. None where the score has no known best value, or neither pixels nor random
        weights have one.
    gain : float or None
        What pretraining adds: the share of what pixels and random weights leave to be gained that frozen features gain.

    See Also
    --------
    StrategyRecommendation : Holds one.

    Examples
    --------
    >>> from sktl.transferability import Quadrant
    >>> Quadrant("small", "similar", 0.7).textbook
    'do not fine-tune: a linear model on frozen features'
    """

    size: str
    similarity: str | None
    gain: float | None

    @property
    def textbook(self) -> Any:
        """What the textbook says; None where it has no cell."""
        return TEXTBOOK.get((self.size, self.similarity))


def quadrant_of(comparison):
    """Find the cell of the textbook's table."""
    n_images = comparison.settings["n_images"]
    is_regression = comparison.settings["task"] == "regression"
    per_class = np.inf if is_regression else n_images / len(np.unique(comparison.y))
    is_small = n_images < SMALL or per_class < FEW_PER_CLASS
    size = "small" if is_small else "large" if n_images > LARGE else "medium"
    scores = comparison.scores
    _, best = comparison.settings["score_bounds"][comparison.scoring]
    plain = max((scores[name].mean() for name in (PIXELS, RANDOM_WEIGHTS) if name in scores), default=np.nan)
    if not np.isfinite(best - plain):
        return Quadrant(size, None, None)
    gain = float((scores["frozen"].mean() - plain) / (best - plain)) if best > plain else 0.0
    similarity = "similar" if gain > SIMILAR else "different" if gain < DIFFERENT else "in between"
    return Quadrant(size, similarity, gain)
