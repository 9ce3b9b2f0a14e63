"""The mistakes that a candidate was most sure of, with their pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._optional import import_optional
from sktl._targets import class_names
from sktl._text import as_written, shortened
from sktl.displays._drawing import axes_for, tile
from sktl.displays._map_overlay import overlays
from sktl.displays._predictions import predictions_of
from sktl.displays.thumbnails import images_compared, thumbnail
from sktl.images.paths import path_at

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Mistake", "MistakesDisplay"]

COLUMNS = 4
LONGEST = 20  # letters of a class name under a picture


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for something else.

    Parameters
    ----------
    index : int
        Position in `X`.
    true, predicted : str
        Names of the classes.
    confidence : float or None
        Probability of the predicted class, where it was wrong with the most; None without probabilities.
    times_wrong, times_tested : int
        In how many of the splits that tested it, it was taken for something else.
    file : str or None, default=None
        Path of the image, where `X` holds paths.

    Examples
    --------
    >>> from sktl.displays import Mistake
    >>> Mistake(7, "ant", "bee", 0.98, 1, 1).predicted
    'bee'
    """

    index: int
    true: str
    predicted: str
    confidence: float | None
    times_wrong: int
    times_tested: int
    file: str | None = None


class MistakesDisplay:
    """The most confident wrong predictions, with their pictures.

    Some of them are wrong labels, or images that nobody could tell: look before you blame the network.

    Parameters
    ----------
    mistakes : list of Mistake
        The most confident first.
    pictures : list of ndarray of shape (height, width, 3), uint8
        What a person sees, at most 160 pixels high and wide.
    candidate : str
        Who made them.
    n_mistakes : int
        How many images it took for something else, shown or not.
    n_images : int
        How many images were tested.
    overlays : list of ndarray of shape (height, width, 3), uint8, or None, default=None
        The pictures with maps of where a classifier looked over them; None for the pictures alone.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    axes_ : ndarray of matplotlib Axes, shape (n,)
        One for each picture; set by `plot`.

    See Also
    --------
    confusion_display : Which classes are taken for which, in numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import compare_transfer
    >>> from sktl.displays import MistakesDisplay
    >>> X, y = load_digits(n_class=6, return_X_y=True)
    >>> comparison = compare_transfer(
    ...     X[:60], y[:60], candidates=("dummy", "frozen"), baseline="dummy", cv=2, value_range=(0, 16))
    >>> display = MistakesDisplay.from_comparison(comparison, X[:60], candidate="dummy", n=3)
    >>> len(display.mistakes), display.pictures[0].shape
    (3, (8, 8, 3))
    """

    def __init__(
        self, mistakes: Any, pictures: Any, *, candidate: str, n_mistakes: int, n_images: int, overlays: Any = None
    ) -> None:
        self.mistakes = mistakes
        self.pictures = pictures
        self.candidate = candidate
        self.n_mistakes = n_mistakes
        self.n_images = n_images
        self.overlays = overlays

    @classmethod
    def from_comparison(
        cls,
        comparison: Any,
        X: Any,
        candidate: str | None = None,
        *,
        n: int = 12,
        target_names: Sequence[str] | None = None,
        maps_of: Any = None,
    ) -> MistakesDisplay:
        """Find the mistakes among the predictions for test images, and read their pictures.

        An image that several splits tested is shown once, with the prediction that was most confident.

        Parameters
        ----------
        comparison : TransferComparison
            Of a classification.
        X : sequence of images of length n_images
            The very `X` that was compared on.
        candidate : str or None, default=None
            Whose mistakes; None takes the candidate with the best mean score.
        n : int, default=12
            How many to show at most.
        target_names : sequence of str or None, default=None
            Names of the classes in the order of the sorted labels, such as the target_names of
            :func:`~sktl.images.load_image_folder`.
        maps_of : fitted estimator or None, default=None
            A classifier whose :func:`class_activation_map` to lay over each picture, for the class that the image was
            taken for: orange where it spoke for that class. A comparison keeps no fitted candidate: fit one yourself,
            on images without those looked at where the map shall be that of a fit that had not seen them.

        Returns
        -------
        MistakesDisplay
            Not drawn yet. Without probabilities the images come first that were wrong most often.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        ValueError
            If `n` is less than 1, `X` has another length than what was compared on, the task is regression, or there
            is no such candidate.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1. Got {n!r} instead.")
        candidate, found = predictions_of(comparison, candidate, "MistakesDisplay")
        images = images_compared(X, comparison)
        names = class_names(comparison.y, target_names)
        mistakes = _mistakes_in(found, names)
        mistakes = [replace(one, file=path_at(X, one.index)) for one in mistakes[:n]] + mistakes[n:]
        pictures = [thumbnail(images[mistake.index]) for mistake in mistakes[:n]]
        n_images = len(np.unique(found["index"]))
        display = cls(mistakes[:n], pictures, candidate=candidate, n_mistakes=len(mistakes), n_images=n_images)
        if maps_of is not None:
            labels = _labels_for(maps_of, mistakes[:n], names)
            display.overlays = overlays(maps_of, X, images, [one.index for one in mistakes[:n]], labels, pictures)
        return display

    @property
    def shown(self) -> Any:
        """The overlays, or the pictures where there are none."""
        return self.pictures if self.overlays is None else self.overlays

    def plot(self, ax: Any = None) -> MistakesDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            One Axes to be divided; None makes a new figure.

        Returns
        -------
        MistakesDisplay
            Itself, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        columns = min(COLUMNS, max(1, len(self.mistakes)))
        rows = max(1, -(-len(self.mistakes) // columns))
        ax = axes_for(ax, "MistakesDisplay.plot", (2.1 * max(columns, 3), 2.6 * rows + 0.4))
        self.figure_ = ax.figure
        ax.set_axis_off()
        shown = f"{as_written(self.candidate)}: {self.n_mistakes} of {self.n_images} images taken for something else"
        ax.set_title(f"{shown}. The most confident", fontsize="medium", loc="left")
        if not self.mistakes:
            ax.set_title(f"{shown}.", fontsize="medium", loc="left")
        self.axes_ = np.empty(len(self.mistakes), dtype=object)
        for number, (mistake, picture) in enumerate(zip(self.mistakes, self.shown, strict=True)):
            place = self.axes_[number] = tile(ax, number, columns, rows, height=0.66)
            place.imshow(picture, interpolation="nearest")
            place.set_axis_off()
            text = "\n".join(as_written(line, most=2 * LONGEST) for line in lines_of(mistake))
            place.annotate(
                text, (0.5, 0), (0, -3), xycoords="axes fraction", textcoords="offset points", ha="center", va="top",
                fontsize="small", linespacing=1.3,
            )  # fmt: skip
        return self

    def frame(self) -> Any:
        """Every mistake shown as one row of a data frame.

        Returns
        -------
        pandas.DataFrame of shape (n, 7)
            Columns index, true, predicted, confidence, times_wrong, times_tested, file.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="frame", caller="MistakesDisplay.frame")
        columns = ["index", "true", "predicted", "confidence", "times_wrong", "times_tested", "file"]
        return pandas.DataFrame([asdict(mistake) for mistake in self.mistakes], columns=columns)


