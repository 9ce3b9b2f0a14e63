"""How well two domains can be told apart: the scores of all images, and the pictures that tell most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from sktl.displays._drawing import BLUE, ORANGE, axes_for, light_spines
from sktl.displays.thumbnails import thumbnail
from sktl.images import check_images
from sktl.images.value_range import fit_value_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


__all__ = ["DomainShiftDisplay"]

N_BINS = 20


class DomainShiftDisplay:
    """Show the scores of :func:`~sktl.domain_adaptation.domain_shift`, and which images of the target tell most.

    Usually made by `from_shift`.

    Parameters
    ----------
    source_scores, target_scores : ndarray of shape (n_images,)
        Probability of each image to be one of the target.
    sentence : str
        What was found.
    indices : list of int
        Positions in the images of the target of the pictures shown, the most telling first.
    pictures : list of ndarray of shape (height, width, 3), uint8
        At most 160 pixels high and wide.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn into; set by `plot`.
    ax_ : matplotlib Axes
        Of the scores; set by `plot`.
    axes_ : ndarray of matplotlib Axes, shape (n,)
        One for each picture; set by `plot`.

    See Also
    --------
    sktl.domain_adaptation.domain_shift : Measures the shift.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl.displays import DomainShiftDisplay
    >>> from sktl.domain_adaptation import domain_shift
    >>> images = load_digits().images
    >>> shift = domain_shift(images[:30], 16 - images[30:60])
    >>> display = DomainShiftDisplay.from_shift(shift, 16 - images[30:60], n=4)
    >>> len(display.pictures)
    4
    """

    def __init__(
        self,
        source_scores: NDArray[Any],
        target_scores: NDArray[Any],
        *,
        sentence: str,
        indices: Sequence[int],
        pictures: Any,
    ) -> None:
        self.source_scores = source_scores
        self.target_scores = target_scores
        self.sentence = sentence
        self.indices = indices
        self.pictures = pictures

    @classmethod
    def from_shift(
        cls,
        shift: Any,
        X_target: Any,
        *,
        n: int = 6,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> DomainShiftDisplay:
        """Read the pictures that tell most.

        Parameters
        ----------
        shift : DomainShift
            What :func:`~sktl.domain_adaptation.domain_shift` returned.
        X_target : sequence of images, or array-like of shape (n_images, n_features)
            The images of the target that it was measured on.
        n : int, default=6
            How many pictures at most.
        image_shape : tuple of int or None, default=None
            Shape of the images when `X_target` holds flattened ones.
        value_range : tuple of (float, float) or None, default=None
            Values of black and white in arrays; None takes those that the images show.

        Returns
        -------
        DomainShiftDisplay
            Not drawn yet.

        Raises
        ------
        ValueError
            If `n` is less than 1, or `X_target` has another length than what was measured on.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1. Got {n!r} instead.")
        images = check_images(BaseEstimator(), X_target, reset=True, image_shape=image_shape)
        if len(images) != len(shift.target_scores):
            raise ValueError(
                "X_target must be the images of the target that the shift was measured on, "
                f"{len(shift.target_scores)} of them. Got {len(images)} instead."
            )
        images = images.with_value_range(fit_value_range(images, value_range), learned=value_range is None)
        indices = shift.most_telling(n).tolist()
        pictures = [thumbnail(images[i]) for i in indices]
        return cls(shift.source_scores, shift.target_scores, sentence=str(shift), indices=indices, pictures=pictures)

    def plot(self, ax: Any = None) -> DomainShiftDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            One Axes to be divided; None makes a new figure.

        Returns
        -------
        DomainShiftDisplay
            Itself, with `figure_`, `ax_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes_for(ax, "DomainShiftDisplay.plot", (8, 4.6))
        self.figure_ = ax.figure
        ax.set_axis_off()
        before, _, after = self.sentence.partition(": ")
        ax.set_title(f"{before}:\n{after}", fontsize="medium", loc="left")
        self.ax_ = ax.inset_axes([0.06, 0.52, 0.93, 0.46])
        bins = np.linspace(0, 1, N_BINS + 1)
        for name, scores, color in (("source", self.source_scores, BLUE), ("target", self.target_scores, ORANGE)):
            self.ax_.hist(scores, bins=bins, color=color, alpha=0.6, label=f"{name}, {len(scores):,} images")
        self.ax_.set(xlabel="probability to be one of the target", ylabel="images", xlim=(0, 1))
        self.ax_.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        light_spines(self.ax_)
        self.axes_ = np.empty(len(self.pictures), dtype=object)
        for place, (index, picture) in enumerate(zip(self.indices, self.pictures, strict=True)):
            width = 1 / len(self.pictures)
            tile = self.axes_[place] = ax.inset_axes([(place + 0.04) * width, 0.06, 0.92 * width, 0.26])
            tile.imshow(picture, interpolation="nearest")
            tile.set_axis_off()
            tile.set_title(f"X_target[{index}]: {self.target_scores[index]:.2f}", fontsize="small")
        return self
