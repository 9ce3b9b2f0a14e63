"""The score of the best of several candidates, corrected for its having been chosen for that score (numpy only)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from sktl._validation import Interval, validate_params

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["CorrectedScore", "bias_corrected_score"]

ROUNDING = 1e-12  # relative: scores that differ by less are equal


@dataclass(frozen=True, eq=False)
class CorrectedScore:
    """The score of the best of several candidates, before and after correction for the choice.

    Parameters
    ----------
    best : int
        Position of the candidate with the best score, of equal ones the first.
    uncorrected : float
        Its score on all images. The best of several noisy scores is too high.
    score : float
        What a candidate chosen in this way scores on images that had no part in the choice.
    low, high : float
        Percentile interval of `score`.
    chosen : ndarray of shape (n_candidates,)
        In which share of the draws each candidate was the best one.

    See Also
    --------
    bias_corrected_score : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.transferability import bias_corrected_score
    >>> right = np.random.default_rng(0).random((10, 100)) < 0.8  # ten candidates, none better than another
    >>> found = bias_corrected_score(right)
    >>> print(f"{found.uncorrected:.2f} before, {found.score:.2f} after")
    0.86 before, 0.80 after
    """

    best: int
    uncorrected: float
    score: float
    low: float
    high: float
    chosen: np.ndarray


@validate_params(
    {
        "values": ["array-like"],
        "y": ["array-like", None],
        "metric": [callable, None],
        "groups": ["array-like", None],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def bias_corrected_score(
    values: Any,
    y: Any = None,
    *,
    metric: Callable[..., Any] | None = None,
    groups: Any = None,
    n_draws: int = 1000,
    confidence: float = 0.95,
    random_state: int = 0,
) -> CorrectedScore:
    """Correct the score of the best candidate for its having been chosen: bootstrap bias corrected cross-validation.

    Images are drawn with replacement, the candidate that scores best on those drawn is chosen, and scored on those that
    were not drawn; the mean over many draws is the corrected score. It takes out-of-fold predictions that are there
    already, and no further fit.

    Parameters
    ----------
    values : array-like of shape (n_candidates, n_images)
        Without `metric`, the score of every image, whose mean is the score of a candidate: 1 for right and 0 for wrong,
        say, or minus the absolute error. With `metric`, out-of-fold predictions.
    y : array-like of shape (n_images,), default=None
        What should have been predicted; for `metric` alone.
    metric : callable, default=None
        Called as ``metric(y_true, y_pred)``; greater is better. For scores that are no mean over images.
    groups : array-like of shape (n_images,), default=None
        Images of one group are drawn together: several photos of one patient, say. With repeats, each prediction has an
        entry in `values` of its own, and the number of its image is its group.
    n_draws : int, default=1000
        How often to draw. A call of `metric` takes place for every draw and candidate.
    confidence : float, default=0.95
        Of the interval, between 0 and 1.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    CorrectedScore
        The corrected score with its interval, the uncorrected one, and how often each candidate was chosen.

    Raises
    ------
    ValueError
        If `values` or scores on all images are not finite, lengths differ, there are fewer than two groups, or only one
        of `y` and `metric` is given.

    Notes
    -----
    An image is never in the choice and in the score at once. Where all candidates are equally good, and the score of
    one image does not depend on that of another, the corrected score is therefore unbiased. Where they are not, a
    choice on all images is a little better than one on a sample of them, which has some 63 % different ones, so that
    the corrected score is a little low: that is the safe side. Folds share training images, so that with 100 images or
    fewer up to a sixth of what the choice added stays; the user guide has figures.
    Equal scores in a sample count by equal shares. Draws that leave out no image are drawn again, and those in which
    `metric` raises an error or gives no finite number, for lack of a class, say, are left out.

    References
    ----------
    .. [1] I. Tsamardinos, E. Greasidou and G. Borboudakis, "Bootstrapping the out-of-sample predictions for efficient
           and accurate cross-validation", Machine Learning 107, 1895-1922, 2018, :doi:`10.1007/s10994-018-5714-4`.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.transferability import bias_corrected_score
    >>> right = np.random.default_rng(0).random((10, 100)) < 0.8  # ten candidates, none better than another
    >>> found = bias_corrected_score(right)
    >>> print(f"{found.uncorrected:.2f} before, {found.score:.2f} after")
    0.86 before, 0.80 after
    """
    if (y is None) != (metric is None):
        raise ValueError("y and metric must be passed together. Got one of them alone instead.")
    values = check_array(values, dtype="numeric" if metric is None else None, input_name="values")
    groups = np.arange(values.shape[1]) if groups is None else np.unique(column_or_1d(groups), return_inverse=True)[1]
    check_consistent_length(values.T, groups, y)
    n_groups = int(groups.max()) + 1
    if n_groups < 2:
        raise ValueError("values must be of at least two images, in two groups. Got a single one instead.")
    scores_of = _means(values, groups) if metric is None else _scores(values, column_or_1d(y), metric, groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metrics say so of every draw that has not all classes
        everything = scores_of(np.ones(n_groups, dtype=int), range(len(values)))
        if not np.all(np.isfinite(everything)):
            raise ValueError("Scores on all images must be finite. Got NaN or infinity instead; leave out candidates.")
        draws = _draws(n_groups, n_draws, np.random.default_rng(random_state))
        scored = [pair for draw in draws if (pair := _choose_and_score(draw, scores_of, len(values)))]
    if not scored:
        raise ValueError("Some samples of the images must have a finite score. Got none in all draws instead.")
    left_out = np.array([score for score, _ in scored])
    low, high = np.quantile(left_out, [(1 - confidence) / 2, (1 + confidence) / 2])
    best = int(np.argmax(_best(everything)))
    chosen = np.mean([shares for _, shares in scored], axis=0)
    return CorrectedScore(best, float(everything[best]), float(left_out.mean()), float(low), float(high), chosen)


def _draws(n_groups, n_draws, generator):
    """Yield how often each group is drawn; some group is always left out."""
    while n_draws:
        times = np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
        if times.min() == 0:
            n_draws -= 1
            yield times


def _choose_and_score(times, scores_of, n_candidates):
    """Choose on the groups drawn and score on the others: (score, share of each candidate), or None without one."""
    try:
        inside = scores_of(times, range(n_candidates))
        if not np.all(np.isfinite(inside)):
            return None
        best = _best(inside)
        score = np.mean(scores_of(1 * (times == 0), np.flatnonzero(best)))
    except Exception:  # the metric takes all images; a few of them may lack a class
        return None
    return (score, best / best.sum()) if np.isfinite(score) else None


def _best(scores):
    return scores >= scores.max() - ROUNDING * np.abs(scores).max()


def _means(values, groups):
    """Scores that are means over images."""
    sums = np.stack([np.bincount(groups, weights=row) for row in values.astype(np.float64)])
    sizes = np.bincount(groups)
    return lambda times, candidates: sums[candidates] @ times / (sizes @ times)


def _scores(values, y, metric, groups):
    """Scores of any kind, on predictions that are repeated as often as their group was drawn."""

    def scores_of(times, candidates):
        rows = np.repeat(np.arange(len(y)), times[groups])
        return np.array([metric(y[rows], values[candidate][rows]) for candidate in candidates], dtype=np.float64)

    return scores_of
