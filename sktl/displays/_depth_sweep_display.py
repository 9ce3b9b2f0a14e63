"""How deep to unfreeze: scores and seconds of a search over the depth."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktl._optional import import_optional
from sktl._validation import did_you_mean
from sktl.displays._drawing import BLUE, greater_is_better, light_spines, pair_of_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


__all__ = ["DepthSweepDisplay"]

PARAMETER = "unfreeze_depth"


class DepthSweepDisplay:
    """Score against the number of unfrozen stages, beside the seconds.

    Where other parameters were searched as well, the setting with the best mean at each depth is shown. The best of
    many is flattered by having been chosen.

    Parameters
    ----------
    depths : list of (int or str)
        Depths in ascending order, "all" at the end.
    settings : list of dict
        The other parameters at each depth; empty where the depth alone was searched.
    scores : ndarray of shape (n_depths, n_splits)
        Test scores; NaN where a fit failed.
    fit_seconds : ndarray of shape (n_depths,)
        Mean seconds of a fit.
    scoring : str, default="score"
        Name of the score.

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
    ([0, 'all'], (2, 2))
    """

    def __init__(
        self,
        depths: Any,
        settings: Sequence[Any],
        scores: NDArray[Any],
        fit_seconds: NDArray[Any],
        *,
        scoring: str = "score",
    ) -> None:
        self.depths = depths
        self.settings = settings
        self.scores = scores
        self.fit_seconds = fit_seconds
        self.scoring = scoring

    @classmethod
    def from_search(cls, search: Any, *, parameter: str | None = None, metric: str | None = None) -> DepthSweepDisplay:
        """Take the scores from a fitted search.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or the like
            Fitted, over ``unfreeze_depth`` or a nested parameter of that name, such as
            ``finetuneclassifier__unfreeze_depth``. Of a search that halves the first round is taken, in which all
            candidates have the same resources.
        parameter : str or None, default=None
            Which parameter the depth is; None finds it.
        metric : str or None, default=None
            Which score, when the search had several; None takes the one that it refits by.

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
            If the search was not over a depth, or over several, and if `metric` is unknown.
        """
        if not hasattr(search, "best_estimator_") and not hasattr(search, "refit"):
            raise TypeError(f"search must be a fitted search such as GridSearchCV. Got {search!r} instead.")
        check_is_fitted(search, "cv_results_")
        results = search.cv_results_
        parameter = _find_parameter(results, parameter)
        metric = _find_metric(search, metric)
        best = _best_of_each_depth(results, parameter, metric)
        settings = [dict(results["params"][place]) for place in best.values()]
        for setting in settings:
            del setting[parameter]
        places = list(best.values())
        scores, seconds = _scores_by_fold(results, metric)[places], results["mean_fit_time"][places]
        return cls(list(best), settings, scores, seconds, scoring=_name_of_score(search, metric))

    def plot(self, ax: Any = None) -> DepthSweepDisplay:
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
        self.axes_ = left, right = pair_of_axes(ax, "DepthSweepDisplay.plot", (9.5, 4.2), share="x", ratios=(3, 2))
        self.figure_ = left.figure
        x = np.arange(len(self.depths))
        left.plot(x, self.scores, "o", color=BLUE, alpha=0.35, markersize=4, zorder=1)
        left.plot(x, self.scores.mean(axis=1), "o-", color=BLUE, linewidth=2, markersize=7, zorder=3)
        right.plot(x, self.fit_seconds, "o-", color=BLUE, linewidth=2, markersize=7)
        for one in self.axes_:
            one.set_xticks(x, [str(depth) for depth in self.depths])
            one.set_xlim(-0.5, len(self.depths) - 0.5)
            one.set_xlabel("stages unfrozen")
        left.set_ylabel(greater_is_better(self.scoring))
        right.set_ylabel("mean seconds to fit")
        if np.nanmin(self.fit_seconds) > 0:
            right.set_yscale("log")
        what = " of the best setting at each depth" if any(self.settings) else ""
        left.set_title(f"Points: folds; line: means{what}", fontsize="medium", loc="left")
        light_spines(left, right)
        return self

    def frame(self) -> Any:
        """Every fit as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_fits, 4 + n_parameters)
            Columns depth, split, score, fit_seconds (the mean over the splits, which is what a search keeps), and one
            named after each other parameter.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="DepthSweepDisplay.frame")
        records = [
            {"depth": depth, "split": split, "score": float(score), "fit_seconds": float(seconds), **setting}
            for depth, setting, scores, seconds in zip(
                self.depths, self.settings, self.scores, self.fit_seconds, strict=True
            )
            for split, score in enumerate(scores)
            if np.isfinite(score)
        ]
        return pandas.DataFrame(records)


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


def _best_of_each_depth(results, parameter, metric):
    """Find where the results have the best mean at every depth, the depths in order and "all" at the end."""
    means, rounds = results[f"mean_test_{metric}"], results.get("iter")
    places: dict[int | str, list[int]] = {}
    for place, params in enumerate(results["params"]):
        if parameter in params and (rounds is None or rounds[place] == 0):  # of a list of grids some leave it alone
            places.setdefault(params[parameter], []).append(place)
    depths = sorted(places, key=lambda depth: (isinstance(depth, str), depth))
    return {depth: max(places[depth], key=lambda place: np.nan_to_num(means[place], nan=-np.inf)) for depth in depths}


def _scores_by_fold(results, metric):
    keys = takewhile(results.__contains__, (f"split{split}_test_{metric}" for split in count()))
    return np.array([results[key] for key in keys], dtype=float).T
