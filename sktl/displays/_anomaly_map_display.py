"""Where images are abnormal: maps over the pictures, the most abnormal first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktl._optional import import_optional
from sktl.displays._drawing import axes_for, tile
from sktl.displays._map_overlay import overlaid
from sktl.displays.thumbnails import thumbnail
from sktl.images import read_once, take_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["AnomalyMapDisplay"]

COLUMNS = 4
_WHOLE = (0.0, 1.0, 0.0, 1.0)  # top, bottom, left and right edge of what a map covers of its picture


class AnomalyMapDisplay:
    """Pictures with their anomaly maps laid over them, the most abnormal first.

    Parameters
    ----------
    pictures : list of ndarray of shape (height, width, 3), uint8
        The images, made small.
    maps : ndarray of shape (n, height, width)
        Of each whole picture; the greater, the more abnormal.
    decisions : ndarray of shape (n,)
        Of the decision function: below zero for anomalies.
    indices : ndarray of shape (n,)
        Positions in `X`.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    axes_ : ndarray of shape (n,), of matplotlib Axes
        One for each picture; set by `plot`.

    See Also
    --------
    sktl.PatchAnomalyDetector : Makes the maps.

    Notes
    -----
    All pictures share one scale: nothing is coloured up to the median of all values, and the greatest value of all is
    coloured most. So a set of normal images is coloured as well, where they are the least normal.

    Examples
    --------
    >>> from sktl import PatchAnomalyDetector
    >>> from sktl.datasets import make_fractals
    >>> from sktl.displays import AnomalyMapDisplay
    >>> X, _ = make_fractals(20, n_classes=2, random_state=0)
    >>> detector = PatchAnomalyDetector(random_state=0).fit(X[:12])
    >>> display = AnomalyMapDisplay.from_estimator(detector, X[12:], n=3).plot()
    >>> display.maps.shape
    (3, 48, 48)
    """

    def __init__(self, pictures: Any, maps: NDArray[Any], decisions: NDArray[Any], *, indices: NDArray[Any]) -> None:
        self.pictures = pictures
        self.maps = maps
        self.decisions = decisions
        self.indices = indices

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, n: int = 12) -> AnomalyMapDisplay:
        """Score images, and map the most abnormal ones.

        Parameters
        ----------
        estimator : fitted estimator
            With `decision_function` and `anomaly_map`, such as :class:`~sktl.PatchAnomalyDetector`.
        X : sequence of images of length n_images
            As for its `predict`.
        n : int, default=12
            How many to show at most.

        Returns
        -------
        AnomalyMapDisplay
            Not drawn yet.

        Raises
        ------
        TypeError
            If the estimator makes no maps.
        ValueError
            If `n` is less than 1.
        ImageReadError
            If an image cannot be read.
        """
        if not hasattr(estimator, "anomaly_map"):
            raise TypeError(
                f"estimator must make maps, with anomaly_map. Got a {type(estimator).__name__} instead. Fit a "
                "PatchAnomalyDetector."
            )
        if n < 1:
            raise ValueError(f"n must be at least 1. Got {n!r} instead.")
        check_is_fitted(estimator)
        X = read_once(X)
        decisions = estimator.decision_function(X)
        indices = np.argsort(decisions, kind="stable")[:n]
        some = take_rows(X, indices)
        images = estimator._images(some)
        pictures = [thumbnail(images[i]) for i in range(len(images))]
        return cls(pictures, estimator.anomaly_map(some), decisions[indices], indices=indices)

    def plot(self, ax: Any = None) -> AnomalyMapDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            One Axes to be divided; None makes a new figure.

        Returns
        -------
        AnomalyMapDisplay
            Itself, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        columns = min(COLUMNS, len(self.pictures))
        rows = -(-len(self.pictures) // columns)
        ax = axes_for(ax, "AnomalyMapDisplay.plot", (2.1 * max(columns, 3), 2.4 * rows))
        self.figure_ = ax.figure
        ax.set_axis_off()
        usual = np.median(self.maps)
        self.axes_ = np.empty(len(self.pictures), dtype=object)
        for number, (picture, values, decision) in enumerate(
            zip(self.pictures, self.maps, self.decisions, strict=True)
        ):
            place = self.axes_[number] = tile(ax, number, columns, rows, height=0.8)
            place.imshow(overlaid(picture, values - usual, _WHOLE, self.maps.max() - usual), interpolation="nearest")
            place.set(xticks=[], yticks=[])
            word = "anomaly" if decision < 0 else "normal"
            place.set_xlabel(f"X[{self.indices[number]}]: {word} ({decision:+.2f})", fontsize="small")
        return self

    def frame(self) -> Any:
        """Every image shown as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n, 2)
            Columns index and decision.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="AnomalyMapDisplay.frame")
        return pandas.DataFrame({"index": self.indices, "decision": self.decisions})
