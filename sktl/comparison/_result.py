"""The record of a comparison: scores of every fit, and what follows from them."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from sktl._optional import import_optional
from sktl.comparison._displays import GUESSING, ComparisonDisplay
from sktl.comparison._networks import BROUGHT_ALONG
from sktl.comparison._rendering import as_html, as_text, sentence
from sktl.comparison._statistics import (
    corrected_interval,
    correlated_t_probabilities,
    decide,
    images_to_settle,
    spread_is_zero,
)

__all__ = ["ComparisonRow", "TransferComparison"]

FEW_SPLITS = 5  # fewer than these get a note


@dataclass(frozen=True)
class ComparisonRow:
    """One candidate of a comparison, summed up.

    Parameters
    ----------
    candidate : str
        Its name.
    mean, sd : float
        Mean of the score over the splits, and standard deviation over the splits (not a standard error).
    fit_seconds, predict_seconds : float
        Mean time per split, reading images and embedding them included.
    n_trained_parameters : int or None
        Number of network parameters that were trained; None where the candidate does not tell.
    difference : float or None, default=None
        Mean score minus that of the baseline, on the same splits; this and what follows is None for the baseline.
    low, high : float or None, default=None
        Corrected 95 % interval of the difference; NaN where all differences are equal, or there is but one.
    worse, equal, better : float or None, default=None
        Probabilities that the true difference is below -rope, within, above rope; NaN likewise.
    splits_won : int or None, default=None
        On how many splits it beat the baseline.
    verdict : str, default="baseline"
        "transfer helps", "negative transfer", "practically equal" or "undecided"; "better" and "worse" where the
        difference is not one between transfer and no transfer; "baseline".

    See Also
    --------
    TransferComparison.rows : Makes them.

    Examples
    --------
    >>> from sktl.comparison import ComparisonRow
    >>> row = ComparisonRow("from_scratch", 0.6, 0.02, fit_seconds=27, predict_seconds=0.1, n_trained_parameters=692482)
    >>> row.verdict
    'baseline'
    """

    candidate: str
    mean: float
    sd: float
    fit_seconds: float
    predict_seconds: float
    n_trained_parameters: int | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    worse: float | None = None
    equal: float | None = None
    better: float | None = None
    splits_won: int | None = None
    verdict: str = "baseline"


@dataclass(frozen=True, eq=False, repr=False)
class TransferComparison:
    """What :func:`compare_transfer` found: every score, and what follows from them.

    Printing it gives a table with a verdict in words; notebooks show it as HTML.

    Parameters
    ----------
    scores : dict of str to ndarray of shape (n_splits,)
        Score of every candidate on every split, in units of the scoring; greater is better.
    fit_seconds, predict_seconds : dict of str to ndarray of shape (n_splits,)
        Time of every fit, and of predicting and scoring its test images.
    n_trained_parameters : dict of str to (int or None)
        Number of network parameters trained; None where a candidate does not tell.
    transfer : dict of str to bool
        Whether a candidate started from pretrained weights, by the record of its network where there is one.
    n_train, n_test : ndarray of shape (n_splits,)
        Number of training and of test images of every split.
    seeds : tuple of int
        Seed of every split, the same for all candidates.
    baseline : str
        Name of the candidate the others are compared with.
    scoring : str
        Name of the score.
    rope : float
        Differences from -rope to rope count as practically equal, in units of the score.
    settings : dict
        What else is needed to say what was compared: parameters, data, networks with digests, versions.

    See Also
    --------
    compare_transfer : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.comparison import TransferComparison
    >>> scores = {"from_scratch": np.array([0.61, 0.58, 0.63, 0.60, 0.62]),
    ...           "frozen": np.array([0.81, 0.80, 0.79, 0.82, 0.80])}
    >>> seconds = {name: np.ones(5) for name in scores}
    >>> comparison = TransferComparison(
    ...     scores, seconds, seconds, n_trained_parameters=dict.fromkeys(scores),
    ...     transfer={"from_scratch": False, "frozen": True}, n_train=np.full(5, 80), n_test=np.full(5, 20),
    ...     seeds=(1, 2, 3, 4, 5), baseline="from_scratch", scoring="accuracy", rope=0.01, settings={})
    >>> comparison.verdict
    'transfer helps'
    """

    scores: dict[str, np.ndarray]
    fit_seconds: dict[str, np.ndarray]
    predict_seconds: dict[str, np.ndarray]
    n_trained_parameters: dict[str, int | None]
    transfer: dict[str, bool]
    n_train: np.ndarray
    n_test: np.ndarray
    seeds: tuple[int, ...]
    baseline: str
    scoring: str
    rope: float
    settings: dict[str, Any]

    @property
    def candidates(self):
        """Names of the candidates, in the order in which they were named."""
        return list(self.scores)

    @property
    def n_splits(self):
        """Number of train/test splits that all candidates share."""
        return len(self.n_train)

    @property
    def verdict(self):
        """The verdict on the best candidate that uses transfer, or on the best other one when none does."""
        return self.headline.verdict

    @property
    def headline(self):
        """The row that the verdict is about: of the candidates with transfer, if any, the one that scores best."""
        others = [row for row in self.rows() if row.candidate != self.baseline]
        pool = [row for row in others if self.transfer[row.candidate]] or others
        return max(pool, key=lambda row: row.mean)

    def differences(self, candidate):
        """Subtract the scores of the baseline from those of a candidate, split by split.

        Parameters
        ----------
        candidate : str
            Its name.

        Returns
        -------
        ndarray of shape (n_splits,)
            Differences in units of the score; positive where the candidate is better.
        """
        return np.asarray(self.scores[candidate]) - np.asarray(self.scores[self.baseline])

    def rows(self):
        """One record per candidate, in plain Python, for those who do without pandas.

        Returns
        -------
        list of ComparisonRow
            In the order of the candidates.
        """
        return [self._row(name) for name in self.candidates]

    def _row(self, name):
        measured = {
            "candidate": name,
            "mean": float(np.mean(self.scores[name])),
            "sd": float(np.std(self.scores[name], ddof=1)) if self.n_splits > 1 else float("nan"),
            "fit_seconds": float(np.mean(self.fit_seconds[name])),
            "predict_seconds": float(np.mean(self.predict_seconds[name])),
            "n_trained_parameters": self.n_trained_parameters[name],
        }
        if name == self.baseline:
            return ComparisonRow(**measured)
        differences = self.differences(name)
        low, high = corrected_interval(differences, self.n_train, self.n_test)
        worse, equal, better = correlated_t_probabilities(differences, self.n_train, self.n_test, self.rope)
        return ComparisonRow(
            **measured,
            difference=float(differences.mean()),
            low=low,
            high=high,
            worse=worse,
            equal=equal,
            better=better,
            splits_won=int(np.sum(differences > 0)),
            verdict=self._verdict(name, (worse, equal, better)),
        )

    def _verdict(self, name, probabilities):
        verdict = decide(probabilities)
        if self.transfer[name] and not self.transfer[self.baseline] and self.baseline != GUESSING:
            return {"better": "transfer helps", "worse": "negative transfer"}.get(verdict, verdict)
        return verdict

    def notes(self):
        """Say what a reader of the numbers should know, one sentence each.

        Returns
        -------
        list of str
            Empty when there is nothing to be wary of.
        """
        notes = []
        if self.n_splits < 2:
            notes.append("One split says nothing about the spread, so there is no interval: use cv=5.")
        elif self.n_splits < FEW_SPLITS:
            notes.append(f"Only {self.n_splits} splits: the intervals are wide and rough; cv=5 is better.")
        same = [name for name in self.candidates if name != self.baseline and spread_is_zero(self.differences(name))]
        if same:
            notes.append(
                f"The difference of {', '.join(map(repr, same))} to the baseline is the same on every split, so its "
                "spread cannot be estimated: there is no interval and no verdict. Small test folds do that; more "
                "images tell more."
            )
        if unknown := self._with_unknown_weights():
            notes.append(
                f"The network of {', '.join(map(repr, unknown))} came with its weights, and nothing shows how they "
                "came about: the verdict takes them for pretrained."
            )
        if self._is_no_better_than_dummy():
            notes.append(
                f"{self.headline.candidate!r} is not clearly better than guessing ({GUESSING!r}), so the comparison "
                f"with {self.baseline!r} means little."
            )
        if self.headline.verdict == "undecided" and (advice := self._advice()):
            notes.append(advice)
        return notes

    def _with_unknown_weights(self):
        networks = self.settings.get("networks", {})
        return [
            name
            for name in self.candidates
            if self.transfer[name] and (networks.get(name) or {}).get("weights") == BROUGHT_ALONG
        ]

    def _is_no_better_than_dummy(self):
        best = self.headline.candidate
        if GUESSING not in self.scores or GUESSING in (best, self.baseline) or self.n_splits < 2:
            return False
        gain = np.asarray(self.scores[best]) - np.asarray(self.scores[GUESSING])
        if spread_is_zero(gain):
            return bool(gain.mean() <= self.rope)
        return decide(correlated_t_probabilities(gain, self.n_train, self.n_test, self.rope)) != "better"

    def _advice(self):
        factor = images_to_settle(self.differences(self.headline.candidate), self.n_train, self.n_test, self.rope)
        if not factor > 1:
            return None
        n_images = int(np.mean(self.n_train + self.n_test))
        if np.isinf(factor):
            return f"What would settle it: more than 100 times the {n_images} images, if the difference stays as it is."
        needed = float(f"{factor * n_images:.2g}")
        return f"What would settle it: about {needed:,.0f} images (now {n_images:,}), if the difference stays as it is."

    def frame(self):
        """Every fit as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates * n_splits, 8)
            Columns candidate, split, seed, n_train, n_test, score, fit_seconds, predict_seconds.

        Raises
        ------
        ImportError
            If pandas is not installed; `rows` does without.
        """
        pandas = import_optional("pandas", extra="frame", caller="TransferComparison.frame")
        records = [
            {
                "candidate": name,
                "split": split,
                "seed": self.seeds[split],
                "n_train": int(self.n_train[split]),
                "n_test": int(self.n_test[split]),
                "score": float(self.scores[name][split]),
                "fit_seconds": float(self.fit_seconds[name][split]),
                "predict_seconds": float(self.predict_seconds[name][split]),
            }
            for name in self.candidates
            for split in range(self.n_splits)
        ]
        return pandas.DataFrame(records)

    def summary(self):
        """Every candidate as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_candidates, 13)
            Indexed by candidate, with the fields of :class:`ComparisonRow` as columns.

        Raises
        ------
        ImportError
            If pandas is not installed; `rows` does without.
        """
        pandas = import_optional("pandas", extra="frame", caller="TransferComparison.summary")
        names = [field.name for field in fields(ComparisonRow)]
        return pandas.DataFrame([asdict(row) for row in self.rows()], columns=names).set_index("candidate")

    def plot(self, ax=None):
        """Draw the scores of all splits and the differences to the baseline.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, default=None
            Where to draw: a pair for scores and differences, one Axes to be divided, or None for a new figure.

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

    def to_dict(self):
        """Everything in plain Python that `json.dumps` takes; numbers that are not finite become None.

        Returns
        -------
        dict
            Keys verdict, sentence, notes, baseline, scoring, rope, candidates, splits, scores, settings.
        """
        content = {
            "verdict": self.verdict,
            "sentence": sentence(self),
            "notes": self.notes(),
            "baseline": self.baseline,
            "scoring": self.scoring,
            "rope": self.rope,
            "candidates": [asdict(row) for row in self.rows()],
            "splits": {"n_train": self.n_train, "n_test": self.n_test, "seeds": self.seeds},
            "scores": self.scores,
            "settings": self.settings,
        }
        return _plain(content)

    def __repr__(self):
        return as_text(self)

    def _repr_html_(self):
        return as_html(self)


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else repr(value)
