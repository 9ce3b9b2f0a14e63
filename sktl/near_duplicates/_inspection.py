"""A look at all images before any work: what cannot be read, what is there twice, and what they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, column_or_1d

from sktl._text import enumerated, first_of, printable
from sktl._validation import Interval, validate_params
from sktl.exceptions import ImageReadError
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.images import check_images, read_once
from sktl.near_duplicates.search import groups_and_bad_images

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


__all__ = ["ImageInspection", "inspect_images"]

MOST = 20  # classes that are listed


@dataclass(frozen=True, eq=False, repr=False)
class ImageInspection:
    """What :func:`inspect_images` found. Printing it says all of it; it is true where there is something to mend.

    Parameters
    ----------
    bad_images : list of ImageReadError
        Images that cannot be read, each with its `index`, `path` and `reason`, in the order of `X`.
    near_duplicates : list of list of int
        Positions of images that are near copies of each other, group by group.
    names : list of str
        For every image its path, or "image 7".
    sizes : ndarray of shape (n_images, 2), int
        Width and height in pixels as they are stored; zeros where an image cannot be read.
    kinds : dict of str to int
        How many images are "colour", "grey", "16-bit grey" and so on, the most frequent first.
    labels : list or None, default=None
        Class of every image.
    parts : list or None, default=None
        Part of the data that every image belongs to, such as "train" and "test".
    empty_classes : tuple of str, default=()
        Classes without an image that can be read.

    See Also
    --------
    inspect_images : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.near_duplicates import inspect_images
    >>> found = inspect_images(np.zeros((3, 8, 8), dtype=np.uint8))
    >>> found.near_duplicates, found.kinds, bool(found)
    ([[0, 1, 2]], {'grey': 3}, True)
    """

    bad_images: list[ImageReadError]
    near_duplicates: list[list[int]]
    names: list[str]
    sizes: np.ndarray
    kinds: dict[str, int]
    labels: list | None = None
    parts: list | None = None
    empty_classes: tuple = ()

    def __bool__(self):
        return bool(self.bad_images or self.near_duplicates or self.empty_classes)

    @property
    def class_counts(self) -> Any:
        """How many images of each class can be read: a dict, in the order of the sorted labels; None without labels."""
        return self._counts(self.labels)

    @property
    def part_counts(self) -> Any:
        """How many images of each part of the data can be read, as `class_counts`."""
        return self._counts(self.parts)

    def _counts(self, values):
        if values is None:
            return None
        bad = {error.index for error in self.bad_images}
        counts = dict.fromkeys(sorted({*values}, key=str), 0)
        counts.update(Counter(value for i, value in enumerate(values) if i not in bad))
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain Python that `json.dumps` takes.

        Returns
        -------
        dict
            Keys n_images, bad_images, near_duplicates, classes, parts, empty_classes, sizes, kinds.
        """
        groups = [
            {
                "images": [self.names[i] for i in group],
                "indices": group,
                "classes": self._values(self.labels, group),
                "parts": self._values(self.parts, group),
            }
            for group in self.near_duplicates
        ]
        classes, parts = (
            None if counts is None else {str(name): count for name, count in counts.items()}
            for counts in (self.class_counts, self.part_counts)
        )
        return {
            "n_images": len(self.names),
            "bad_images": [{"index": bad.index, "path": bad.path, "reason": bad.reason} for bad in self.bad_images],
            "near_duplicates": groups,
            "classes": classes,
            "parts": parts,
            "empty_classes": [str(name) for name in self.empty_classes],
            "sizes": self._sizes(),
            "kinds": self.kinds,
        }

    def _values(self, values, group):
        return None if values is None else sorted({str(values[i]) for i in group})

    def _sizes(self):
        sizes = self.sizes[self.sizes.all(axis=1)]
        if not len(sizes):
            return None
        pixels, aspects = sizes.prod(axis=1), sizes[:, 0] / sizes[:, 1]
        return {
            "smallest": sizes[pixels.argmin()].tolist(),
            "largest": sizes[pixels.argmax()].tolist(),
            "width_to_height": [float(aspects.min()), float(aspects.max())],
        }

    def __repr__(self):
        return "\n".join(self._lines())

    def _lines(self):
        sizes, counts, names = self._sizes(), self.class_counts, [printable(name) for name in self.names]
        yield f"{_number(len(names), 'image')}" + ("" if counts is None else f" in {_number(len(counts), 'class')}")
        for what, some in ("class", counts), ("part", self.part_counts):
            if some is not None:
                listed = first_of([f"{printable(one)} {n:,}" for one, n in some.items()], MOST, between=", ")
                yield f"Images per {what}: {listed}"
        yield f"Kinds: {', '.join(f'{kind} {n:,}' for kind, n in self.kinds.items())}"
        if sizes is not None:
            (width, height), (most_width, most_height) = sizes["smallest"], sizes["largest"]
            low, high = sizes["width_to_height"]
            yield (
                f"Sizes: from {width} × {height} to {most_width} × {most_height} pixels, width to height from "
                f"{low:.2f} to {high:.2f}"
            )
        if self.empty_classes:
            yield f"Classes without an image that can be read: {enumerated(self.empty_classes, MOST)}"
        if self.bad_images:
            yield f"Cannot be read: {_number(len(self.bad_images), 'image')}"
            yield from (f"  {names[bad.index]}: {printable(bad.reason)}" for bad in self.bad_images)
        if self.near_duplicates:
            n_images = sum(map(len, self.near_duplicates))
            yield f"Near duplicates: {_number(n_images, 'image')} in {_number(len(self.near_duplicates), 'group')}"
            for group in self.near_duplicates:
                yield f"  {', '.join(names[i] for i in group)}{self._where(group)}"
        if not self:
            yield "Nothing to mend was found"

    def _where(self, group):
        """Say that copies lie in several classes or parts, which is worse than in one."""
        several = [self._values(values, group) or [] for values in (self.labels, self.parts)]
        said = [f"in {' and '.join(map(printable, values))}" for values in several if len(values) > 1]
        return f"  ({', '.join(said)})" if said else ""


