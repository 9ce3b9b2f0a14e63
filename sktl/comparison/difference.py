"""The difference of two candidates as an estimate: over images and trainings where predictions allow it, or splits.

The main score of a split has to be a mean over its test images, or to be written as one. Which score it is, its name
does not tell for certain: what the kept predictions give has to be what was scored, on every split.
"""

import numpy as np

from sktl._statistics import corrected, crossed, differences_of
from sktl.comparison._per_image import as_labels

__all__ = ["INTERVALS", "mean_difference"]

INTERVALS = ("auto", "corrected")


def mean_difference(comparison, candidate, other):
    """Estimate the difference of two candidates in the main score, with its error."""
    if comparison.interval not in INTERVALS:
        raise ValueError(f"interval must be one of {list(INTERVALS)}. Got {comparison.interval!r} instead.")
    if comparison.interval == "auto" and (found := _crossed(comparison, candidate, other)) is not None:
        return found
    scores = comparison.scores
    return corrected(differences_of(scores[candidate], scores[other]), comparison.n_train, comparison.n_test)


def _crossed(comparison, candidate, other):
    """Estimate it from the predictions; None where they are not known, or do not tell."""
    first, second = _contributions(comparison, candidate), _contributions(comparison, other)
    if first is None or second is None:
        return None
    groups = np.arange(len(comparison.y)) if comparison.groups is None else comparison.groups
    _, units = np.unique(groups, return_inverse=True)
    tested = [units[test] for _, test in comparison.splits]
    gains = [one - two for one, two in zip(first, second, strict=True)]
    return crossed(gains, tested, np.mean(comparison.n_test) / np.mean(comparison.n_train))


def _contributions(comparison, candidate):
    """Find what every test image adds to the score of its split; None where no way to count gives the scores."""
    runs = comparison.runs_of(candidate)
    if any(run.predicted is None for run in runs):
        return None
    y, scores = np.asarray(comparison.y), comparison.scores[candidate]
    pairs = [(y[comparison.splits[run.split][1]], as_labels(run.predicted, y)) for run in runs]
    for count in (*OF_LABELS, *(OF_NUMBERS if _are_numbers(pairs) else ())):
        with np.errstate(all="ignore"):  # a split without variance, say, where R² is nothing that a mean could give
            found = [count(true, predicted) for true, predicted in pairs]
        if np.allclose([part.mean() for part in found], scores, rtol=1e-9, atol=1e-12 * np.abs(scores).max()):
            return found
    return None


def _are_numbers(pairs):
    return all(part.dtype.kind in "iuf" for pair in pairs for part in pair)


def _accuracy(y, predicted):
    return (y == predicted).astype(float)


def _balanced_accuracy(y, predicted):
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return (y == predicted) * (len(y) / (len(counts) * counts[codes]))


def _absolute_error(y, predicted):
    return -np.abs(y - predicted).astype(float)


def _squared_error(y, predicted):
    return -((y - predicted).astype(float) ** 2)


def _root_mean_squared_error(y, predicted):
    """Linearised at the split: the mean is the score itself."""
    squares = -_squared_error(y, predicted)
    root = np.sqrt(squares.mean())
    return -(root + (squares - root**2) / (2 * root)) if root > 0 else -squares


def _r2(y, predicted):
    """Linearised likewise, in the squared errors and in the variance that they are divided by."""
    errors, squares = -_squared_error(y, predicted), (y - y.mean()) ** 2
    variance = squares.mean()
    return 1 - errors / variance + errors.mean() / variance * (squares / variance - 1)


OF_LABELS = (_accuracy, _balanced_accuracy)
OF_NUMBERS = (_r2, _absolute_error, _squared_error, _root_mean_squared_error)