def lines_of(mistake):
    """Say what is to be said of a mistake, under its picture."""
    sure = "" if mistake.confidence is None else f" ({100 * mistake.confidence:.0f} %)"
    often = "" if mistake.times_tested == 1 else f", {mistake.times_wrong}/{mistake.times_tested} times"
    predicted, true = (shortened(name, LONGEST) for name in (mistake.predicted, mistake.true))
    return [f"→ {predicted}{sure}", f"is {true}", f"X[{mistake.index}]{often}"]


def _labels_for(estimator, mistakes, names):
    """Return the classes that images were taken for as an estimator has them, which may know them by their names."""
    label_of = {name: label for label, name in names.items()}
    labels = [label_of[one.predicted] for one in mistakes]
    return labels if set(labels) <= set(estimator.classes_.tolist()) else [one.predicted for one in mistakes]


def _mistakes_in(found, names):
    """Find the most confident mistake of every image; the most confident first, ties in the order of X."""
    index, true, predicted = (found[column].tolist() for column in ("index", "y_true", "y_pred"))
    sure = np.asarray(found["confidence"], dtype=float)
    wrong = [place for place in range(len(index)) if true[place] != predicted[place]]
    worst: dict[int, int] = {}
    for place in sorted(wrong, key=lambda place: -np.nan_to_num(sure[place])):
        worst.setdefault(index[place], place)
    tested, failed = Counter(index), Counter(index[place] for place in wrong)
    mistakes = [
        Mistake(
            image,
            names[true[place]],
            names[predicted[place]],
            None if np.isnan(sure[place]) else float(sure[place]),
            failed[image],
            tested[image],
        )
        for image, place in worst.items()
    ]
    return sorted(mistakes, key=lambda one: (-(one.confidence or 0), -one.times_wrong / one.times_tested, one.index))