def _number(number, what):
    plural = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{'' if number == 1 else plural}"


@validate_params(
    {"batch_size": [Interval(Integral, 1, None, closed="left")], "verbose": ["verbose"]},
    prefer_skip_nested_validation=True,
)
def inspect_images(
    X: Any,
    y: ArrayLike | None = None,
    *,
    parts: ArrayLike | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 32,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ImageInspection:
    """Look through all images: which cannot be read, which are near copies of each other, and what they are.

    Every image is decoded. The small network that comes with sktl proposes near copies, as
    :func:`near_duplicate_groups` does; nothing is downloaded.

    Parameters
    ----------
    X : sequence of images of length n_images, or array-like of shape (n_images, n_features)
        Paths, PIL images, arrays, flattened rows: whatever sktl reads.
    y : array-like of shape (n_images,), default=None
        Their classes: near copies in two of them are told, and classes of which nothing can be read.
    parts : array-like of shape (n_images,), default=None
        Names of the parts of the data that they belong to, such as "train" and "test": near copies in two of them are
        told.
    image_shape : tuple of int, default=None
        Shape of the images when `X` holds flattened ones.
    value_range : tuple of two float, default=None
        Values of black and white in float images, when they are not in [0, 1].
    batch_size : int, default=32
        Images per step of the network.
    n_jobs : int, default=None
        Reading threads, with joblib's meaning.
    verbose : int, default=0
        A progress bar when positive.

    Returns
    -------
    ImageInspection
        Print it, or take its `bad_images`, `near_duplicates`, `class_counts`, `sizes` and `kinds`. It is true where
        there is something to mend.

    Raises
    ------
    ValueError
        If `X` holds no images, or lengths differ.

    See Also
    --------
    near_duplicate_groups : The near copies as groups for the folds.
    sktl.compare_transfer : Does this pass before the first fit; ``on_bad_image="skip"`` leaves bad images out.

    Examples
    --------
    >>> from sktl.datasets import make_fractals
    >>> from sktl.near_duplicates import inspect_images
    >>> images, y = make_fractals(6, n_classes=2, image_size=48, random_state=0)
    >>> print(inspect_images([*images, images[0][:, ::-1], b""], [*y, 0, 0]))
    8 images in 2 classes
    Images per class: 0 4, 1 3
    Kinds: colour 7
    Sizes: from 48 × 48 to 48 × 48 pixels, width to height from 1.00 to 1.00
    Cannot be read: 1 image
      image 7: the image must have content. Got 0 bytes instead.
    Near duplicates: 2 images in 1 group
      image 0, image 6  (in 0 and 1)
    """
    labels, parts = (None if values is None else column_or_1d(values).tolist() for values in (y, parts))
    check_consistent_length(X, labels, parts)
    X = read_once(X)
    reading = {"image_shape": image_shape, "value_range": value_range, "batch_size": batch_size, "n_jobs": n_jobs}
    groups, bad = groups_and_bad_images(X, frozen_extractor(on_error="nan", device="cpu", verbose=verbose, **reading))
    images = check_images(BaseEstimator(), X, reset=True, image_shape=image_shape)
    sizes, kinds = _looked_at(images, bad)
    readable: set[Any] = set() if labels is None else {label for i, label in enumerate(labels) if i not in bad}
    return ImageInspection(
        bad_images=[ImageReadError(error.reason, i, error.path) for i, error in bad.items()],
        near_duplicates=[np.flatnonzero(groups == n).tolist() for n in np.flatnonzero(np.bincount(groups) > 1)],
        names=[images.name(i) for i in range(len(images))],
        sizes=sizes,
        kinds=kinds,
        labels=labels,
        parts=parts,
        empty_classes=() if labels is None else tuple(sorted({*labels} - readable, key=str)),
    )


def _looked_at(images, bad):
    """Return the width and height of every image, and how many there are of each kind."""
    sizes, kinds = np.zeros((len(images), 2), dtype=int), Counter()
    for i in range(len(images)):
        if i not in bad:
            opened = images.open(i)
            sizes[i], kind = opened.size()[::-1], opened.kind()
            kinds[kind] += 1
    return sizes, dict(kinds.most_common())
