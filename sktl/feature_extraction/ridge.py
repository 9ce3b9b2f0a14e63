"""Ridge regression on features: exact, its strength and scaling by leave-one-out, bounded on images of another kind.

A feature divided by its standard deviation has a coefficient, in its own units, as much larger as it varied less: one
that was nearly dead in training drowns all others in the first image that wakes it. Of the two scalings here neither
lets a coefficient grow without bound. Which is better depends on the network: the root of the deviation where features
of little spread are noise, the deviation itself where they are stages of small numbers. benchmarks/heads.py compares.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["RidgeFit", "Space", "directions_of", "fit_ridge", "fit_scaled_ridge", "scalings", "scalings_of"]

# Times the mean squared length of the scaled rows, shared out among the rows.
_STRENGTHS = np.logspace(-2, 4, 19)
_FLOOR = 0.1  # of the mean deviation: what deviations are not taken to be less than
_NUMBERS_IN_BLOCK = 2**24
_ROUNDING = 1e-12  # share of the greatest eigenvalue below which there is no direction


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regressions in the units of their features, and what each row gets from a fit that leaves it out."""

    coef: np.ndarray  # (n_targets, n_features)
    intercept: np.ndarray  # (n_targets,)
    alpha: np.ndarray  # (n_targets,), strengths
    left_out: np.ndarray  # (n_rows, n_targets)
    loss: np.ndarray  # (n_targets,), weighted mean of the squared errors of rows left out


def fit_ridge(X, Y, weights, *, one_strength):
    """Fit targets, with the strength and the scaling at which rows that are left out are predicted best.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Features, of any float type; the sums are of float64.
    Y : ndarray of shape (n_rows, n_targets)
        Targets.
    weights : ndarray of shape (n_rows,)
        Positive; only their ratios count. A row is left out with all of its weight, so merge copies first.
    one_strength : bool
        Whether all targets share the strength and the scaling that are best on the whole, or each has its own.

    Returns
    -------
    RidgeFit
        The exact solution. Time grows with n_rows * n_features * m and m**3 where m is the smaller of the two, memory
        with m**2 and, for no more rows than features, with X.
    """
    fits = [fit_scaled_ridge(X, Y, weights, scale, one_strength=one_strength) for scale in scalings(X, weights)]
    losses = np.stack([fit.loss for fit in fits])
    if one_strength:
        return fits[losses.sum(axis=1).argmin()]
    best, own = losses.argmin(axis=0), np.arange(Y.shape[1])
    parts = ([getattr(fit, name) for fit in fits] for name in ("coef", "intercept", "alpha", "loss"))
    coef, intercept, alpha, loss = (np.stack(part)[best, own] for part in parts)
    return RidgeFit(coef, intercept, alpha, np.stack([fit.left_out for fit in fits])[best, :, own].T, loss)


def scalings(X, weights):
    """Return what features may be divided by: the root of the deviation, and the deviation with a floor."""
    return scalings_of(_Rows(X, weights / weights.sum()).deviation())


def scalings_of(deviation):
    """Return the two scalings of features of known deviation."""
    floor = _FLOOR * deviation.mean()
    deviation = np.where(deviation == 0, 1, deviation)
    return np.sqrt(deviation), np.hypot(deviation, floor)


def fit_scaled_ridge(X, Y, weights, scale, *, one_strength):
    """Fit targets to features that are divided by `scale`; the rest as in `fit_ridge`."""
    shares = weights / weights.sum()
    means, roots = shares @ Y, np.sqrt(shares)[:, None]
    rows = _Rows(X, shares, scale)
    space = (_by_features if len(X) > X.shape[1] else _by_rows)(rows, roots * (Y - means))
    alpha, losses = space.best_strengths(shares @ shares, one_strength=one_strength)
    coef = space.coefficients(alpha) / scale
    errors = np.concatenate([space.left_out_errors(*block, alpha) for block in space.blocks()])
    return RidgeFit(coef, means - coef @ rows.mean, alpha, Y - errors / roots, losses)


class _Rows:
    """Rows without their mean, features divided by a scale, times the root of a share."""

    def __init__(self, X, shares, scale=1.0):
        self.X, self.scale, self.shares, self.roots = X, scale, shares, np.sqrt(shares)[:, None]
        self.mean = sum(shares[part] @ X[part].astype(np.float64) for part in self.parts())

    def parts(self):
        """Yield slices of rows that fit into the memory."""
        step = max(1, _NUMBERS_IN_BLOCK // self.X.shape[1])
        yield from (slice(start, start + step) for start in range(0, len(self.X), step))

    def __getitem__(self, part):
        rows = self.X[part] - self.mean
        rows /= self.scale
        rows *= self.roots[part]
        return rows

    def deviation(self):
        """Return the root of the mean square of each feature."""
        return np.sqrt(sum(np.square(self[part]).sum(axis=0) for part in self.parts()))


@dataclass(frozen=True, eq=False)
class Space:
    """The directions in which the rows differ, and the rows in them."""

    spectrum: np.ndarray  # variances
    projected: np.ndarray  # products with the targets
    blocks: Callable  # yields coordinates and targets of some rows, both times the roots of the shares, and the shares
    lift: Callable  # from coordinates to scaled features

    def best_strengths(self, share, *, one_strength):
        """Return for each target the strength that predicts rows left out best, and the loss; a row has `share`."""
        strengths = _STRENGTHS * self.spectrum.sum() * share
        losses = np.zeros((len(strengths), self.projected.shape[1]))
        for block in self.blocks():
            losses += [np.square(self.left_out_errors(*block, strength)).sum(axis=0) for strength in strengths]
        shared = losses.sum(axis=1, keepdims=True)
        best = (shared + np.zeros_like(losses) if one_strength else losses).argmin(axis=0)
        return strengths[best], losses[best, np.arange(losses.shape[1])]

    def left_out_errors(self, P, targets, shares, strengths):
        """Return the errors of fits that leave out the row, times the root of its share."""
        shrinkage = 1 / (self.spectrum[:, None] + strengths)
        stays = 1 - shares[:, None] - np.square(P) @ shrinkage
        return (targets - P @ (shrinkage * self.projected)) / np.maximum(stays, np.finfo(float).tiny)

    def coefficients(self, alpha):
        """Return the coefficients of scaled features, a row for each target."""
        return np.ascontiguousarray(self.lift(self.projected / (self.spectrum[:, None] + alpha)).T)


def _by_features(rows, targets):
    """Find the directions from the products of features: for many rows."""
    spectrum, directions = directions_of(sum(rows[part].T @ rows[part] for part in rows.parts()))
    return Space(
        spectrum,
        directions.T @ sum(rows[part].T @ targets[part] for part in rows.parts()),
        lambda: ((rows[part] @ directions, targets[part], rows.shares[part]) for part in rows.parts()),
        lambda coordinates: directions @ coordinates,
    )


def _by_rows(rows, targets):
    """Find them from the products of rows: for many features."""
    scaled = rows[:]
    spectrum, directions = directions_of(scaled @ scaled.T)
    lengths = np.sqrt(spectrum)
    P = directions * lengths
    return Space(
        spectrum,
        P.T @ targets,
        lambda: [(P, targets, rows.shares)],
        lambda coordinates: scaled.T @ (directions @ (coordinates / lengths[:, None])),
    )


def directions_of(products):
    """Return variances and directions of what has these products, without directions of rounding errors alone."""
    spectrum, directions = np.linalg.eigh(products)
    found = spectrum > _ROUNDING * spectrum[-1]
    return spectrum[found], directions[:, found]
