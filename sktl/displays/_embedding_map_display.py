"""Which images have similar embeddings: a map of them in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from sktl._optional import import_optional
from sktl._targets import class_names
from sktl._text import written_apart
from sktl.displays._drawing import MARKERS, PALETTE, axes_for, label, lifts_of
from sktl.feature_extraction import PretrainedFeatureExtractor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


__all__ = ["EmbeddingMapDisplay"]


class EmbeddingMapDisplay:
    """Embeddings as points in two dimensions, with the names of the classes where their middles are.

    Parameters
    ----------
    points : ndarray of shape (n_images, 2)
        Positions.
    y : ndarray of shape (n_images,)
        Labels, or numbers.
    axis_names : tuple of two str
        What the two directions are.
    target_names : sequence of str or None, default=None
        Names of the classes, in the order of the sorted labels.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    ax_ : matplotlib Axes
        The axes drawn into; set by `plot`.

    See Also
    --------
    PretrainedFeatureExtractor : Makes the embeddings.

    Notes
    -----
    PCA is a linear projection: distances that it shows are there, others may be hidden. That classes fall apart on a
    map is no measure of how well they can be told apart: cross-validation is. Positions that another method found, such
    as scikit-learn's ``TSNE``, go to the constructor.

    Examples
    --------
    >>> from sktl.displays import EmbeddingMapDisplay
    >>> from sktl.datasets import make_fractals
    >>> X, y = make_fractals(30, n_classes=3, random_state=0)
    >>> display = EmbeddingMapDisplay.from_images(X, y)
    >>> display.points.shape
    (30, 2)
    >>> display.plot().ax_.get_xlabel()
    'component 1 (... % of the variance)'
    """

    def __init__(
        self, points: NDArray[Any], y: NDArray[Any], *, axis_names: Any, target_names: Sequence[str] | None = None
    ) -> None:
        self.points = points
        self.y = y
        self.axis_names = axis_names
        self.target_names = target_names

    @classmethod
    def from_embeddings(
        cls, Z: Any, y: Any, *, target_names: Sequence[str] | None = None, random_state: int = 0
    ) -> EmbeddingMapDisplay:
        """Bring embeddings down to two dimensions by PCA.

        Parameters
        ----------
        Z : array-like of shape (n_images, n_features)
            Embeddings, or any other features. They are centred and not scaled.
        y : array-like of shape (n_images,)
            Labels, or numbers, which get a scale of colours.
        target_names : sequence of str or None, default=None
            Names of the classes in the order of the sorted labels, such as the target_names of
            :func:`~sktl.images.load_image_folder`.
        random_state : int, default=0
            Seed, where there are so many features that the PCA is approximated.

        Returns
        -------
        EmbeddingMapDisplay
            Not drawn yet.

        Raises
        ------
        ValueError
            If there are fewer than two embeddings or features, or lengths differ.
        """
        Z = check_array(Z, ensure_min_samples=2, ensure_min_features=2, input_name="Z")
        y = column_or_1d(y)
        check_consistent_length(Z, y)
        if not _is_number(y):
            class_names(y, target_names)  # what does not fit is said here rather than while drawing
        with np.errstate(invalid="ignore"):  # embeddings that are all equal have no variance to explain
            pca = PCA(2, random_state=random_state).fit(Z)
        shares = np.nan_to_num(pca.explained_variance_ratio_)
        names = tuple(f"component {i} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares, 1))
        return cls(pca.transform(Z), y, axis_names=names, target_names=target_names)

    @classmethod
    def from_images(
        cls, X: Any, y: Any, *, extractor: Any = None, target_names: Sequence[str] | None = None, random_state: int = 0
    ) -> EmbeddingMapDisplay:
        """Embed images, and bring the embeddings down to two dimensions by PCA.

        Parameters
        ----------
        X : sequence of images of length n_images
            Whatever the extractor takes.
        y : array-like of shape (n_images,)
            Labels, or numbers.
        extractor : transformer or None, default=None
            Turns images into embeddings: a `PretrainedFeatureExtractor`, or a pipeline of transformers. One that is
            fitted is used as it is, of another a copy is fitted to `X` and `y`. None is
            ``PretrainedFeatureExtractor()``.
        target_names : sequence of str or None, default=None
            As for `from_embeddings`.
        random_state : int, default=0
            Seed, where there are so many features that the PCA is approximated.

        Returns
        -------
        EmbeddingMapDisplay
            Not drawn yet.

        Raises
        ------
        TypeError
            If `extractor` does not transform.
        ImageReadError
            If an image cannot be read.
        """
        extractor = PretrainedFeatureExtractor() if extractor is None else extractor
        if not hasattr(extractor, "transform"):
            raise TypeError(
                f"extractor must turn images into embeddings with transform. Got {extractor!r} instead. Of a pipeline "
                "that ends in a classifier pass all but the last step: pipeline[:-1]."
            )
        try:
            check_is_fitted(extractor)
        except NotFittedError:
            extractor = clone(extractor).fit(X, y)
        return cls.from_embeddings(extractor.transform(X), y, target_names=target_names, random_state=random_state)

    def plot(self, ax: Any = None) -> EmbeddingMapDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        EmbeddingMapDisplay
            Itself, with `figure_` and `ax_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = self.ax_ = axes_for(ax, "EmbeddingMapDisplay.plot", (6.4, 5.2))
        self.figure_ = ax.figure
        if _is_number(self.y):
            shown = ax.scatter(*self.points.T, c=self.y.astype(float), cmap="cividis", s=22, alpha=0.8)
            ax.figure.colorbar(shown, ax=ax, label="y")
        else:
            self._draw_classes(ax)
        ax.set_xlabel(self.axis_names[0])
        ax.set_ylabel(self.axis_names[1])
        ax.set_xticks([])
        ax.set_yticks([])
        return self

    def frame(self) -> Any:
        """Every image as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n_images, 3)
            Columns component_1, component_2, y.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="EmbeddingMapDisplay.frame")
        return pandas.DataFrame({"component_1": self.points[:, 0], "component_2": self.points[:, 1], "y": self.y})

    def _draw_classes(self, ax):
        names = class_names(self.y, self.target_names)
        texts = written_apart(names.values())
        middles = [np.median(self.points[self.y == one], axis=0) for one in names]
        looks = [(PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE) % len(MARKERS)]) for i in range(len(names))]
        for one, (color, marker) in zip(names, looks, strict=True):
            ax.scatter(*self.points[self.y == one].T, color=color, marker=marker, s=22, alpha=0.65, linewidth=0)
        lifts = lifts_of(ax, middles, texts)
        for text, middle, lift, (color, marker) in zip(texts, middles, lifts, looks, strict=True):
            ax.plot(*middle, marker, color=color, markersize=9, markeredgecolor="white", zorder=4)
            options = {"ha": "center", "va": "bottom", "fontweight": "bold", "zorder": 5}
            label(ax, text, middle, (0, 6 + lift), **options)


def _is_number(y):
    return type_of_target(y).startswith("continuous")
