"""The record of a comparison: every fit, and what follows from them."""

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from sktl._optional import import_optional
from sktl._statistics import differences_of
from sktl._validation import did_you_mean
from sktl.comparison._controls import is_at_chance
from sktl.comparison._notes import make_notes
from sktl.comparison._per_image import out_of_fold
from sktl.comparison._plain import content_of, fits_of
from sktl.comparison._records import ComparisonRow, FitRecord, GroupGap
from sktl.comparison._rows import make_rows
from sktl.displays import ComparisonDisplay
from sktl.exceptions import ImageReadError
from sktl.reports import summarize_comparison, write_report

__all__ = ["ComparisonRow", "TransferComparison"]


@dataclass(frozen=True, eq=False, repr=False)
class TransferComparison:
    """What :func:`compare_transfer` found: every fit, and what follows from them.

    Printing it gives a table with a verdict in words; notebooks show it as HTML.

    Parameters
    ----------
    runs : tuple of FitRecord
        One record for every fit: scores, costs and predictions; failed ones too.
    splits : tuple of (train, test)
        Indices of the training and of the test images of every split, in `X`.
    y : ndarray of shape (n_images,)
        Labels, or numbers, in the order of `X`.
    seeds : tuple of int
        Seed of every split, the same for all candidates.
    baseline : str
        Name of the candidate the others are compared with.
    scoring : str
        Name of the main score, which the verdict is about.
    rope : float
        Differences from -rope to rope count as practically equal, in units of the main score.
    transfer : dict of str to bool
        Whether a candidate started from pretrained weights, by the record of its network where there is one.
    settings : dict
        What else is needed to say what was compared: parameters, data, networks with digests, versions.
    bad_images : tuple of ImageReadError, default=()
        Images that could not be read and lie in no split, with `index` in `X`, `path` and `reason`.
    groups : ndarray of shape (n_images,), int, or None, default=None
        Number of the group of every image; images of one group belong together.
    interval : {"auto", "corrected"}, default="auto"
        How intervals are computed, see :func:`compare_transfer`; to `replace` it fits nothing anew.
    group_gap : GroupGap or None, default=None
        What folds that ignore the groups score, or that keep suggested ones together; None without groups.

    See Also
    --------
    compare_transfer : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.comparison import FitRecord, TransferComparison
    >>> scores = {"from_scratch": [0.61, 0.58, 0.63, 0.60, 0.62], "frozen": [0.81, 0.80, 0.79, 0.82, 0.80]}
    >>> runs = tuple(FitRecord(name, split, {"accuracy": score}, fit_seconds=1.0, predict_seconds=0.1)
    ...              for name in scores for split, score in enumerate(scores[name]))
    >>> splits = tuple((np.setdiff1d(np.arange(100), fold), fold) for fold in np.arange(100).reshape(5, 20))
    >>> comparison = TransferComparison(
    ...     runs, splits, y=np.arange(100) % 2, seeds=(1, 2, 3, 4, 5), baseline="from_scratch", scoring="accuracy",
    ...     rope=0.01, transfer={"from_scratch": False, "frozen": True}, settings={})
    >>> comparison.verdict
    'transfer helps'
    """

    runs: tuple[FitRecord, ...]
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    y: np.ndarray
    seeds: tuple[int, ...]
    baseline: str
    scoring: str
    rope: float
    transfer: dict[str, bool]
    settings: dict[str, Any]
    bad_images: tuple[ImageReadError, ...] = ()
    groups: np.ndarray | None = None
    interval: str = "auto"
    group_gap: GroupGap | None = None

    @cached_property
    def _fits(self):
        """The runs of every candidate that succeeded on all splits, in their order; computed once, as what follows."""
        runs_by_name: dict[str, list[FitRecord]] = {}
        for run in self.runs:
            runs_by_name.setdefault(run.candidate, []).append(run)
        return {
            name: tuple(sorted(runs, key=lambda run: run.split))
            for name, runs in runs_by_name.items()
            if sum(run.error is None for run in runs) == self.n_splits
        }

    @cached_property
    def _rows(self):
        return tuple(make_rows(self))

    @cached_property
    def _notes(self):
        return tuple(make_notes(self))

    def __getstate__(self):
        """Keep the fields in pickles and copies; what follows from them is computed anew."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def candidates(self) -> list[str]:
        """Names of the candidates that succeeded on all splits, in the order in which they were named."""
        return list(self._fits)

    @property
    def failures(self) -> Any:
        """The runs that failed, with their errors."""
        return [run for run in self.runs if run.error is not None]

    @property
    def n_splits(self) -> int:
        """Number of train/test splits that all candidates share."""
        return len(self.splits)

    @property
    def n_train(self) -> Any:
        """Number of training images of every split."""
        return np.array([len(train) for train, _ in self.splits])

    @property
    def n_test(self) -> Any:
        """Number of test images of every split."""
        return np.array([len(test) for _, test in self.splits])

    @property
    def metrics(self) -> list[str]:
        """Names of the scores, the main one first."""
        return list(dict.fromkeys([self.scoring, *(name for run in self.runs for name in run.scores)]))

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Main score of every candidate on every split: a dict of ndarrays of shape (n_splits,)."""
        return self.scores_of(self.scoring)

    @property
    def fit_seconds(self) -> dict[str, np.ndarray]:
        """Seconds of every fit: a dict of ndarrays of shape (n_splits,)."""
        return {name: np.array([run.fit_seconds for run in runs]) for name, runs in self._fits.items()}

    @property
    def predict_seconds(self) -> dict[str, np.ndarray]:
        """Seconds of predicting and scoring the test images: a dict of ndarrays of shape (n_splits,)."""
        return {name: np.array([run.predict_seconds for run in runs]) for name, runs in self._fits.items()}

    @property
    def n_trained_parameters(self) -> Any:
        """Number of network parameters that each candidate trained; None where it does not tell."""
        return {name: runs[0].n_trained_parameters for name, runs in self._fits.items()}

    @property
    def best_candidate(self) -> str:
        """Name of the candidate with the best mean of the main score."""
        scores = self.scores
        return max(scores, key=lambda name: np.mean(scores[name]))

    @property
    def verdict(self) -> str:
        """The verdict on the best candidate that uses transfer, or on the best other one when none does."""
        return self.headline.verdict

    @cached_property
    def baseline_at_chance(self) -> bool:
        """Whether nothing shows that the baseline learned anything: it is not clearly better than "dummy"."""
        return is_at_chance(self, self.baseline)

    @property
    def headline(self) -> Any:
        """The row that the verdict is about: of the candidates with transfer, if any, the one that scores best."""
        others = [row for row in self._rows if row.candidate != self.baseline]
        pool = [row for row in others if self.transfer[row.candidate]] or others
        return max(pool, key=lambda row: row.mean)

    def runs_of(self, candidate: str) -> list[FitRecord]:
        """Select the fits of one candidate.

        Parameters
        ----------
        candidate : str
            Its name.

        Returns
        -------
        list of FitRecord
            In the order of the splits.

        Raises
        ------
        ValueError
            If there is no such candidate, or it failed.
        """
        if candidate not in (names := self.candidates):
            raise ValueError(
                f"candidate must be one of {names}. Got {candidate!r} instead.{did_you_mean(candidate, names)}"
            )
        return list(self._fits[candidate])

    def scores_of(self, metric: str) -> dict[str, np.ndarray]:
        """Return one score of every candidate on every split.

        Parameters
        ----------
        metric : str
            One of `metrics`.

        Returns
        -------
        dict of str to ndarray of shape (n_splits,)
            Scores by candidate; greater is better.

        Raises
        ------
        ValueError
            If there is no such score.
        """
        if metric not in (names := self.metrics):
            raise ValueError(f"metric must be one of {names}. Got {metric!r} instead.{did_you_mean(metric, names)}")
        return {name: np.array([run.scores[metric] for run in runs]) for name, runs in self._fits.items()}

    def differences(self, candidate: str, metric: str | None = None) -> np.ndarray:
        """Subtract the scores of the baseline from those of a candidate, split by split.

        Parameters
        ----------
        candidate : str
            Its name.
        metric : str, default=None
            One of `metrics`; the main score when None.

        Returns
        -------
        ndarray of shape (n_splits,)
            Differences in units of the score; positive where the candidate is better.
        """
        scores = self.scores_of(self.scoring if metric is None else metric)
        return differences_of(scores[candidate], scores[self.baseline])

    def rows(self) -> list[ComparisonRow]:
        """One record per candidate, in plain Python, for those who do without pandas.

        Returns
        -------
        list of ComparisonRow
            In the order of the candidates.
        """
        return list(self._rows)

    def notes(self) -> list[str]:
        """Say what a reader of the numbers should know, one sentence each.

        Returns
        -------
        list of str
            Empty when there is nothing to be wary of.
        """
        return list(self._notes)

    def out_of_fold(self, candidate: str) -> dict[str, np.ndarray]:
        """Gather what a candidate predicted for the test images of all splits.

        Parameters
        ----------
        candidate : str
            Its name.

        Returns
        -------
        dict of str to ndarray of shape (n_predictions,)
            Keys ``"index"`` (position in `X`), ``"split"``, ``"y_true"``, ``"y_pred"`` and ``"confidence"`` (NaN where
            there are no probabilities), one split after the other. With repeats an image appears several times.
        """
        return out_of_fold(self, candidate)

    def histories(self, candidate: str) -> Any:
        """Return how the training of a candidate went, epoch by epoch.

        Parameters
        ----------
        candidate : str
            Its name.

        Returns
        -------
        list of (list of dict or None)
            One entry per split: a list with one dict per epoch, or None without training by epochs.
        """
        return [run.history for run in self.runs_of(candidate)]

    def frame(self) -> Any:
        """Every fit as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates * n_splits, 12 + n_metrics)
            Columns candidate, split, seed, n_train, n_test, score, the costs of a fit, and one named after each metric.

        Raises
        ------
        ImportError
            If pandas is not installed; `rows` does without.
        """
        pandas = import_optional("pandas", extra="frame", caller="TransferComparison.frame")
        return pandas.DataFrame(fits_of(self))

    def summary(self) -> Any:
        """Every candidate as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates, n_columns)
            Indexed by candidate, with the fields of :class:`ComparisonRow` as columns.

        Raises
        ------
        ImportError
            If pandas is not installed; `rows` does without.
        """
        pandas = import_optional("pandas", extra="frame", caller="TransferComparison.summary")
        return pandas.DataFrame([asdict(row) for row in self.rows()]).set_index("candidate")

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Draw the differences to the baseline, and the scores of all splits.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, default=None
            Where to draw: a pair for differences and scores, one Axes to be divided, or None for a new figure.

        Returns
        -------
        ComparisonDisplay
            Holds the numbers drawn, and the figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return ComparisonDisplay.from_comparison(self).plot(ax=ax)

    def report(self, path: Any, *, X: Any = None, target_names: Any = None, maps_of: Any = None) -> Any:
        """Write one self-contained HTML page about the comparison.

        Parameters
        ----------
        path : str or Path
            File to write.
        X : sequence of images, default=None
            The images that were compared on, for thumbnails of the worst mistakes; without them there are none.
        target_names : sequence of str, default=None
            Names of the classes, in the order of the sorted labels.
        maps_of : fitted estimator or None, default=None
            A classifier whose class-activation maps to lay over them, see :class:`~sktl.displays.MistakesDisplay`.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        OSError
            If `path` is a folder, or its folder does not exist.
        ValueError
            If `path` is one of the images.
        """
        return write_report(self, path, X=X, target_names=target_names, maps_of=maps_of)

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain Python that `json.dumps` takes; numbers that are not finite become None.

        Returns
        -------
        dict
            Keys verdict, sentence, notes, baseline, baseline_at_chance, scoring, rope, candidates, splits, scores,
            metrics (every score by its name), failures, bad_images, group_gap, settings; no predictions or histories.
        """
        return content_of(self)

    def __repr__(self):
        return summarize_comparison(self).as_text()

    def _repr_html_(self):
        return summarize_comparison(self).as_html("sktl-comparison")
