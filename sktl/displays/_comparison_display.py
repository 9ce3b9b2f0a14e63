"""The plot of a comparison. The display holds numbers; matplotlib is needed only while drawing."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL
from sktl._optional import import_optional
from sktl._text import as_written, digits_for, number, written_apart
from sktl.displays._drawing import (
    BAND,
    BLUE,
    GREY,
    INK,
    ORANGE,
    greater_is_better,
    label,
    light_spines,
    pair_of_axes,
    stacked,
)
from sktl.displays.verdicts import about, sentence

__all__ = ["ComparisonDisplay"]

ABOVE = {"ha": "center", "va": "bottom", "zorder": 4}
UNDECIDED = "#6E6E6E"
# Colour and shape say what was decided; the place says what was measured.
LOOKS = {
    **dict.fromkeys(("transfer helps", "better"), (BLUE, "D")),
    **dict.fromkeys(("negative transfer", "worse"), (ORANGE, "s")),
    "practically equal": (INK, "o"),
    "undecided": (UNDECIDED, "o"),
}
WIDTH = 10  # inches
LINE = 115  # letters of the title in one line
NEAR = 0.015  # of the range of all scores: points of one row that are nearer stand on each other
STEP, HIGHEST = 0.1, 0.28  # of the distance of two rows


class ComparisonDisplay:
    """The differences to the baseline, beside the scores of all splits.

    A difference is grey until its verdict is decided: blue where the candidate is better, orange where it is worse.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_splits,)
        Score of every candidate on every split.
    rows : list of ComparisonRow
        Summary of every candidate, in the same order.
    baseline : str
        Name of the candidate the others are compared with.
    scoring : str
        Name of the score.
    rope : float
        Half width of the region of practical equivalence, in units of the score.
    title : str, default=""
        The verdict, above a figure of its own.
    about : str, default=""
        What was compared, below it.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    axes_ : ndarray of 2 matplotlib Axes
        Differences at the left, scores at the right; set by `plot`.

    See Also
    --------
    TransferComparison.plot : Makes and draws one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.displays import ComparisonDisplay
    >>> from sktl.comparison import ComparisonRow
    >>> scores = {"from_scratch": np.array([0.5, 0.6]), "frozen": np.array([0.7, 0.9])}
    >>> rows = [ComparisonRow("from_scratch", 0.55, 0.07, 1.0, 0.1, None),
    ...         ComparisonRow("frozen", 0.80, 0.14, 0.2, 0.1, None, 0.25, -0.1, 0.6, 0.1, 0.1, 0.8, 2, "undecided")]
    >>> display = ComparisonDisplay(scores, rows, baseline="from_scratch", scoring="accuracy", rope=0.01)
    >>> display.plot().axes_.shape
    (2,)
    """

    def __init__(
        self, scores: Any, rows: Any, *, baseline: str, scoring: str, rope: float, title: str = "", about: str = ""
    ) -> None:
        self.scores = scores
        self.rows = rows
        self.baseline = baseline
        self.scoring = scoring
        self.rope = rope
        self.title = title
        self.about = about

    @classmethod
    def from_comparison(cls, comparison: Any) -> ComparisonDisplay:
        """Take the numbers from a comparison.

        Parameters
        ----------
        comparison : TransferComparison
            What to draw.

        Returns
        -------
        ComparisonDisplay
            Not drawn yet.
        """
        return cls(
            comparison.scores,
            comparison.rows(),
            baseline=comparison.baseline,
            scoring=comparison.scoring,
            rope=comparison.rope,
            title=sentence(comparison),
            about=about(comparison),
        )

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, default=None
            A pair for differences and scores, one Axes to be divided, or None for a new figure, which says the verdict
            and what was compared as well.

        Returns
        -------
        ComparisonDisplay
            Itself, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is neither one Axes nor a pair.
        """
        title = fill(self.title, LINE).replace("$", r"\$")
        size = (WIDTH, 2.1 + 0.6 * len(self.rows) + 0.2 * title.count("\n"))
        self.axes_ = pair_of_axes(ax, "ComparisonDisplay.plot", size, share="y", ratios=(3, 2.6))
        self.figure_ = self.axes_[0].figure
        if ax is None:
            beside = {"x": 0.01, "ha": "left", "color": INK}
            self.figure_.suptitle(title, fontsize="medium", fontweight="bold", **beside)
            self.figure_.supxlabel(fill(self.about, LINE).replace("$", r"\$"), fontsize="medium", **beside)
        rows = [row for row in self.rows if row.candidate != CHANCE_LEVEL]
        if len(rows) < 2 or self.baseline == CHANCE_LEVEL:
            rows = self.rows
        self._draw_differences(self.axes_[0], rows)
        self._draw_scores(self.axes_[1], rows)
        for one in self.axes_:
            one.set_ylim(len(rows) - 0.5, -0.5)
            one.set_yticks(np.arange(len(rows)), self._names(rows))
            one.tick_params(axis="y", length=0)
        if self.axes_[0].get_shared_y_axes().joined(*self.axes_):
            self.axes_[1].tick_params(axis="y", labelleft=False)
        light_spines(*self.axes_)
        return self

    def frame(self) -> Any:
        """Every candidate as one row of a data frame: what the display shows.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates, 7 + n_splits)
            Columns candidate, mean, difference, low, high, verdict, n_splits, and split_0 and so on for the scores.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="ComparisonDisplay.frame")
        fields = ("candidate", "mean", "difference", "low", "high", "verdict")
        return pandas.DataFrame(
            [
                {field: getattr(row, field) for field in fields}
                | {"n_splits": len(self.scores[row.candidate])}
                | {f"split_{number}": float(score) for number, score in enumerate(self.scores[row.candidate])}
                for row in self.rows
            ]
        )

    def _names(self, rows):
        names = written_apart(row.candidate for row in rows)
        marked = zip(rows, names, strict=True)
        return [f"{name}\n(baseline)" if row.candidate == self.baseline else name for row, name in marked]

    def _draw_differences(self, ax, rows):
        ax.axvspan(-self.rope, self.rope, color=BAND, linewidth=0, zorder=0)
        ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
        digits = digits_for(self.scores.values())
        for height, row in enumerate(rows):
            if row.difference is None:
                continue
            color, shape = LOOKS[row.verdict]
            if row.low == row.low:
                ax.plot([row.low, row.high], [height, height], color=color, linewidth=2.5, zorder=2)
            ax.plot(row.difference, height, shape, color=color, markersize=7, zorder=3)
            difference = number(row.difference, sign=True, digits=digits)
            label(ax, f"{difference}  {row.verdict}", (row.difference, height), (0, 8), color=color, **ABOVE)
        ax.margins(x=0.2)
        ax.set_xlabel(f"difference in {as_written(self.scoring)} to {as_written(self.baseline)}")
        what = f"Mean, 95 % interval; grey: undecided\nBand: ±{self.rope:g}, no difference in practice"
        ax.set_title(what, fontsize="small", loc="left")

    def _draw_scores(self, ax, rows):
        values = np.array([self.scores[row.candidate] for row in rows], dtype=float)
        if len(rows) < len(self.rows):
            # as a row of its own it would squeeze the differences that matter into a corner
            chance = np.mean(self.scores[CHANCE_LEVEL])
            ax.axvline(chance, color=INK, linestyle=":", zorder=1)
            text, where = f"chance level ({CHANCE_LEVEL})", ("data", "axes fraction")
            label(ax, text, (chance, 0.5), (4, 0), xycoords=where, rotation=90, va="center", zorder=0)  # hides no point
        heights = self._heights(values)
        ax.plot(values, heights, color=GREY, linewidth=0.8, alpha=0.6, zorder=1)
        ax.plot(values.ravel(), heights.ravel(), "o", color=GREY, markersize=4, alpha=0.8, zorder=2)
        digits = digits_for(self.scores.values())
        for height, (row, highest) in enumerate(zip(rows, heights.min(axis=1), strict=True)):
            ax.plot(row.mean, height, "|", color=INK, markersize=18, markeredgewidth=2, zorder=3)
            label(ax, number(row.mean, digits=digits), (row.mean, highest), (0, 11), **ABOVE)
        ax.margins(x=0.1)
        ax.set_xlabel(greater_is_better(self.scoring))
        what = f"{values.shape[1]} splits: a point and line each; equal ones are stacked\nBar: mean"
        ax.set_title(what, fontsize="small", loc="left")

    @staticmethod
    def _heights(values):
        """Place every score on the height of its row; what would hide each other goes up and down."""
        near = NEAR * (np.ptp(values) or 1.0)
        offsets = np.array([stacked(row, near) for row in values])
        step = min(STEP, HIGHEST / max(np.abs(offsets).max(), 1.0))
        return np.arange(len(values))[:, None] + step * offsets
