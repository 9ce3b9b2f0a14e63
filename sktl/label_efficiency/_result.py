"""The record of label_efficiency: scores at every number of labels, and the labels that transfer saves."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sktl._optional import import_optional
from sktl._score_bounds import possible_score
from sktl._statistics import CONFIDENCE, corrected_interval
from sktl._validation import did_you_mean
from sktl.displays import LabelEfficiencyDisplay
from sktl.label_efficiency._labels_needed import (
    corrected_draws,
    interval_with_bounds,
    isotonic_fit,
    labels_more,
    labels_needed,
)
from sktl.reports import summarize_label_efficiency

__all__ = ["LabelEfficiency", "LabelsSaved"]


@dataclass(frozen=True)
class LabelsSaved:
    """How many labels the baseline needs for the score that a candidate has at one size, and how many it itself needs.

    On a plateau a candidate had the score with fewer labels already: those are what the baseline is measured against.

    Parameters
    ----------
    candidate, baseline : str
        Names.
    n_labels : float
        Labels that the candidate had; the mean over the splits.
    score : float
        Its score: that of its mean curve, made to rise with the number of labels.
    own_needed : float
        Labels from which its curve has that score; `n_labels`, unless the curve was there earlier.
    needed : float
        Labels that the baseline needs for that score. Infinity: more than `most`. 0: fewer than `fewest`.
    low, high : float
        The 95 % interval of `needed`, with the same two bounds. NaN with fewer than two splits.
    more_low, more_high : float
        The 95 % interval of `needed` - `own_needed`, on which the verdict rests; infinity and minus infinity where
        `needed` is a bound.
    fewest, most : float
        The smallest and the largest number of labels that were tried.

    See Also
    --------
    LabelEfficiency.labels_saved : Makes them.

    Examples
    --------
    >>> from sktl.label_efficiency import LabelsSaved
    >>> sizes, intervals = {"fewest": 20, "most": 200}, {"low": 60, "high": 140, "more_low": 40, "more_high": 120}
    >>> saved = LabelsSaved("frozen", "scratch", n_labels=20, score=0.8, own_needed=20, needed=90, **intervals, **sizes)
    >>> saved.saved, saved.verdict
    (70.0, 'saves labels')
    """

    candidate: str
    baseline: str
    n_labels: float
    score: float
    own_needed: float
    needed: float
    low: float
    high: float
    more_low: float
    more_high: float
    fewest: float
    most: float

    @property
    def saved(self) -> Any:
        """Labels saved; negative where the baseline needs fewer. A lower bound when `needed` is infinite."""
        return float(np.clip(self.needed, self.fewest, self.most)) - self.own_needed

    @property
    def factor(self) -> Any:
        """How many times as many labels the baseline needs; at least, or at most, that where `needed` is a bound."""
        return float(np.clip(self.needed, self.fewest, self.most)) / self.own_needed

    @property
    def is_bound(self) -> Any:
        """Whether the baseline reached the score only beyond the sizes that were tried, or before them."""
        return not 0 < self.needed < np.inf

    @property
    def is_on_plateau(self) -> Any:
        """Whether the candidate had this score with fewer labels already."""
        return round(self.own_needed) < round(self.n_labels)

    @property
    def verdict(self) -> Any:
        """One of "saves labels", "costs labels", "undecided": the sign of the whole interval of labels more."""
        if self.more_low > 0:
            return "saves labels"
        return "costs labels" if self.more_high < 0 else "undecided"


@dataclass(frozen=True, repr=False, eq=False)
class LabelEfficiency:
    """Scores of candidates at growing numbers of labels, on the same test images.

    Returned by :func:`label_efficiency`; print it for the table, or use the methods.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_sizes, n_splits)
        Score of every candidate; those that failed are not among them.
    sizes : tuple of int or float
        As asked for, ascending: numbers of labels, or fractions of the training images.
    n_train : ndarray of shape (n_sizes, n_splits)
        Labels that were used.
    n_all : ndarray of shape (n_splits,)
        Training images that each split has in all.
    n_test : ndarray of shape (n_splits,)
        Test images of each split, the same at all sizes.
    fit_seconds, predict_seconds : dict of str to ndarray of shape (n_sizes, n_splits)
        Time of each fit, and of scoring it.
    seeds : ndarray of shape (n_sizes, n_splits)
        Seed of each fit.
    baseline : str
        The candidate that labels are counted for.
    scoring : str
        Name of the score; greater is better.
    transfer : dict of str to bool
        Whether the candidate starts from pretrained weights.
    failures : dict of str to str
        Message of each candidate that failed.
    settings : dict
        What was run: parameters, estimators, networks, versions.
    fits : TransferComparison or None, default=None
        Every fit at every size, from which `comparison_at` takes those of one.

    See Also
    --------
    label_efficiency : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.label_efficiency import LabelEfficiency
    >>> def around(*means):
    ...     return np.array(means)[:, None] + [-0.02, 0.0, 0.02]
    >>> n = np.array([[20], [40], [80]]).repeat(3, axis=1)
    >>> result = LabelEfficiency(
    ...     scores={"frozen": around(0.7, 0.8, 0.9), "from_scratch": around(0.5, 0.6, 0.75)}, sizes=(20, 40, 80),
    ...     n_train=n, n_all=n[-1], n_test=np.array([40, 40, 40]), fit_seconds={}, predict_seconds={}, seeds=n,
    ...     baseline="from_scratch", scoring="accuracy", transfer={"frozen": True, "from_scratch": False}, failures={},
    ...     settings={})
    >>> first = result.labels_saved("frozen")[0]
    >>> round(first.needed, 1), round(first.saved, 1)
    (63.5, 43.5)
    """

    scores: dict[str, np.ndarray]
    sizes: tuple[float, ...]
    n_train: np.ndarray
    n_all: np.ndarray
    n_test: np.ndarray
    fit_seconds: dict[str, np.ndarray]
    predict_seconds: dict[str, np.ndarray]
    seeds: np.ndarray
    baseline: str
    scoring: str
    transfer: dict[str, bool]
    failures: dict[str, str]
    settings: dict[str, Any]
    fits: Any = None

    @property
    def candidates(self) -> Any:
        """Names of the candidates that were scored on all splits, in order."""
        return list(self.scores)

    @property
    def n_splits(self) -> Any:
        """Number of splits."""
        return self.n_train.shape[1]

    @property
    def n_labels(self) -> Any:
        """Numbers of labels: means over the splits, ndarray of shape (n_sizes,)."""
        return self.n_train.mean(axis=1)

    def interval(self, candidate: str) -> np.ndarray:
        """Corrected 95 % interval of the mean score at every size.

        Parameters
        ----------
        candidate : str
            Its name.

        Returns
        -------
        ndarray of shape (n_sizes, 2)
            Lower and upper end; NaN with fewer than two splits or no spread. As
            :func:`~sktl.comparison.corrected_interval`, with all training images of a split: subsets of them share
            fewer images, so the interval is rather too wide. Cut off where the score cannot lie, such as at an
            accuracy of 1.

        Raises
        ------
        ValueError
            If there is no such candidate.
        """
        rows = self.scores[self._checked(candidate)]
        return np.array([possible_score(self, corrected_interval(row, self.n_all, self.n_test)) for row in rows])

    def labels_saved(
        self, candidate: str | None = None, *, baseline: str | None = None, n_draws: int = 2000, random_state: int = 0
    ) -> list[LabelsSaved]:
        """Count the labels that the baseline needs for the scores of a candidate.

        Parameters
        ----------
        candidate : str, default=None
            Name; the first with transfer when None.
        baseline : str, default=None
            The other; that of the record when None.
        n_draws : int, default=2000
            Curves drawn for the interval.
        random_state : int, default=0
            Seed of those.

        Returns
        -------
        list of LabelsSaved
            One for every size.

        Raises
        ------
        ValueError
            If there is no such candidate, or both are the same.

        Notes
        -----
        Both mean curves are made to rise and read between their points over the logarithm of the number of labels.
        Beyond their ends nothing is extrapolated: "more than 400" is all that is said. The baseline is measured against
        the labels from which the candidate has the score: where its curve is level, fewer than it was given.

        The intervals are a parametric bootstrap: both curves are drawn together around their means, with the covariance
        that the splits show, widened for training images that they share. It covers the luck of the split, of
        the subset and of the fit. It leaves out what another way of training would change, what images of another
        source would do, and the straight line between sizes: close sizes make that small.
        """
        candidate = self._checked(self._first_transfer() if candidate is None else candidate)
        baseline = self._checked(self.baseline if baseline is None else baseline)
        if candidate == baseline:
            raise ValueError(f"candidate and baseline must be different. Got {candidate!r} for both instead.")
        return self._counted(candidate, baseline, CONFIDENCE, n_draws, random_state)

    def _counted(self, candidate, baseline, confidence, n_draws=2000, random_state=0):
        own, other = self.scores[candidate], self.scores[baseline]
        n_labels, n_sizes = self.n_labels, len(self.sizes)
        scores, own_needed, needed = _needs(n_labels, own.mean(axis=1), other.mean(axis=1))
        ends = np.full((n_sizes, 4), np.nan)
        if self.n_splits > 1:
            options = {"n_draws": n_draws, "random_state": random_state}
            drawn = corrected_draws(np.concatenate([own, other]).T, self.n_all, self.n_test, **options)
            _, own_found, found = _needs(n_labels, drawn[:, :n_sizes], drawn[:, n_sizes:])
            both = zip(found.T, labels_more(found, own_found).T, strict=True)
            ends = np.array([np.ravel([interval_with_bounds(column, confidence) for column in pair]) for pair in both])
        return [
            LabelsSaved(candidate, baseline, *map(float, (*numbers, *end, n_labels[0], n_labels[-1])))
            for *numbers, end in zip(n_labels, scores, own_needed, needed, ends, strict=True)
        ]

    @cached_property
    def headline(self) -> Any:
        """The LabelsSaved that answers best how many labels transfer saves.

        Of the first candidate with transfer; None without one, or where it is the baseline. Sizes on a plateau of the
        candidate are left out: they repeat the answer of the size at which it begins. Of the others, those with a
        verdict that holds although all sizes were looked at (Bonferroni) are preferred. What remains is ranked: the
        largest size whose interval lies within the sizes that were tried; else the largest whose estimate does; where
        all are bounds, the one that says most.
        """
        candidate = self._first_transfer()
        if candidate is None or self.baseline not in self.scores:
            return None
        strict = self._counted(candidate, self.baseline, 1 - (1 - CONFIDENCE) / len(self.sizes))
        sure = {one.n_labels for one in strict if one.verdict != "undecided"}
        saved = [one for one in self.labels_saved(candidate) if not one.is_on_plateau]
        saved = [one for one in saved if one.n_labels in sure] or saved
        within = [one for one in saved if not one.is_bound]
        full = [one for one in within if one.low > 0 and one.high < np.inf]
        return (full or within or sorted(saved, key=lambda one: abs(np.log(one.factor))))[-1]

    def _first_transfer(self):
        return next((name for name in self.scores if self.transfer[name] and name != self.baseline), None)

    def _checked(self, candidate):
        if candidate not in self.scores:
            raise ValueError(
                f"candidate must be one of {self.candidates}. Got {candidate!r} instead."
                f"{did_you_mean(candidate, self.candidates)}"
            )
        return candidate

    def comparison_at(self, size: int | float) -> Any:
        """Return the comparison at one number of labels: with verdict, plots and page, and without another fit.

        Parameters
        ----------
        size : int or float
            One of `sizes`.

        Returns
        -------
        TransferComparison
            What :func:`~sktl.compare_transfer` finds on the splits of that size, with the seeds of these fits.

        Raises
        ------
        ValueError
            If there is no such size, or the record holds no fits.
        """
        if size not in self.sizes or self.fits is None:
            known = "no fits, so none" if self.fits is None else list(self.sizes)
            raise ValueError(f"size must be one of those that were fitted: {known}. Got {size!r} instead.")
        place, step = self.sizes.index(size), len(self.sizes)
        runs = tuple(replace(run, split=run.split // step) for run in self.fits.runs if run.split % step == place)
        splits, seeds = self.fits.splits[place::step], self.fits.seeds[place::step]
        labels = f"{self.settings['cv']} with {self.n_labels[place]:,.0f} labels each"
        settings = self.fits.settings | {"cv": labels}
        return replace(self.fits, runs=runs, splits=splits, seeds=seeds, settings=settings, group_gap=None)

    def frame(self) -> Any:
        """Every fit as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates * n_sizes * n_splits, 8)
            Columns candidate, size, n_train, split, seed, score, fit_seconds, predict_seconds.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="LabelEfficiency.frame")
        records = [
            {
                "candidate": name,
                "size": size,
                "n_train": int(self.n_train[i, split]),
                "split": split,
                "seed": int(self.seeds[i, split]),
                "score": float(self.scores[name][i, split]),
                "fit_seconds": float(self.fit_seconds[name][i, split]),
                "predict_seconds": float(self.predict_seconds[name][i, split]),
            }
            for name in self.candidates
            for i, size in enumerate(self.sizes)
            for split in range(self.n_splits)
        ]
        return pandas.DataFrame(records)

    def plot(self, ax: Any = None) -> LabelEfficiencyDisplay:
        """Draw the curves, and the labels saved as an arrow.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure when None.

        Returns
        -------
        LabelEfficiencyDisplay
            Holds the numbers drawn, and the figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return LabelEfficiencyDisplay.from_label_efficiency(self).plot(ax=ax)

    def __repr__(self):
        return summarize_label_efficiency(self).as_text()

    def _repr_html_(self):
        return summarize_label_efficiency(self).as_html("sktl-label-efficiency")


def _needs(n_labels, own, other):
    """Find the scores of a rising curve, and the labels from which it and another one have them."""
    scores = isotonic_fit(own)
    own_needed = labels_needed(n_labels, scores, scores)
    own_needed = np.where(np.isclose(own_needed, n_labels, rtol=1e-9, atol=0), n_labels, own_needed)
    return scores, own_needed, labels_needed(n_labels, other, scores)
