"""Features in the coordinates of the images that a linear model is fitted on, which are far fewer than features."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

__all__ = ["SpanOfImages"]

NEGLIGIBLE = 1e-6  # of the largest variance: what rounding of float32 leaves of directions that are not there


class SpanOfImages(TransformerMixin, BaseEstimator):
    """Rotate centred features into the space that the training images span.

    A linear model with an L2 penalty has its weights in that space, and the penalty does not see a rotation: its
    predictions are the same, up to the tolerance of its solver, and its fit takes a fraction of the time. Where there
    are no fewer images than features, they stay as they are.
    """

    def fit(self, X, y=None):
        """Find orthogonal directions that span the rows of X."""
        self.axes_ = None
        if X.shape[0] < X.shape[1] and np.any(X):
            variances, directions = np.linalg.eigh(X @ X.T)
            kept = variances > NEGLIGIBLE * variances[-1]
            self.axes_ = X.T @ (directions[:, kept] / np.sqrt(variances[kept]))
        return self

    def transform(self, X):
        """Return coordinates along these directions, shape (n_images, n_directions)."""
        return X if self.axes_ is None else X @ self.axes_
