"""What can be said about the difference of two candidates that were scored on the same folds (numpy and scipy only).

The folds of cross-validation share training images, so their differences are correlated and an ordinary paired t-test
finds differences that are not there. Everything here widens the variance by n_test / n_train for that reason.
"""

import numpy as np
from scipy import stats

__all__ = [
    "corrected_interval",
    "corrected_p_value",
    "correlated_t_probabilities",
    "decide",
    "differences_of",
    "holm",
    "images_to_settle",
    "repeats_to_settle",
    "spread_is_zero",
]

CONFIDENCE = 0.95
# One end of the two-sided interval: a verdict and the interval beside it never contradict each other.
ONE_SIDED = 0.5 + CONFIDENCE / 2
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


def _location_and_scale(differences, n_train, n_test):
    """Mean and corrected standard error of the differences; the latter is NaN where they show no spread."""
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or len(differences) == 0:
        raise ValueError(
            f"differences must be a sequence with one number per split. Got the shape {differences.shape} instead."
        )
    if len(differences) < 2 or spread_is_zero(differences):
        return differences.mean(), np.nan
    ratio = np.mean(n_test) / np.mean(n_train)
    return differences.mean(), np.sqrt((1 / len(differences) + ratio) * differences.var(ddof=1))


def corrected_interval(differences, n_train, n_test, confidence=CONFIDENCE):
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
    mean, error = _location_and_scale(differences, n_train, n_test)
    if np.isnan(error):
        return np.nan, np.nan
    half = error * stats.t.ppf((1 + confidence) / 2, len(differences) - 1)
    return float(mean - half), float(mean + half)


def corrected_p_value(differences, n_train, n_test):
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
    mean, error = _location_and_scale(differences, n_train, n_test)
    if np.isnan(error):
        return float("nan")
    return float(2 * stats.t.sf(abs(mean) / error, len(differences) - 1))


def holm(p_values):
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


def _probabilities(mean, error, rope, degrees_of_freedom):
    """Mass of a Student distribution below, within and above the region of practical equivalence."""
    if np.isnan(error):
        return np.nan, np.nan, np.nan
    posterior = stats.t(degrees_of_freedom, loc=mean, scale=error)
    worse, better = float(posterior.cdf(-rope)), float(posterior.sf(rope))
    return worse, max(0.0, 1.0 - worse - better), better


def correlated_t_probabilities(differences, n_train, n_test, rope):
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
    mean, error = _location_and_scale(differences, n_train, n_test)
    return _probabilities(mean, error, rope, len(differences) - 1)


def decide(probabilities):
    """Name the one of worse, practically equal and better that is probable enough.

    "Worse" and "better" need 97.5 %, so that the 95 % interval then lies beyond the region of practical equivalence,
    and without any difference at most one comparison in twenty ends in either; "practically equal" needs 95 %.
    """
    levels = {"worse": ONE_SIDED, "practically equal": CONFIDENCE, "better": ONE_SIDED}
    for (word, level), probability in zip(levels.items(), probabilities, strict=True):
        if probability > level:
            return word
    return "undecided"


def images_to_settle(differences, n_train, n_test, rope, *, most=100):
    """How many times as many images would probably end the indecision.

    A rough figure: it takes the mean difference for the true one and lets the standard error shrink with the square
    root of the number of images.
    """
    mean, error = _location_and_scale(differences, n_train, n_test)
    if np.isnan(error):
        return np.nan
    factor = 1.0
    while factor <= most:
        if decide(_probabilities(mean, error / np.sqrt(factor), rope, len(differences) - 1)) != "undecided":
            return factor
        factor *= 1.1
    return np.inf


def repeats_to_settle(differences, n_train, n_test, rope, *, most=1000):
    """How many times as many repeats of the same folds would probably end the indecision.

    Repeats average out the luck of the split, which is the 1 / n_splits of the corrected variance; what the splits
    share, n_test / n_train, stays. As for images, the mean difference is taken for the true one.
    """
    mean, error = _location_and_scale(differences, n_train, n_test)
    if np.isnan(error):
        return np.nan
    n_splits, ratio = len(differences), np.mean(n_test) / np.mean(n_train)
    for factor in np.unique(np.ceil(np.geomspace(1, most, 200))):
        shrunk = error * np.sqrt((1 / (factor * n_splits) + ratio) / (1 / n_splits + ratio))
        if decide(_probabilities(mean, shrunk, rope, int(factor) * n_splits - 1)) != "undecided":
            return float(factor)
    return np.inf
