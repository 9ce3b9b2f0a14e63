"""How many labels one curve needs to reach a score of the other, and how sure that is (numpy only)."""

import numpy as np

__all__ = ["corrected_draws", "interval_with_bounds", "isotonic_fit", "labels_more", "labels_needed"]


def labels_needed(n_labels, curves, targets):
    """Find the number of labels from which a curve reaches a score.

    The curve is made to rise with the number of labels (isotonic least squares) and drawn straight between its points
    over the logarithm of that number.
    """
    rising = isotonic_fit(curves)
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
    """Subtract the labels that the candidate itself needs for a score from those that the baseline needs."""
    more = np.where(np.isclose(needed, own_needed, rtol=1e-9, atol=0), 0.0, needed - own_needed)
    return np.where(needed == 0, -np.inf, more)


def isotonic_fit(curves):
    """Fit curves that do not fall with the number of labels: isotonic least squares in closed form.

    At each place the largest, over all beginnings at or before it, of the smallest mean up to an end at or after it.
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
    """
    generator = np.random.default_rng(random_state)
    n_splits = len(scores)
    mean = scores.mean(axis=0)
    weights = generator.standard_normal((n_draws, n_splits)) / np.sqrt(n_splits - 1)
    weights /= np.sqrt(generator.chisquare(n_splits - 1, (n_draws, 1)) / (n_splits - 1))
    widening = np.sqrt(1 / n_splits + np.mean(n_test) / np.mean(n_train))
    return mean + widening * weights @ (scores - mean)


def interval_with_bounds(values, confidence):
    """Interval of drawn numbers of labels, some of which may be 0 or infinity."""
    tail = (1 - confidence) / 2
    low = np.quantile(values, tail, method="inverted_cdf")
    return float(low), float(np.quantile(values, 1 - tail, method="higher"))
