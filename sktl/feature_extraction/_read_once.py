"""fit_transform of transformers of images: what makes its images on access is asked for each of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import TransformerMixin

from sktl.images import read_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class ReadOnceMixin(TransformerMixin):
    """Abstract: `fit` and `transform` on the same images, which both would read otherwise."""

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Mapping[str, Any]) -> NDArray[Any]:
        """Fit, and turn the same images into vectors.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            As for `fit`. What makes its images on access is asked for each of them once.
        y : Ignored
            Present for API consistency.
        **fit_params : dict
            Passed to `fit`.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), float32
            As of `transform`.
        """
        return super().fit_transform(read_once(X), y, **fit_params)
