"""Numbers as targets: standardised for the network, and its outputs in their own units."""

import numpy as np
import torch
from torch import nn

from sktl.feature_extraction.probes import regression_probe
from sktl.feature_extraction.ridge import fit_ridge


class Numbers:
    """The targets of a regressor, one or several: encoded for training, and decoded from outputs."""

    is_classifier = False
    criterion = nn.MSELoss

    def __init__(self, mean, scale, flat):
        self.mean = mean
        self.scale = scale
        self.flat = flat

    @classmethod
    def found_in(cls, targets, weights, flat):
        """Learn mean and spread of each column."""
        mean = np.average(targets, axis=0, weights=weights)
        spread = np.sqrt(np.average((targets - mean) ** 2, axis=0, weights=weights))
        # A constant target is predicted as it is, without rounding errors being blown up.
        return cls(mean, np.where(spread > 1e-12 * np.abs(mean), spread, 1.0), flat)

    def encoding(self):
        """Return the arguments that make these numbers again."""
        return {"mean": self.mean, "scale": self.scale, "flat": self.flat}

    @property
    def n_outputs(self):
        """Number of outputs of the network."""
        return len(self.mean)

    def labels(self, targets):
        """Return targets in the shape of predictions."""
        return targets[:, 0] if self.flat else targets

    def encode(self, targets):
        """Return standardised targets."""
        return torch.as_tensor((targets - self.mean) / self.scale, dtype=torch.float32)

    def loss_targets(self, targets, *, mixed):
        """Return targets for the loss; those of mixed images are mixed as they are."""
        return targets

    def by_column(self, targets):
        """Yield the images whose targets are known, which are all, and the targets; see Labels."""
        yield np.arange(len(targets)), targets, np.ones(len(targets), dtype=np.float32)

    def strata(self, targets):
        """Return what the inner split keeps the shares of: nothing."""

    def probe(self, features, targets, weights):
        """Fit a linear model; see `regression_probe`."""
        return regression_probe(features, targets, weights)[:2]

    def share_beside_probe(self, features, targets, weights):
        """Return the share of a trained network in the mean with a probe on features, of each target.

        A network that has learnt its images by heart is as sure of noise as of the rest. Half of it counts where the
        probe predicts images that are left out, and the less, the worse they correlate with their targets.
        """
        left_out = fit_ridge(features, targets, weights, one_strength=False).left_out
        shares = weights / weights.sum()
        (a, b) = (values - shares @ values for values in (left_out, targets))
        spread = np.sqrt((shares @ a**2) * (shares @ b**2))
        return 0.5 * np.divide(shares @ (a * b), spread, out=np.zeros(len(spread)), where=spread > 0).clip(0, 1)

    def decode(self, outputs):
        """Return predictions in their own units."""
        return self.labels(outputs * self.scale + self.mean)
