"""What can be said about the difference of two candidates that were scored on the same folds (numpy and scipy only).

The folds of cross-validation share training images, so their differences are correlated and an ordinary paired t-test
finds differences that are not there. "corrected" widens their variance by n_test / n_train for that reason. "crossed"
takes the variance apart: images that are tested, and trainings, are two sources of chance that cross each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


__all__ = [
    "MeanDifference",
    "corrected",
    "corrected_interval",
    "corrected_p_value",
    "correlated_t_probabilities",
    "crossed",
    "differences_of",
    "holm",
    "spread_is_zero",
]

CONFIDENCE = 0.95
# Chosen for false alarms of 5 % at most from three splits on, whatever the luck: see benchmarks/verdicts.py.
SHARPNESS = 6
ROUNDING = 1e-12  # relative: scores may be of any unit


def differences_of(scores, others):
    """Subtract scores split by split; what is equal but for rounding comes out as equal."""
    differences = scores - others
    rounding = ROUNDING * max(np.abs(scores).max(), np.abs(others).max())
    differences = np.where(np.abs(differences) <= rounding, 0.0, differences)
    return np.full_like(differences, np.median(differences)) if np.ptp(differences) <= rounding else differences


def spread_is_zero(differences):
    """Whether all differences are the same number, up to rounding."""
    differences = np.asarray(differences, dtype=float)
    if len(differences) < 2:
        return False
    return bool(np.ptp(differences) <= ROUNDING * np.abs(differences).max())


@dataclass(frozen=True)
class MeanDifference:
    """A mean difference with its standard error, NaN where that is not known, and what follows from both."""

    mean: float
    error: float
    degrees_of_freedom: float
    n_splits: int
    shared: float  # the part of the squared error that further repeats of the folds leave as it is; NaN if not known
    kind: str  # of the interval

    def interval(self, confidence=CONFIDENCE):
        """Return both ends of the interval."""
        half = self.error * stats.t.ppf((1 + confidence) / 2, self.degrees_of_freedom)
        return float(self.mean - half), float(self.mean + half)

    def p_value(self):
        """Return the two-sided p-value of no difference."""
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.degrees_of_freedom))

    def probabilities(self, rope):
        """Return the mass of the Student distribution below, within and above the region of practical equivalence."""
        if np.isnan(self.error):
            return np.nan, np.nan, np.nan
        posterior = self.degrees_of_freedom, self.mean, self.error
        worse, better = float(stats.t.cdf(-rope, *posterior)), float(stats.t.sf(rope, *posterior))
        return worse, max(0.0, 1.0 - worse - better), better

    def verdict(self, rope):
        """Name the one of worse, practically equal and better that holds; "undecided" where none does.

        "Worse" and "better" are beyond chance, since the 95 % interval leaves out zero, and beyond the region of
        practical equivalence: without any difference at most one comparison in twenty ends in either. "Practically
        equal" needs a probability of 95 %.
        """
        (low, high), (_, equal, _) = self.interval(), self.probabilities(rope)
        if equal > CONFIDENCE:
            return "practically equal"
        if abs(self.mean) <= rope * (1 + ROUNDING):
            return "undecided"
        return "better" if low > 0 else "worse" if high < 0 else "undecided"

    def images_to_settle(self, rope, *, most=100):
        """How many times as many images would probably end the indecision.

        A rough figure: it takes the mean difference for the true one and lets the standard error shrink with the square
        root of the number of images.
        """
        if np.isnan(self.error):
            return np.nan
        factor = 1.0
        while factor <= most:
            if replace(self, error=self.error / np.sqrt(factor)).verdict(rope) != "undecided":
                return factor
            factor *= 1.1
        return np.inf

    def repeats_to_settle(self, rope, *, most=1000):
        """How many times as many repeats of the same folds would probably end the indecision.

        Repeats average out the luck of the split; what the splits share stays. As for images, the mean difference is
        taken for the true one. NaN where one draw of the folds does not tell what repeats would share.
        """
        if np.isnan(self.error) or np.isnan(self.shared):
            return np.nan
        own = self.error**2 - self.shared
        for factor in np.unique(np.ceil(np.geomspace(1, most, 200))):
            error = np.sqrt(self.shared + own / factor)
            degrees = self.degrees_of_freedom + (factor - 1) * self.n_splits
            if replace(self, error=error, degrees_of_freedom=degrees).verdict(rope) != "undecided":
                return float(factor)
        return np.inf


def corrected(differences, n_train, n_test):
    """Judge the mean of differences by their spread over the splits, widened for training images that these share."""
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or len(differences) == 0:
        raise ValueError(
            f"differences must be a sequence with one number per split. Got the shape {differences.shape} instead."
        )
    n_splits, variance = len(differences), np.nan
    if n_splits > 1 and not spread_is_zero(differences):
        variance = differences.var(ddof=1)
    ratio = np.mean(n_test) / np.mean(n_train)
    error = np.sqrt((1 / n_splits + ratio) * variance)
    return MeanDifference(differences.mean(), error, n_splits - 1, n_splits, ratio * variance, "corrected")


def crossed(contributions, units, ratio):
    """Judge the mean of differences by the images that are tested and by the trainings, which are crossed with them.

    Parameters
    ----------
    contributions : sequence of n_splits ndarrays of shape (n_test,)
        What every test image of a split adds to the difference of the scores, which is their mean over the split.
    units : sequence of n_splits ndarrays of shape (n_test,), int
        Number of the image, or of the group of images that belong together, from 0.
    ratio : float
        Number of test images by that of training images.

    Returns
    -------
    MeanDifference or None
        None where a split tests fewer than two units, or there are fewer than two splits. What is estimated is the
        difference on further units of this kind, in the mean over the luck of training on this data set.

    References
    ----------
    .. [1] P. Bayle, A. Bayle, L. Janson and L. Mackey, "Cross-validation confidence intervals for test error", NeurIPS
           2020, :arxiv:`2007.12671`: the part of the images.
    """
    n_splits, n_units = len(contributions), [len(np.unique(unit)) for unit in units]
    if n_splits < 2 or min(n_units) < 2:
        return None
    means = np.array([part.mean() for part in contributions])
    between = 0.0 if spread_is_zero(means) else means.var(ddof=1) / n_splits
    own, shared, n_all = _variance_of_images(contributions, units, n_units)
    shared *= 1 + ratio  # repeats share the images that they test, and, which is not seen, many that they train on
    images = own + shared
    variance = max(images, between + shared)
    if variance == 0:
        return MeanDifference(means.mean(), np.nan, np.nan, n_splits, np.nan, "crossed")
    # Satterthwaite's degrees of freedom. A spread over the splits that the images alone explain is no sign of luck, and
    # the less it counts the more splits there are, since among few of them luck may hide.
    hidden = min(1.0, between / own) ** (SHARPNESS * max(0, n_splits - 3)) if own > 0 else 1.0
    of_images = n_all * (1 - 1 / np.mean(n_units))
    degrees = variance**2 / (images**2 / of_images + between**2 * hidden / (n_splits - 1))
    is_repeated = sum(n_units) > n_all
    return MeanDifference(
        means.mean(), np.sqrt(variance), degrees, n_splits, shared if is_repeated else np.nan, "crossed"
    )


def _variance_of_images(contributions, units, n_units):
    """Estimate what the choice of images adds to the variance: had each split its own, and by sharing; count units."""
    n_splits, total = len(contributions), np.zeros(max(map(np.max, units)) + 1)
    mean = np.mean([part.mean() for part in contributions])
    own, again, tested = 0.0, 0.0, np.zeros(len(total), dtype=bool)
    for part, unit, n in zip(contributions, units, n_units, strict=True):
        weight = 1 / (n_splits * len(part))
        # Deviations from the mean of the split: the luck of its training is not to be counted among the images.
        own += n / (n - 1) * (np.bincount(unit, weight * (part - part.mean())) ** 2).sum()
        sums = np.bincount(unit, weight * (part - mean), minlength=len(total))
        total, again, tested[unit] = total + sums, again - (sums**2).sum(), True
    n_all = np.count_nonzero(tested)
    again += (total**2).sum()
    return own, max(0.0, again) * n_all / (n_all - 1), n_all


def corrected_interval(
    differences: ArrayLike, n_train: int | ArrayLike, n_test: int | ArrayLike, confidence: float = CONFIDENCE
) -> Any:
    """Compute the interval of a mean score difference, corrected for training images that the splits share.

    Parameters
    ----------
    differences : array-like of shape (n_splits,)
        Score of one candidate minus score of the other, on the same splits.
    n_train, n_test : int or array-like of shape (n_splits,)
        Number of training and of test images of the splits; of arrays the means are used.
    confidence : float, default=0.95
        Confidence of the interval, between 0 and 1.

    Returns
    -------
    low : float
        Lower end of the interval, in units of the score. NaN where the spread cannot be estimated: with fewer than two
        splits, and where all differences are equal, which on small test sets is a coincidence and no certainty.
    high : float
        Upper end, likewise.

    Raises
    ------
    ValueError
        If `differences` is empty or not one-dimensional.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 239-281, 2003,
           :doi:`10.1023/A:1024068626366`.

    Examples
    --------
    >>> from sktl.comparison import corrected_interval
    >>> low, high = corrected_interval([0.02, 0.05, 0.03, 0.06, 0.04], n_train=80, n_test=20)
    >>> print(f"{low:.3f} to {high:.3f}")
    0.011 to 0.069
    """
    return corrected(differences, n_train, n_test).interval(confidence)


def corrected_p_value(differences: ArrayLike, n_train: int | ArrayLike, n_test: int | ArrayLike) -> float:
    """Compute the two-sided p-value of the corrected t-test that there is no difference.

    It is below 0.05 where the 95 % interval of :func:`corrected_interval` leaves out zero.

    Parameters
    ----------
    differences : array-like of shape (n_splits,)
        Score of one candidate minus score of the other, on the same splits.
    n_train, n_test : int or array-like of shape (n_splits,)
        Number of training and of test images of the splits; of arrays the means are used.

    Returns
    -------
    float
        From 0 to 1; NaN where the spread cannot be estimated, as for the interval.

    Raises
    ------
    ValueError
        If `differences` is empty or not one-dimensional.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 239-281, 2003,
           :doi:`10.1023/A:1024068626366`.

    Examples
    --------
    >>> from sktl.comparison import corrected_p_value
    >>> print(f"{corrected_p_value([0.02, 0.05, 0.03, 0.06, 0.04], n_train=80, n_test=20):.4f}")
    0.0196
    """
    return corrected(differences, n_train, n_test).p_value()


def holm(p_values: ArrayLike) -> list[float]:
    """Correct p-values for their number by Holm's step-down method.

    The probability that any of the true hypotheses is rejected then keeps to the level, however the tests depend on
    each other.

    Parameters
    ----------
    p_values : array-like of shape (n_tests,)
        P-values; NaN where there is none, which are not counted.

    Returns
    -------
    list of float
        Corrected p-values in the same order; NaN where there was none.

    References
    ----------
    .. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
           65-70, 1979.

    Examples
    --------
    >>> from sktl.comparison import holm
    >>> holm([0.01, 0.04, 0.5])
    [0.03, 0.08, 0.5]
    """
    p_values = np.asarray(p_values, dtype=float)
    corrected = np.full(p_values.shape, np.nan)
    (known,) = np.nonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return corrected.tolist()


def correlated_t_probabilities(
    differences: ArrayLike, n_train: int | ArrayLike, n_test: int | ArrayLike, rope: float
) -> Any:
    """Compute how probably a candidate is worse, practically equal, better: the Bayesian correlated t-test.

    The posterior of the mean difference is a Student distribution with n_splits - 1 degrees of freedom, centred at the
    observed mean, with the variance of the corrected interval.

    Parameters
    ----------
    differences : array-like of shape (n_splits,)
        Score of the candidate minus score of the baseline, on the same splits.
    n_train, n_test : int or array-like of shape (n_splits,)
        Number of training and of test images of the splits; of arrays the means are used.
    rope : float
        Half width of the region of practical equivalence, in units of the score: differences from -rope to rope count
        as equal.

    Returns
    -------
    worse : float
        Probability that the true difference is below -rope; NaN, as the other two, with fewer than two splits and
        where all differences are equal.
    equal : float
        Probability that it lies from -rope to rope.
    better : float
        Probability that it is above rope. The three sum to 1.

    Raises
    ------
    ValueError
        If `differences` is empty or not one-dimensional.

    References
    ----------
    .. [1] A. Benavoli, G. Corani, J. Demšar and M. Zaffalon, "Time for a change: a tutorial for comparing multiple
           classifiers through Bayesian analysis", JMLR 18, 2017, :arxiv:`1606.04316`.

    Examples
    --------
    >>> from sktl.comparison import correlated_t_probabilities
    >>> worse, equal, better = correlated_t_probabilities([0.02, 0.05, 0.03, 0.06, 0.04], 80, 20, rope=0.01)
    >>> print(f"{worse:.3f} {equal:.3f} {better:.3f}")
    0.005 0.019 0.976
    """
    return corrected(differences, n_train, n_test).probabilities(rope)
