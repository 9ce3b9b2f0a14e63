"""Networks by what they score and what an image costs, with the leading group marked and controls as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._optional import import_optional
from sktl._score_bounds import possible_score
from sktl._statistics import corrected_interval
from sktl._text import as_written, digits_for, number, written_apart
from sktl.displays._drawing import (
    BLUE,
    GREY,
    INK,
    LETTER_WIDTH,
    LINE_HEIGHT,
    axes_for,
    greater_is_better,
    label,
    lifts_of,
    light_spines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["BackboneRankingDisplay"]

LONGEST = 20  # letters of a name
AT_LEFT, MOST_AT_RIGHT = 0.08, 0.45  # parts of the axes beside the outermost points; names stand at the right
BESIDE = 8  # points between a point and its name


class BackboneRankingDisplay:
    """Score against seconds per image.

    Parameters
    ----------
    names : list of str
        Of the networks.
    scores : list of float
        Mean scores; greater is better.
    intervals : list of (float, float)
        Corrected 95 % intervals of the mean scores; NaN where there is no spread to judge by.
    seconds : list of float
        Per image.
    scoring : str
        Name of the score.
    leading_group : sequence of str, default=()
        Networks that cannot be told from the best one.
    recommended : str or None, default=None
        The one to take, drawn as a diamond.
    controls : dict of str to float or None, default=None
        Mean scores of what has no network or no pretraining, drawn as lines.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    ax_ : matplotlib Axes
        The axes drawn into; set by `plot`.

    See Also
    --------
    CostDisplay : Candidates of a comparison by what they score and cost.

    Notes
    -----
    The networks were scored on the same folds, so two of them may differ clearly although their intervals overlap
    here: whether they do is what the leading group says.

    Examples
    --------
    >>> from sktl.displays import BackboneRankingDisplay
    >>> display = BackboneRankingDisplay(
    ...     ["resnet50", "resnet18", "squeezenet1_1"], [0.92, 0.91, 0.80], [(0.89, 0.95), (0.88, 0.94), (0.76, 0.84)],
    ...     [0.09, 0.03, 0.01], scoring="accuracy", leading_group=["resnet50", "resnet18"], recommended="resnet18",
    ...     controls={"pixels": 0.5, "dummy": 0.1})
    >>> display.plot().ax_.get_xscale()
    'log'
    """

    def __init__(
        self,
        names: Sequence[str],
        scores: Sequence[float],
        intervals: Any,
        seconds: Sequence[float],
        *,
        scoring: str,
        leading_group: Sequence[str] = (),
        recommended: str | None = None,
        controls: Any = None,
    ) -> None:
        self.names = names
        self.scores = scores
        self.intervals = intervals
        self.seconds = seconds
        self.scoring = scoring
        self.leading_group = leading_group
        self.recommended = recommended
        self.controls = controls

    @classmethod
    def from_ranking(cls, ranking: Any) -> BackboneRankingDisplay:
        """Take scores and seconds from a ranking.

        Parameters
        ----------
        ranking : BackboneRanking
            What to draw.

        Returns
        -------
        BackboneRankingDisplay
            Not drawn yet.
        """
        rows, comparison = ranking.rows(), ranking.comparison
        sizes = comparison.n_train, comparison.n_test
        return cls(
            [row.name for row in rows],
            [row.mean for row in rows],
            [possible_score(comparison, corrected_interval(comparison.scores[row.name], *sizes)) for row in rows],
            [row.seconds_per_image for row in rows],
            scoring=ranking.scoring,
            leading_group=ranking.leading_group,
            recommended=ranking.recommended,
            controls={row.candidate: row.mean for row in ranking.controls()},
        )

    def plot(self, ax: Any = None) -> BackboneRankingDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        BackboneRankingDisplay
            Itself, with `figure_` and `ax_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self.ax_ = axes_for(ax, "BackboneRankingDisplay.plot", (6.4, 4.4))
        self.figure_ = ax.figure
        places = [1000 * seconds for seconds in self.seconds]
        for name, x, score, interval in zip(self.names, places, self.scores, self.intervals, strict=True):
            color = BLUE if name in self.leading_group else GREY
            if interval[0] == interval[0]:
                ax.plot([x, x], interval, color=color, linewidth=1.5, alpha=0.7, zorder=2)
            ax.plot(x, score, "D" if name == self.recommended else "o", color=color, markersize=8, zorder=3)
        self._scales(ax, places)
        self._draw_controls(ax)
        self._name(ax, places)
        light_spines(ax)
        ax.set_title("Blue: leading group. Diamond: recommended", fontsize="medium", loc="left")
        return self

    def frame(self) -> Any:
        """Every network as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_networks, 6)
            Columns name, score, low, high, seconds, in_leading_group.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="BackboneRankingDisplay.frame")
        lows, highs = zip(*self.intervals, strict=True)
        columns = {"name": self.names, "score": self.scores, "low": lows, "high": highs, "seconds": self.seconds}
        return pandas.DataFrame(columns | {"in_leading_group": [name in self.leading_group for name in self.names]})

    def _scales(self, ax, places):
        low, high = np.log10(min(places)), np.log10(max(places))
        ticker = import_optional("matplotlib.ticker", extra="plot", caller="BackboneRankingDisplay.plot")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0,) if high - low > 1 else (1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(lambda x, place: f"{x:g}")
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        width = 72 / ax.figure.dpi * ax.get_window_extent().width
        at_right = min(MOST_AT_RIGHT, max(map(_width, self._texts())) / width)
        decades = (high - low or 1.0) / (1 - AT_LEFT - at_right)
        ax.set_xlim(10 ** (low - AT_LEFT * decades), 10 ** (high + at_right * decades))
        ax.margins(y=0.12)
        ax.set_xlabel("milliseconds per image (less is better)")
        ax.set_ylabel(greater_is_better(self.scoring))

    def _draw_controls(self, ax):
        """Draw a line for each control, its name at the right end, moved where two would lie on each other."""
        lines = sorted((self.controls or {}).items(), key=lambda item: item[1])
        for _, score in lines:
            ax.axhline(score, color=INK, linestyle=":", linewidth=1, zorder=0)
        ax.autoscale_view(scalex=False)
        texts = [as_written(name) for name, _ in lines]
        right = ax.get_xlim()[1]
        lifts = lifts_of(ax, [(right, score) for _, score in lines], texts) if lines else []
        for text, (_, score), lift in zip(texts, lines, lifts, strict=True):
            place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
            label(ax, text, (1, score), (-4, 2 + lift), zorder=1, **place)

    def _texts(self):
        digits = digits_for(self.scores)
        named = zip(written_apart(self.names, LONGEST), self.scores, strict=True)
        return [f"{name}  {number(score, digits=digits)}" for name, score in named]

    def _name(self, ax, places):
        """Write names beside the points: at the right, or at the left where only there no other point is in the way."""
        texts, scale = self._texts(), 72 / ax.figure.dpi
        points = scale * ax.transData.transform(list(zip(places, self.scores, strict=True)))
        widths = np.array(list(map(_width, texts)))
        beside, above = (points[None, :, axis] - points[:, None, axis] for axis in (0, 1))
        near = (abs(above) < 2 * LINE_HEIGHT) & (abs(beside) < widths[:, None])
        fits = points[:, 0] - scale * ax.get_window_extent().x0 > widths
        at_left = fits & (near & (beside > 0)).any(axis=1) & ~(near & (beside < 0)).any(axis=1)
        starts = (points - np.outer(at_left * widths, [1, 0])) / scale
        lifts = lifts_of(ax, ax.transData.inverted().transform(starts), texts)
        for text, x, score, lift, name, left in zip(
            texts, places, self.scores, lifts, self.names, at_left, strict=True
        ):
            offset, color = (-BESIDE if left else BESIDE, 5 + lift), BLUE if name in self.leading_group else INK
            label(ax, text, (x, score), offset, color=color, ha="right" if left else "left", zorder=2.5)


def _width(text):
    """Estimate how many points a name takes, with what lies between it and its point."""
    return LETTER_WIDTH * len(text) + 2 * BESIDE
