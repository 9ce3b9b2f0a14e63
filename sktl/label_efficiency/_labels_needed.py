"""How many labels one curve needs to reach a score of the other, and how sure that is (numpy only)."""

import numpy as np

__all__ = ["corrected_draws", "interval_with_bounds", "labels_more", "labels_needed", "made_to_rise"]


def labels_needed(n_labels, curves, targets):
    """Find the number of labels from which a curve reaches a score.

    The curve is made to rise with the number of labels (isotonic least squares) and drawn straight between its points
    over the logarithm of that number.

    Parameters
    ----------
    n_labels : ndarray of shape (n_sizes,)
        Ascending.
    curves : ndarray of shape (..., n_sizes)
        Mean score at each.
    targets : ndarray of shape (..., n_targets)
        The scores to reach.

    Returns
    -------
    ndarray of shape (..., n_targets)
        Numbers of labels; infinity where the curve never gets there, 0 where it begins above: the numbers of labels
        that were tried say no more than that.
    """
    rising = made_to_rise(curves)
    rounding = 1e-12 * np.abs(rising).max()  # sums of equal scores are not always equal
    reached = rising[..., None, :] >= targets[..., None] - rounding
    above = np.argmax(reached, axis=-1)
    below = np.maximum(above - 1, 0)
    step = np.take_along_axis(rising, above, -1) - np.take_along_axis(rising, below, -1)
    beyond = targets - np.take_along_axis(rising, below, -1)
    share = np.divide(beyond, step, out=np.ones_like(step), where=step > rounding)
    positions = np.log(n_labels)
    needed = np.exp(positions[below] * (1 - share) + positions[above] * share)
    needed = np.where(targets < rising[..., :1] - rounding, 0.0, needed)
    return np.where(reached.any(axis=-1), needed, np.inf)


def labels_more(needed, own_needed):
    """Subtract the labels that the candidate itself needs for a score from those that the baseline needs.

    Parameters
    ----------
    needed : ndarray
        Of the baseline, from `labels_needed`.
    own_needed : ndarray of the same shape
        Of the candidate; a number, since its own curve has the score somewhere.

    Returns
    -------
    ndarray of the same shape
        Labels; infinity where the baseline never has the score, minus infinity where it begins above.
    """
    more = np.where(np.isclose(needed, own_needed, rtol=1e-9, atol=0), 0.0, needed - own_needed)
    return np.where(needed == 0, -np.inf, more)


def made_to_rise(curves):
    """Make curves rise with the number of labels: isotonic least squares by its closed form.

    At each place the largest, over all beginnings at or before it, of the smallest mean up to an end at or after it.

    Parameters
    ----------
    curves : array-like of shape (..., n_sizes)
        Mean score at each.

    Returns
    -------
    ndarray of shape (..., n_sizes)
        The same curves where they rise, means where they dip.
    """
    curves = np.asarray(curves, dtype=float)
    n_sizes = curves.shape[-1]
    sums = np.concatenate([np.zeros((*curves.shape[:-1], 1)), np.cumsum(curves, axis=-1)], axis=-1)
    places = np.arange(n_sizes)
    lengths = places[None, :] + 1 - places[:, None]
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / np.maximum(lengths, 1)
    means = np.where(lengths > 0, means, np.inf)  # [beginning, end]
    smallest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]  # over the ends at or after
    smallest = np.where(lengths > 0, smallest, -np.inf)
    return smallest.max(axis=-2)


def corrected_draws(scores, n_train, n_test, *, n_draws, random_state):
    """Draw mean curves that could as well be the true ones, given how much the splits differ.

    Student's distribution around the observed means, with the covariance over the splits between all sizes and
    candidates, widened as in :func:`~sktl.comparison.corrected_interval`: splits share training images.

    Parameters
    ----------
    scores : ndarray of shape (n_splits, n_values)
        Scores of all candidates at all sizes, split by split.
    n_train, n_test : int or array-like
        Training and test images of the splits.
    n_draws : int
        How many.
    random_state : int
        Seed.

    Returns
    -------
    ndarray of shape (n_draws, n_values)
        Means. Of a single value they have the corrected interval as their quantiles.
    """
    generator = np.random.default_rng(random_state)
    n_splits = len(scores)
    mean = scores.mean(axis=0)
    weights = generator.standard_normal((n_draws, n_splits)) / np.sqrt(n_splits - 1)
    weights /= np.sqrt(generator.chisquare(n_splits - 1, (n_draws, 1)) / (n_splits - 1))
    widening = np.sqrt(1 / n_splits + np.mean(n_test) / np.mean(n_train))
    return mean + widening * weights @ (scores - mean)


def interval_with_bounds(values, confidence):
    """Interval of drawn numbers of labels, some of which may be 0 or infinity.

    Parameters
    ----------
    values : ndarray of shape (n_draws,)
        From `labels_needed`.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    low, high : float
        Values that occur: none is made up between the largest number and infinity.
    """
    tail = (1 - confidence) / 2
    low = np.quantile(values, tail, method="inverted_cdf")
    return float(low), float(np.quantile(values, 1 - tail, method="higher"))
