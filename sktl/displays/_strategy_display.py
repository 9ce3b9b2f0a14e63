"""Which strategy: score over the stages that features come from, and over the seconds of each strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._optional import import_optional
from sktl._score_bounds import possible_score
from sktl._statistics import corrected_interval
from sktl._text import as_written, digits_for, number, seconds
from sktl.displays._drawing import (
    BLUE,
    GREY,
    INK,
    LETTER_WIDTH,
    LINE_HEIGHT,
    ORANGE,
    greater_is_better,
    label,
    lifts_of,
    light_spines,
    pair_of_axes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["StrategyDisplay"]

LINES = {PIXELS: "pixels", RANDOM_WEIGHTS: "random weights", CHANCE_LEVEL: "chance level"}


class StrategyDisplay:
    """Score over stages, beside score over seconds.

    Parameters
    ----------
    stages : list of str
        Names of the stages, from the stem to the top, and "all" at the end.
    by_stage : dict of str to list of float
        Scores of a linear model on the features of each, by pooling; NaN where there is none.
    lines : dict of str to float
        Scores of what has no pretrained network, by what it is.
    strategies : list of str
        Names of the strategies that were scored, or would have been.
    scores : list of float
        Their mean scores; NaN where they were not tried.
    intervals : list of (float, float)
        95 % corrected intervals of the mean scores.
    fit_seconds : list of float
        Predicted seconds to fit each once on all images; NaN where they are not known, which is not drawn.
    recommended : str
        Which one is recommended.
    scoring : str, default="score"
        Name of the score.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    axes_ : ndarray of 2 matplotlib Axes
        Stages at the left, seconds at the right; set by `plot`.

    See Also
    --------
    sktl.transferability.StrategyRecommendation : What is drawn.

    Examples
    --------
    >>> from sktl.displays import StrategyDisplay
    >>> display = StrategyDisplay(
    ...     ["stem", "top", "all"], {"avg": [0.6, 0.8, 0.82], "avg+std": [0.62, 0.81, 0.85]}, {"pixels": 0.55},
    ...     ["frozen", "fine_tuned_1", "fine_tuned_all"], [0.85, 0.88, float("nan")],
    ...     [(0.8, 0.9), (0.83, 0.93), (float("nan"), float("nan"))], [2.0, 30.0, 240.0],
    ...     recommended="fine_tuned_1", scoring="accuracy")
    >>> display.plot().axes_.shape
    (2,)
    """

    def __init__(
        self,
        stages: Sequence[str],
        by_stage: Any,
        lines: Any,
        strategies: Sequence[str],
        scores: Sequence[float],
        intervals: Any,
        fit_seconds: Sequence[float],
        *,
        recommended: str,
        scoring: str = "score",
    ) -> None:
        self.stages = stages
        self.by_stage = by_stage
        self.lines = lines
        self.strategies = strategies
        self.scores = scores
        self.intervals = intervals
        self.fit_seconds = fit_seconds
        self.recommended = recommended
        self.scoring = scoring

    @classmethod
    def from_recommendation(cls, result: Any) -> StrategyDisplay:
        """Take the numbers from a recommendation.

        Parameters
        ----------
        result : StrategyRecommendation
            What to draw.

        Returns
        -------
        StrategyDisplay
            Not drawn yet. Of the frozen strategies the one with all stages, and the recommended one, are at the right.
        """
        comparison, scores = result.comparison, result.comparison.scores
        frozen = [one for one in result.strategies if one.kind == "frozen"]
        every = frozen[0].stages
        stages = [*((name,) for name in every if len(every) > 1), every]
        means = {(one.stages, one.pooling): scores[one.name].mean() for one in frozen if one.name in scores}
        shown = [row for row in result.rows() if row.kind != "frozen" or row.strategy in ("frozen", result.recommended)]

        def ends(name):
            if name not in scores:
                return np.nan, np.nan
            return possible_score(comparison, corrected_interval(scores[name], comparison.n_train, comparison.n_test))

        return cls(
            [*(name for (name,) in stages[:-1]), "all"],
            {how: [float(means.get((one, how), np.nan)) for one in stages] for how in ("avg", "avg+std")},
            {words: float(scores[name].mean()) for name, words in LINES.items() if name in scores},
            [row.strategy for row in shown],
            [np.nan if row.mean is None else row.mean for row in shown],
            [ends(row.strategy) for row in shown],
            [row.seconds for row in shown],
            recommended=result.recommended,
            scoring=comparison.scoring,
        )

    def plot(self, ax: Any = None) -> StrategyDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, default=None
            A pair, one Axes to be divided, or None for a new figure.

        Returns
        -------
        StrategyDisplay
            Itself, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is neither one Axes nor a pair.
        """
        self.axes_ = left, right = pair_of_axes(ax, "StrategyDisplay.plot", (11, 4.4), share="y", ratios=(4, 5))
        self.figure_ = left.figure
        self._draw_stages(left)
        self._draw_strategies(right)
        light_spines(left, right)
        return self

    def _draw_stages(self, ax):
        x = np.arange(len(self.stages))
        for (how, scores), color, marker in zip(self.by_stage.items(), (ORANGE, BLUE), "so", strict=True):
            ax.plot(x[:-1], scores[:-1], f"{marker}-", color=color, label=how, linewidth=2, markersize=6)
            ax.plot(x[-1:], scores[-1:], marker, color=color, markersize=7)
        for words, score in self.lines.items():
            ax.axhline(score, color=INK, linestyle=":", linewidth=1, zorder=0)
            label(ax, words, (1, score), (-4, 2), xycoords=("axes fraction", "data"), ha="right", va="bottom")
        ax.set_xticks(x, [as_written(name) for name in self.stages])
        ax.set_xlabel("frozen features of")
        ax.set_ylabel(greater_is_better(self.scoring))
        ax.legend(title="pooling", frameon=False, loc="upper left")
        ax.set_title("Where the information sits", fontsize="medium", loc="left")

    def _draw_strategies(self, ax):
        digits = digits_for([[score for score in self.scores if score == score]])
        places = []
        for name, score, (low, high), x in self._points():
            color = BLUE if name == self.recommended else INK if score == score else GREY
            if score == score:
                ax.plot([x, x], [low, high], color=color, linewidth=1.5, alpha=0.7, zorder=2)
                ax.plot(x, score, "D" if name == self.recommended else "o", color=color, markersize=8, zorder=3)
            else:
                ax.axvline(x, color=GREY, linestyle=":", linewidth=1, zorder=0)
            places.append((x, score if score == score else ax.get_ylim()[0]))
        ax.set_xscale("log")
        low, high = np.log10(np.nanmin(self.fit_seconds)), np.log10(np.nanmax(self.fit_seconds))
        ax.set_xlim(10 ** (low - 0.3), 10 ** (high + max(0.6, 0.45 * (high - low))))
        ticker = import_optional("matplotlib.ticker", extra="plot", caller="StrategyDisplay.plot")
        ax.xaxis.set_major_formatter(lambda x, place: seconds(x))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        texts = [
            f"{name}  {number(score, digits=digits) if score == score else 'not tried'}"
            for name, score, _, _ in self._points()
        ]
        sides = _sides(ax, places, texts)
        for text, place, lift, side in zip(texts, places, lifts_of(ax, places, texts), sides, strict=True):
            label(ax, text, place, (7 * side, 5 + lift), ha="left" if side > 0 else "right", zorder=4)
        ax.set_xlabel("seconds to fit on all images (less is better)")
        ax.set_title("Blue: recommended. Bars: 95 % corrected intervals", fontsize="medium", loc="left")

    def _points(self):
        every = zip(self.strategies, self.scores, self.intervals, self.fit_seconds, strict=True)
        return [point for point in every if point[-1] == point[-1]]

    def frame(self) -> Any:
        """Every strategy as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_strategies, 6)
            Columns strategy, score, low, high, fit_seconds, recommended.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="StrategyDisplay.frame")
        lows, highs = zip(*self.intervals, strict=True)
        columns = {"strategy": self.strategies, "score": self.scores, "low": lows, "high": highs}
        recommended = [name == self.recommended for name in self.strategies]
        return pandas.DataFrame(columns | {"fit_seconds": self.fit_seconds, "recommended": recommended})


def _sides(ax, places, texts):
    """Tell on which side of its point each text stands: at the left where another point is in its way at the right."""
    points = ax.transData.transform(np.asarray(places, dtype=float)) * 72 / ax.figure.dpi
    sides = []
    for (x, y), text in zip(points, texts, strict=True):
        right, above = points[:, 0] - x, points[:, 1] - y
        in_way = (right > 0) & (right < LETTER_WIDTH * len(text)) & (np.abs(above) < 2 * LINE_HEIGHT)
        sides.append(-1 if in_way.any() else 1)
    return sides
