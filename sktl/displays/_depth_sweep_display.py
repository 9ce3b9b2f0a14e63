"""How deep to unfreeze: scores and seconds of a search over the depth."""

import sys
from itertools import count, takewhile

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sktl._optional import import_optional
from sktl._text import as_written, shortened, written_apart
from sktl._validation import did_you_mean
from sktl.displays._drawing import MARKERS, PALETTE, light_spines, pair_of_axes

__all__ = ["DepthSweepDisplay"]

PARAMETER = "unfreeze_depth"
MOST_LINES = 6
LONGEST = 24  # letters of a value in the legend


class DepthSweepDisplay:
    """Score against the number of unfrozen stages, one line per setting of the other parameters, beside the seconds.

    Parameters
    ----------
    depths : list of (int or str)
        Depths in ascending order, "all" at the end.
    settings : list of str
        What else was varied, one text per line; a single "" when nothing was.
    scores : ndarray of shape (n_settings, n_depths, n_splits)
        Test scores; NaN where a combination was not tried, or failed.
    fit_seconds : ndarray of shape (n_settings, n_depths)
        Mean seconds of a fit.
    scoring : str, default="score"
        Name of the score.
    chosen : list of str or None, default=None
        With one line for the best over the other parameters: which setting that was, per depth.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    axes_ : ndarray of 2 matplotlib Axes
        Scores at the left, seconds at the right; set by `plot`.

    Notes
    -----
    Frozen stages are computed once per image and cut, and found in the store after that: the first fit at a depth pays
    for the others, so the seconds are those of this search and not of a fit on its own.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktl import FineTuneClassifier
    >>> from sktl.displays import DepthSweepDisplay
    >>> from sktl.datasets import make_fractals
    >>> X, y = make_fractals(24, n_classes=2, random_state=0)
    >>> model = FineTuneClassifier(max_epochs=1, random_state=0)
    >>> search = GridSearchCV(model, {"unfreeze_depth": ["all", 0]}, cv=2).fit(X, y)
    >>> display = DepthSweepDisplay.from_search(search)
    >>> display.depths, display.scores.shape
    ([0, 'all'], (1, 2, 2))
    """

    def __init__(self, depths, settings, scores, fit_seconds, *, scoring="score", chosen=None):
        self.depths = depths
        self.settings = settings
        self.scores = scores
        self.fit_seconds = fit_seconds
        self.scoring = scoring
        self.chosen = chosen

    @classmethod
    def from_search(cls, search, *, parameter=None, metric=None, others="auto"):
        """Take the scores from a fitted search.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or the like
            Fitted, over ``unfreeze_depth`` or a nested parameter of that name, such as
            ``finetuneclassifier__unfreeze_depth``.
        parameter : str or None, default=None
            Which parameter the depth is; None finds it.
        metric : str or None, default=None
            Which score, when the search had several; None takes the one that it refits by.
        others : {"auto", "lines", "best"}, default="auto"
            What to do with other parameters that were searched: "lines" draws one line per setting, "best" takes the
            setting with the best mean at every depth, which flatters where there are many. "auto" draws lines for at
            most 6 settings. The title says which.

        Returns
        -------
        DepthSweepDisplay
            Not drawn yet.

        Raises
        ------
        TypeError
            If `search` is no search.
        NotFittedError
            If it is not fitted.
        ValueError
            If the search was not over a depth, or over several, and if `metric` or `others` is unknown.
        """
        if not hasattr(search, "best_estimator_") and not hasattr(search, "refit"):
            raise TypeError(f"search must be a fitted search such as GridSearchCV. Got {search!r} instead.")
        check_is_fitted(search, "cv_results_")
        if others not in ("auto", "lines", "best"):
            raise ValueError(f"others must be 'auto', 'lines' or 'best'. Got {others!r} instead.")
        results = search.cv_results_
        parameter = _find_parameter(results, parameter)
        metric = _find_metric(search, metric)
        depths = _in_order({params[parameter] for params in results["params"] if parameter in params})
        settings, scores, seconds = _arrange(results, parameter, depths, metric)
        chosen = None
        if len(settings) > 1 and (others == "best" or (others == "auto" and len(settings) > MOST_LINES)):
            chosen, scores, seconds = _best_of(settings, scores, seconds)
            settings = [f"best of {len(settings)} settings"]
        return cls(depths, settings, scores, seconds, scoring=_name_of_score(search, metric), chosen=chosen)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, default=None
            A pair for scores and seconds, one Axes to be divided, or None for a new figure.

        Returns
        -------
        DepthSweepDisplay
            Itself, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` is neither one Axes nor a pair.
        """
        self.axes_ = pair_of_axes(ax, "DepthSweepDisplay.plot", (9.5, 4.2), share="x", ratios=(3, 2))
        self.figure_ = self.axes_[0].figure
        left, right = self.axes_
        names = written_apart(self.settings)
        spread = np.linspace(-0.12, 0.12, len(self.settings)) if len(self.settings) > 1 else [0.0]
        for line, (scores, seconds) in enumerate(zip(self.scores, self.fit_seconds, strict=True)):
            look = {"color": PALETTE[line % len(PALETTE)], "marker": MARKERS[line % len(MARKERS)]}
            x = np.arange(len(self.depths)) + spread[line]
            left.plot(x, scores, linestyle="", alpha=0.35, markersize=4, zorder=1, **look)
            left.plot(x, _means(scores), linewidth=2, markersize=7, zorder=3, label=names[line], **look)
            right.plot(x, seconds, linewidth=2, markersize=7, **look)
        if len(self.settings) > 1:
            left.legend(fontsize="small", frameon=False)
        self._scales(left, right)
        return self

    def frame(self):
        """Every fit as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_fits, 5)
            Columns setting, depth, split, score, fit_seconds (the mean over the splits, which is what a search keeps).

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="DepthSweepDisplay.frame")
        records = [
            {
                "setting": setting if self.chosen is None else self.chosen[place],
                "depth": depth,
                "split": split,
                "score": float(self.scores[line, place, split]),
                "fit_seconds": float(self.fit_seconds[line, place]),
            }
            for line, setting in enumerate(self.settings)
            for place, depth in enumerate(self.depths)
            for split in range(self.scores.shape[2])
            if np.isfinite(self.scores[line, place, split])
        ]
        return pandas.DataFrame(records, columns=["setting", "depth", "split", "score", "fit_seconds"])

    def _scales(self, left, right):
        for ax in (left, right):
            ax.set_xticks(np.arange(len(self.depths)), [str(depth) for depth in self.depths])
            ax.set_xlim(-0.5, len(self.depths) - 0.5)
            ax.set_xlabel("stages unfrozen")
        left.set_ylabel(f"{as_written(self.scoring)} (greater is better)")
        right.set_ylabel("mean seconds to fit")
        if np.nanmin(self.fit_seconds) > 0:
            right.set_yscale("log")
        what = "" if self.chosen is None else f" of the {self.settings[0]} at each depth"
        left.set_title(f"Points: folds; lines: means{what}", fontsize="medium", loc="left")
        light_spines(left, right)


def _find_parameter(results, parameter):
    searched = sorted({name for params in results["params"] for name in params})
    if parameter is not None:
        if parameter not in searched:
            raise ValueError(
                f"parameter must be one that was searched over: {', '.join(searched)}. Got {parameter!r} instead."
                f"{did_you_mean(parameter, searched)}"
            )
        return parameter
    found = [name for name in searched if name.rpartition("__")[2] == PARAMETER]
    if len(found) != 1:
        what = f"several: {', '.join(found)}; pass one as parameter" if found else f"only {', '.join(searched)}"
        raise ValueError(f"search must be over {PARAMETER} of one estimator. Got {what} instead.")
    return found[0]


def _find_metric(search, metric):
    names = [key.removeprefix("mean_test_") for key in search.cv_results_ if key.startswith("mean_test_")]
    if metric is None:
        metric = search.refit if isinstance(search.refit, str) and search.refit in names else names[0]
    if metric not in names:
        raise ValueError(
            f"metric must be one of {', '.join(names)}. Got {metric!r} instead.{did_you_mean(metric, names)}"
        )
    return metric


def _name_of_score(search, metric):
    if metric != "score":
        return metric
    return search.scoring if isinstance(search.scoring, str) else metric


def _in_order(depths):
    return sorted(depths, key=lambda depth: (isinstance(depth, str), depth))


def _arrange(results, parameter, depths, metric):
    """Scores by setting of the other parameters, depth and split; searches that halve count their resources as one."""
    resources = results.get("n_resources")
    keys = takewhile(results.__contains__, (f"split{split}_test_{metric}" for split in count()))
    folds = np.array([results[key] for key in keys], dtype=float).T
    rows = {}  # a grid may be a list, of which some leave the depth alone
    for number, params in enumerate(results["params"]):
        if parameter in params:
            others = {name: value for name, value in params.items() if name != parameter}
            if resources is not None:
                others["n_resources"] = resources[number]
            rows[number] = tuple((name, *_text_and_identity(value)) for name, value in others.items())
    settings = list(dict.fromkeys(rows.values()))
    scores = np.full((len(settings), len(depths), folds.shape[1]), np.nan)
    seconds = np.full(scores.shape[:2], np.nan)
    for number, setting in rows.items():
        where = settings.index(setting), depths.index(results["params"][number][parameter])
        scores[where], seconds[where] = folds[number], results["mean_fit_time"][number]
    return _told_apart(settings), scores, seconds


def _text_and_identity(value):
    """Return the text of a value, and what tells it from others: its repr in full, however long."""
    whole = value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, BaseEstimator):  # its own repr leaves out what is long
        inner = {name: type(one) if isinstance(one, BaseEstimator) else one for name, one in value.get_params().items()}
        whole = type(value), inner
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return str(value), repr(whole)


def _told_apart(settings):
    """Write settings for the legend, shortened; those that come out the same are numbered."""
    texts = [
        ", ".join(f"{name.rpartition('__')[2]}={shortened(text, LONGEST)}" for name, text, _ in one) for one in settings
    ]
    numbers = {text: count(1) for text in texts if texts.count(text) > 1}
    return [f"{text} ({next(numbers[text])})" if text in numbers else text for text in texts]


def _means(scores):
    """Means over the splits; NaN where a fit failed or was not made."""
    return np.asarray(scores).mean(axis=-1)


def _best_of(settings, scores, seconds):
    """At every depth the setting with the best mean, its scores and its seconds, as if it were the only one."""
    means = _means(scores)
    best = np.argmax(np.where(np.isnan(means), -np.inf, means), axis=0)
    places = np.arange(scores.shape[1])
    return [settings[line] for line in best], scores[best, places][None], seconds[best, places][None]
