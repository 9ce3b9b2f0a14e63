"""The plot of a label-efficiency curve. The display holds numbers; matplotlib is needed only while drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._optional import import_optional
from sktl._text import written_apart
from sktl.displays._drawing import INK, MARKERS, PALETTE, axes_for, greater_is_better, label, light_spines

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["LabelEfficiencyDisplay"]


class LabelEfficiencyDisplay:
    """Score against number of labels, one curve per candidate, and the labels saved as an arrow.

    Parameters
    ----------
    n_labels : ndarray of shape (n_sizes,)
        Numbers of labels, ascending.
    scores : dict of str to ndarray of shape (n_sizes,)
        Mean score of every candidate.
    intervals : dict of str to ndarray of shape (n_sizes, 2)
        Their 95 % intervals; NaN where there is none.
    scoring : str
        Name of the score.
    saved : LabelsSaved or None, default=None
        The labels saved that are shown.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    ax_ : matplotlib Axes
        The axes drawn into; set by `plot`.

    See Also
    --------
    LabelEfficiency.plot : Makes and draws one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.displays import LabelEfficiencyDisplay
    >>> scores = {"frozen": np.array([0.7, 0.8]), "from_scratch": np.array([0.5, 0.6])}
    >>> none = {name: np.full((2, 2), np.nan) for name in scores}
    >>> display = LabelEfficiencyDisplay(np.array([20.0, 40.0]), scores, none, scoring="accuracy")
    >>> [label.get_text() for label in display.plot().ax_.get_xticklabels()]
    ['20', '40']
    """

    def __init__(self, n_labels: NDArray[Any], scores: Any, intervals: Any, *, scoring: str, saved: Any = None) -> None:
        self.n_labels = n_labels
        self.scores = scores
        self.intervals = intervals
        self.scoring = scoring
        self.saved = saved

    @classmethod
    def from_label_efficiency(cls, result: Any) -> LabelEfficiencyDisplay:
        """Take the numbers from a record.

        Parameters
        ----------
        result : LabelEfficiency
            What to draw.

        Returns
        -------
        LabelEfficiencyDisplay
            Not drawn yet.
        """
        return cls(
            result.n_labels,
            {name: scores.mean(axis=1) for name, scores in result.scores.items()},
            {name: result.interval(name) for name in result.candidates},
            scoring=result.scoring,
            saved=result.headline,
        )

    def frame(self) -> Any:
        """Return the numbers drawn: one row per candidate and number of labels.

        Returns
        -------
        pandas.DataFrame
            Columns candidate, n_labels, score, low, high.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="LabelEfficiencyDisplay.frame")
        records = [
            {"candidate": name, "n_labels": float(n), "score": float(score), "low": float(low), "high": float(high)}
            for name, scores in self.scores.items()
            for n, score, (low, high) in zip(self.n_labels, scores, self.intervals[name], strict=True)
        ]
        return pandas.DataFrame(records, columns=["candidate", "n_labels", "score", "low", "high"])

    def plot(self, ax: Any = None) -> LabelEfficiencyDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure when None.

        Returns
        -------
        LabelEfficiencyDisplay
            Itself, with `figure_` and `ax_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = ax = axes_for(ax, "LabelEfficiencyDisplay.plot", (8, 4.8))
        self.figure_ = ax.figure
        names = written_apart(self.scores)
        for i, name in enumerate(self.scores):
            look = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "label": names[i]}
            self._draw_curve(ax, name, look)
        self._label_curves(ax, names)
        if self.saved is not None:
            self._draw_saved(ax)
        self._scales(ax)
        light_spines(ax)
        return self

    def _draw_curve(self, ax, name, look):
        scores, (low, high) = self.scores[name], self.intervals[name].T
        ax.fill_between(self.n_labels, low, high, color=look["color"], alpha=0.12, linewidth=0)
        ax.plot(self.n_labels, scores, markersize=6, linewidth=2, **look)

    def _label_curves(self, ax, names):
        """Names at the right ends, moved apart where they would lie on each other."""
        ends = np.array([scores[-1] for scores in self.scores.values()])
        low = min(np.nanmin(np.r_[self.intervals[name].ravel(), scores]) for name, scores in self.scores.items())
        high = max(np.nanmax(np.r_[self.intervals[name].ravel(), scores]) for name, scores in self.scores.items())
        gap = 0.055 * max(high - low, 1e-9)
        order = np.argsort(ends)
        places = ends[order].astype(float)
        for i in range(1, len(places)):
            places[i] = max(places[i], places[i - 1] + gap)
        places -= (places - ends[order]).mean()
        for place, i in zip(places, order, strict=True):
            color = PALETTE[i % len(PALETTE)]
            label(ax, names[i], (self.n_labels[-1], place), (10, 0), color=color, va="center", annotation_clip=False)

    def _draw_saved(self, ax):
        """Draw an arrow from where the candidate has a score to where the baseline has it, or to the last size."""
        saved = self.saved
        start, end = saved.own_needed, saved.own_needed + saved.saved
        text = _words(saved)
        if text is None:
            return
        style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.3, "shrinkA": 4, "shrinkB": 0}
        ax.annotate("", (end, saved.score), (start, saved.score), arrowprops=style, zorder=4)
        # On the side of the arrow on which the curve of the baseline is far away.
        offset, ha, va = ((6, -8), "left", "top") if saved.saved > 0 else ((-6, 8), "right", "bottom")
        label(ax, text, (start, saved.score), offset, ha=ha, va=va, zorder=5)

    def _scales(self, ax):
        ax.set_xscale("log")
        ax.set_xticks(self.n_labels, [f"{n:,.0f}" for n in self.n_labels])
        ax.minorticks_off()
        ax.set_xlabel("labelled training images (logarithmic)")
        ax.set_ylabel(greater_is_better(self.scoring))
        ax.set_title("Mean over the splits; bands: 95 % corrected intervals", fontsize="medium", loc="left")


def _words(saved):
    """Name the labels saved; None where there is neither gain nor loss to draw."""
    if round(saved.saved) == 0:
        return None
    least = "at least " if saved.is_bound else ""
    text = f"{least}{abs(saved.saved):,.0f} labels {'saved' if saved.saved > 0 else 'lost'}"
    return text if saved.saved < 0 else f"{text} ({saved.factor:.1f} ×)"
