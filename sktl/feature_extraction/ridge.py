"""Ridge regression on features: exact, its strength chosen by leave-one-out, and bounded on images of another kind.

A feature is divided by the square root of its standard deviation. Per unit of the feature itself, its coefficient is
then of one size however little it varied. Divided by its whole standard deviation, a feature that was nearly dead in
training drowns all others in the first image that wakes it. benchmarks/heads.py compares them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["RidgeFit", "fit_ridge"]

# Times the mean squared length of the scaled rows, shared out among the rows.
_STRENGTHS = np.logspace(-2, 4, 19)
_NUMBERS_IN_BLOCK = 2**24
_ROUNDING = 1e-12  # share of the greatest eigenvalue below which there is no direction


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge regression in the units of its features, and what each row gets from the fit that leaves it out."""

    coef: np.ndarray  # (n_targets, n_features)
    intercept: np.ndarray  # (n_targets,)
    alpha: np.ndarray  # (n_targets,), strengths
    left_out: np.ndarray  # (n_rows, n_targets)


def fit_ridge(X, Y, weights, *, one_strength):
    """Fit targets, with the strength at which rows that are left out are predicted best.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Features, of any float type; the sums are of float64.
    Y : ndarray of shape (n_rows, n_targets)
        Targets.
    weights : ndarray of shape (n_rows,)
        Positive; only their ratios count. A row is left out with all of its weight, so merge copies first.
    one_strength : bool
        Whether all targets share the strength that is best on the whole, or each has its own.

    Returns
    -------
    RidgeFit
        The exact solution. Time grows with n_rows * n_features * m and m**3 where m is the smaller of the two, memory
        with m**2 and, for no more rows than features, with X.
    """
    shares = weights / weights.sum()
    means, roots = shares @ Y, np.sqrt(shares)[:, None]
    targets = roots * (Y - means)
    rows = _ScaledRows(X, shares)
    space = _by_features(rows) if len(X) > X.shape[1] else _by_rows(rows)
    projected = sum(P.T @ targets[part] for part, P in space.coordinates())

    def left_out_errors(part, P, strengths):
        shrinkage = 1 / (space.spectrum[:, None] + strengths)
        stays = 1 - shares[part, None] - np.square(P) @ shrinkage
        return (targets[part] - P @ (shrinkage * projected)) / np.maximum(stays, np.finfo(float).tiny)

    strengths = _STRENGTHS * space.spectrum.sum() * (shares @ shares)
    losses = np.zeros((len(strengths), Y.shape[1]))
    for part, P in space.coordinates():
        losses += [np.square(left_out_errors(part, P, strength)).sum(axis=0) for strength in strengths]
    if one_strength:
        losses = np.broadcast_to(losses.sum(axis=1, keepdims=True), losses.shape)
    best = strengths[losses.argmin(axis=0)]
    coef = space.lift(projected / (space.spectrum[:, None] + best)).T / rows.scale
    errors = np.concatenate([left_out_errors(part, P, best) for part, P in space.coordinates()])
    return RidgeFit(np.ascontiguousarray(coef), means - coef @ rows.mean, best, Y - errors / roots)


class _ScaledRows:
    """Rows without their mean, features divided by the root of their standard deviation, times the root of a share."""

    def __init__(self, X, shares):
        self.X, self.roots = X, np.sqrt(shares)[:, None]
        self.mean = sum(shares[part] @ X[part].astype(np.float64) for part in self.parts())
        self.scale = np.ones(X.shape[1])
        deviation = np.sqrt(sum(np.square(self[part]).sum(axis=0) for part in self.parts()))
        self.scale[deviation > 0] = np.sqrt(deviation[deviation > 0])

    def parts(self):
        """Yield slices of rows that fit into the memory."""
        step = max(1, _NUMBERS_IN_BLOCK // self.X.shape[1])
        yield from (slice(start, start + step) for start in range(0, len(self.X), step))

    def __getitem__(self, part):
        rows = self.X[part] - self.mean
        rows /= self.scale
        rows *= self.roots[part]
        return rows


@dataclass(frozen=True, eq=False)
class _Space:
    """The directions in which the rows differ."""

    spectrum: np.ndarray  # variances
    coordinates: Callable  # yields slices of rows and their coordinates
    lift: Callable  # from coordinates to scaled features


def _by_features(rows):
    """Find the directions from the products of features: for many rows."""
    spectrum, directions = _eigen(sum(rows[part].T @ rows[part] for part in rows.parts()))
    return _Space(
        spectrum,
        lambda: ((part, rows[part] @ directions) for part in rows.parts()),
        lambda coordinates: directions @ coordinates,
    )


def _by_rows(rows):
    """Find them from the products of rows: for many features."""
    everything = slice(None)
    scaled = rows[everything]
    spectrum, directions = _eigen(scaled @ scaled.T)
    lengths = np.sqrt(spectrum)
    return _Space(
        spectrum,
        lambda: [(everything, directions * lengths)],
        lambda coordinates: scaled.T @ (directions @ (coordinates / lengths[:, None])),
    )


def _eigen(products):
    spectrum, directions = np.linalg.eigh(products)
    found = spectrum > _ROUNDING * spectrum[-1]
    return spectrum[found], directions[:, found]
