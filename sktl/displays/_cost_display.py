"""What a score costs: scores against seconds, images through the network, parameters or memory; the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL
from sktl._costs import COSTS
from sktl._optional import import_optional
from sktl._score_bounds import possible_score
from sktl._statistics import corrected_interval
from sktl._text import as_written, digits_for, number, written_apart
from sktl._validation import did_you_mean
from sktl.displays._drawing import BLUE, GREY, INK, axes_for, greater_is_better, label, lifts_of, light_spines

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["CostDisplay", "on_front"]

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
ROOM = 0.35  # of a decade beside the outermost points, for their names


def on_front(scores, costs):
    """Find who is not beaten: nobody else scores as well or better for the same or less."""
    pairs = list(zip(scores, costs, strict=True))
    return [not any(s >= score and c <= cost and (s, c) != (score, cost) for s, c in pairs) for score, cost in pairs]


class CostDisplay:
    """Score against cost, with the candidates marked that nobody beats in both.

    Parameters
    ----------
    candidates : list of str
        Names.
    scores : list of float
        Mean scores; greater is better.
    intervals : list of (float, float)
        Corrected 95 % intervals of the mean scores; NaN where there is no spread to judge by.
    costs : list of float
        In the unit of the cost.
    cost : str
        Name of the cost.
    scoring : str
        Name of the score.
    chance_level : float or None, default=None
        Mean score of what learns nothing, drawn as a line.
    left_out : tuple of str, default=()
        Candidates whose cost is not known.

    Attributes
    ----------
    front : list of bool
        Who is on the Pareto front: nobody scores as well or better for the same or less.
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    ax_ : matplotlib Axes
        The axes drawn into; set by `plot`.

    See Also
    --------
    ComparisonDisplay : The differences between candidates, which is what to judge them by.

    Notes
    -----
    The candidates were scored on the same folds, so two of them may differ clearly although their intervals overlap
    here. The interval is that of the mean score over splits that share training images [1]_.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 239-281, 2003,
           :doi:`10.1023/A:1024068626366`.

    Examples
    --------
    >>> from sktl.displays import CostDisplay
    >>> display = CostDisplay(
    ...     ["frozen", "fine_tuned", "from_scratch"], [0.90, 0.91, 0.80], [(0.86, 0.94), (0.88, 0.94), (0.7, 0.9)],
    ...     [0.2, 6.0, 27.0], cost="fit_seconds", scoring="accuracy")
    >>> display.front
    [True, True, False]
    >>> display.plot().ax_.get_xscale()
    'log'
    """

    def __init__(
        self,
        candidates: Sequence[str],
        scores: Sequence[float],
        intervals: Any,
        costs: Sequence[float],
        *,
        cost: str,
        scoring: str,
        chance_level: float | None = None,
        left_out: Sequence[str] = (),
    ) -> None:
        self.candidates = candidates
        self.scores = scores
        self.intervals = intervals
        self.costs = costs
        self.cost = cost
        self.scoring = scoring
        self.chance_level = chance_level
        self.left_out = left_out

    @property
    def front(self) -> Any:
        """Who is on the Pareto front, in the order of the candidates."""
        return on_front(self.scores, self.costs)

    @classmethod
    def from_comparison(cls, comparison: Any, *, cost: str = "fit_seconds") -> CostDisplay:
        """Take scores and costs from a comparison.

        Parameters
        ----------
        comparison : TransferComparison
            What to draw.
        cost : str, default="fit_seconds"
            One of "fit_seconds", "predict_seconds", "n_images_through_network", "n_parameters" (of the network that a
            fitted candidate has to keep), "n_trained_parameters" and "peak_memory" (in MB).

        Returns
        -------
        CostDisplay
            Not drawn yet. The chance level, candidate "dummy", is a line and no point, unless it is the baseline.

        Raises
        ------
        ValueError
            If `cost` is unknown, or not known of any candidate.
        """
        if cost not in COSTS:
            raise ValueError(
                f"cost must be one of {', '.join(COSTS)}. Got {cost!r} instead.{did_you_mean(cost, COSTS)}"
            )
        rows = {row.candidate: row for row in comparison.rows()}
        is_line = CHANCE_LEVEL in rows and comparison.baseline != CHANCE_LEVEL
        dummy = rows.pop(CHANCE_LEVEL) if is_line else None
        costs = {name: _cost_of(row, cost) for name, row in rows.items()}
        names = [name for name in rows if costs[name] is not None]
        if not names:
            raise ValueError(f"cost must be known of a candidate. Got {cost!r} instead, which none of them tells.")
        sizes = comparison.n_train, comparison.n_test
        return cls(
            names,
            [rows[name].mean for name in names],
            [possible_score(comparison, corrected_interval(comparison.scores[name], *sizes)) for name in names],
            [costs[name] for name in names],
            cost=cost,
            scoring=comparison.scoring,
            chance_level=dummy and dummy.mean,
            left_out=tuple(name for name in rows if costs[name] is None),
        )

    def plot(self, ax: Any = None) -> CostDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CostDisplay
            Itself, with `figure_` and `ax_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self.ax_ = axes_for(ax, "CostDisplay.plot", (6.4, 4.4))
        self.figure_ = ax.figure
        places = self._places()
        if self.chance_level is not None:
            ax.axhline(self.chance_level, color=INK, linestyle=":", linewidth=1, zorder=0)
            text, where = f"chance level ({CHANCE_LEVEL})", ("axes fraction", "data")
            label(ax, text, (1, self.chance_level), (-4, -3), xycoords=where, ha="right", va="top", zorder=0)
        self._draw_front(ax, places)
        for score, interval, x, best in zip(self.scores, self.intervals, places, self.front, strict=True):
            color = BLUE if best else GREY
            if interval[0] == interval[0]:
                ax.plot([x, x], interval, color=color, linewidth=1.5, alpha=0.7, zorder=2)
            ax.plot(x, score, "D" if best else "o", color=color, markersize=8, zorder=3)
        self._scales(ax, places)
        self._name(ax, places)
        light_spines(ax)
        return self

    def frame(self) -> Any:
        """Every candidate as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates, 6)
            Columns candidate, cost, score, low, high, on_front.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="CostDisplay.frame")
        lows, highs = zip(*self.intervals, strict=True)
        columns = {"candidate": self.candidates, "cost": self.costs, "score": self.scores, "low": lows, "high": highs}
        return pandas.DataFrame(columns | {"on_front": self.front})

    def _places(self):
        """Positions on the logarithmic scale; what costs nothing stands a decade to the left of the cheapest."""
        paid = [cost for cost in self.costs if cost > 0]
        self._nothing = min(paid) / 10 if paid else 1.0
        return [cost if cost > 0 else self._nothing for cost in self.costs]

    def _draw_front(self, ax, places):
        front = sorted((x, score) for x, score, best in zip(places, self.scores, self.front, strict=True) if best)
        ax.step(*zip(*front, strict=True), where="post", color=BLUE, linewidth=1, linestyle="--", alpha=0.7, zorder=1)

    def _name(self, ax, places):
        digits = digits_for(self.scores)
        named = zip(written_apart(self.candidates), self.scores, strict=True)
        texts = [f"{name}  {number(score, digits=digits)}" for name, score in named]
        lifts = lifts_of(ax, list(zip(places, self.scores, strict=True)), texts)
        for text, x, score, lift, best in zip(texts, places, self.scores, lifts, self.front, strict=True):
            label(ax, text, (x, score), (8, 5 + lift), color=BLUE if best else INK, zorder=4)

    def _scales(self, ax, places):
        ax.set_xscale("log")
        low, high = np.log10(min(places)), np.log10(max(places))
        ticker = import_optional("matplotlib.ticker", extra="plot", caller="CostDisplay.plot")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0,) if high - low > 1 else (1.0, 2.0, 5.0)))
        least = 0 if min(self.costs) > 0 else self._nothing * 10**0.5
        ax.xaxis.set_major_formatter(lambda x, place: _short(x) if x > least else "")
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        ax.set_xlim(10 ** (low - ROOM), 10 ** (high + max(ROOM, 0.4 * (high - low))))
        ax.margins(y=0.12)
        if min(self.costs) <= 0:
            ax.axvline(least, color=GREY, linestyle=":", linewidth=1, zorder=0)
            ax.annotate(
                "none", (self._nothing, 0), (0, -4), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="center", va="top", color=INK,
            )  # fmt: skip
        left_out = f"\nnot known: {', '.join(map(as_written, self.left_out))}" if self.left_out else ""
        cost = COSTS[self.cost].label if self.cost in COSTS else self.cost
        ax.set_xlabel(f"{cost} (less is better){left_out}")
        ax.set_ylabel(greater_is_better(self.scoring))
        ax.set_title("Blue: nobody beats it in both. Bars: 95 % corrected intervals", fontsize="medium", loc="left")


def _short(x):
    """Write 20000 as 20k: logarithmic scales have room for little, and powers of ten are read by few."""
    unit, letter = next(((unit, letter) for unit, letter in UNITS if x >= unit), (1, ""))
    return f"{x / unit:g}{letter}"


def _cost_of(row, cost):
    """Tell the cost as a number; None where it is not known. Without a network no image goes through one."""
    value = getattr(row, cost)
    if value is None and COSTS[cost].needs_network and row.n_parameters is None:
        return 0.0
    return None if value is None or value != value else COSTS[cost].in_unit(value)
