"""The linear probes of more features than fit into the memory: the same fit, from blocks that are read four times.

Means and products, which are sums over the rows, are all that the directions of a ridge come from; leaving out is a
formula for each row, given the directions. So the first reading gives the sums, one for each scaling the strength, and
the last one what is said of rows left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from sktl.feature_extraction._linear_probe import LinearProbeClassifier, LinearProbeRegressor
from sktl.feature_extraction.probes import steepness_of
from sktl.feature_extraction.ridge import Space, directions_of, scalings_of

__all__ = ["fit_probe_on_blocks"]

# Scores that the steepness is found from, and the fewest rows: a single number is known well from such a part.
_SAMPLE = 2**18
_LEAST_ROWS = 5_000


def fit_probe_on_blocks(read, classes=None):
    """Fit a linear probe to blocks of features, as `fit` does to all of them at once.

    Parameters
    ----------
    read : callable
        Called four times; each time it returns an iterator over the same pairs of features, a float array of shape
        (n_rows, n_features), and targets of shape (n_rows,): numbers, or with `classes` positions in it. All numbers
        are finite.
    classes : ndarray or None, default=None
        Sorted labels, two or more, each of which is there.

    Returns
    -------
    probe : LinearProbeClassifier or LinearProbeRegressor
        Fitted as in memory, up to rounding. Where rows times classes are more than 2**18, the factor between scores and
        probabilities is found from evenly spaced rows.
    score : float
        Accuracy, or R², of what a fit to all other rows says of each; copies are left out together.

    Notes
    -----
    Memory is that of a block, of some matrices of n_features**2 numbers, and of 4 bytes for each row, for a moment 100.
    """
    rows = _summed(read, classes)
    spaces = [(scale, rows.space(scale)) for scale in scalings_of(np.sqrt(np.diagonal(rows.of_features)))]
    found = [space.best_strengths(rows.share, one_strength=True) for _, space in spaces]
    best = int(np.argmin([losses.sum() for _, losses in found]))
    (scale, space), (alpha, losses) = spaces[best], found[best]
    coef = space.coefficients(alpha) / scale
    intercept = rows.mean[rows.d :] - coef @ rows.mean[: rows.d]
    if classes is None:
        probe, score = LinearProbeRegressor(), 1 - losses[0] / rows.products[-1, -1]
        probe._take(coef[0], intercept[0], alpha[0])
    else:
        probe, (steepness, score) = LinearProbeClassifier(), _steepness_and_accuracy(rows, space, alpha)
        probe.classes_ = classes
        probe._take(steepness * coef, steepness * intercept, alpha[0])
    probe.n_features_in_ = rows.d
    return probe, float(score)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Blocks of rows that can be read again and again, and their sums."""

    read: Callable  # gives an iterator over features and targets, two-dimensional
    d: int  # number of features
    copies: np.ndarray  # for each row how often it is there if it is the first of its kind, else 0
    mean: np.ndarray  # of features and targets
    products: np.ndarray  # of features and targets about the mean, as means over the rows

    @property
    def of_features(self):
        return self.products[: self.d, : self.d]

    @property
    def share(self):
        """The sum of the squared shares: that of a row, where there are no copies."""
        return np.square(self.copies / len(self.copies)).sum()

    def blocks(self):
        """Yield features, targets and shares, copies as one row."""
        start = 0
        for X, Y in self.read():
            copies = self.copies[start : start + len(X)]
            start += len(X)
            first = copies > 0
            yield X[first], Y[first], copies[first] / len(self.copies)

    def space(self, scale):
        """Find the directions in which features differ that are divided by `scale`."""
        spectrum, directions = directions_of(self.of_features / np.outer(scale, scale))
        mean_x, mean_y = self.mean[: self.d], self.mean[self.d :]
        turned = directions / scale[:, None]

        def blocks():
            for X, Y, shares in self.blocks():
                roots = np.sqrt(shares)[:, None]
                yield roots * ((X - mean_x) @ turned), roots * (Y - mean_y), shares

        projected = turned.T @ self.products[: self.d, self.d :]
        return Space(spectrum, projected, blocks, lambda coordinates: directions @ coordinates)


def _summed(read, classes):
    """Read all rows for their sums, those of each block about its own mean, so that no digits are lost."""

    def pairs():
        one_hot = None if classes is None else np.eye(len(classes))
        for X, targets in read():
            yield X, np.reshape(targets, (-1, 1)).astype(np.float64) if one_hot is None else one_hot[targets]

    n_rows, mean, products, digests = 0, 0.0, 0.0, bytearray()
    for X, Y in pairs():
        for x, y in zip(X, Y, strict=True):
            digests += blake2b(x.tobytes() + y.tobytes(), digest_size=8).digest()
        Z = np.hstack([X, Y], dtype=np.float64)
        own = Z.mean(axis=0)
        Z -= own
        moved, new = own - mean, n_rows + len(Z)
        products += Z.T @ Z + np.outer(moved, moved) * (n_rows * len(Z) / new)
        mean, n_rows = mean + moved * (len(Z) / new), new
    return _Rows(pairs, X.shape[1], _copies(digests), mean, products / n_rows)


def _copies(digests):
    """Count equal rows, which would give away what is left out, at the first of them."""
    _, firsts, counts = np.unique(np.frombuffer(digests, np.uint64), return_index=True, return_counts=True)
    copies = np.zeros(len(digests) // 8, dtype=np.uint32)
    copies[firsts] = counts
    return copies


def _steepness_and_accuracy(rows, space, alpha):
    """Judge what is said of rows left out: by how much it is too timid, and how often it is right."""
    n_classes, n_kept = space.projected.shape[1], np.count_nonzero(rows.copies)
    every = -(-n_kept // max(_SAMPLE // n_classes, _LEAST_ROWS))
    sample, n_seen, right = [], 0, 0.0
    mean_y = rows.mean[rows.d :]
    for P, targets, shares in space.blocks():
        roots = np.sqrt(shares)[:, None]
        truth = targets / roots + mean_y
        left_out = truth - space.left_out_errors(P, targets, shares, alpha) / roots
        labels = truth.argmax(axis=1)
        right += shares @ (left_out.argmax(axis=1) == labels)
        chosen = slice(-n_seen % every, None, every)
        sample.append((left_out[chosen], labels[chosen], shares[chosen]))
        n_seen += len(P)
    left_out, labels, shares = (np.concatenate(part) for part in zip(*sample, strict=True))
    return steepness_of(left_out, labels, shares / shares.sum(), rows.share), right
