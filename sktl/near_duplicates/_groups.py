"""Groups of near duplicates, as numbers for the folds."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from sklearn.utils import check_consistent_length

from sktl._validation import Interval, StrOptions, validate_params
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.images import read_once
from sktl.near_duplicates.search import groups_and_bad_images, joined

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray


__all__ = ["near_duplicate_groups"]


@validate_params(
    {
        "threshold": [Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
        "cache": ["boolean", str, PathLike, list, tuple],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def near_duplicate_groups(
    X: Any,
    *,
    groups: ArrayLike | None = None,
    backbone: Any = "tiny_fractal",
    weights: Any = "default",
    image_size: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    cache: bool | str | os.PathLike[str] | list[Any] | tuple[Any, ...] = True,
    threshold: Literal["auto"] | float = "auto",
    verbose: int = 0,
) -> NDArray[Any]:
    """Find near duplicates: give every image a number that it shares with its near duplicates alone.

    Near duplicates on both sides of a split make every score too good. The numbers go straight into
    ``compare_transfer(groups=...)`` and scikit-learn's splitters that keep groups together.

    A copy is the same picture saved again: other JPEG quality, other size, a few percent cropped, brighter or darker,
    mirrored. Another photo of the same thing is none, however alike: say which of those belong together in `groups`.

    Parameters
    ----------
    X : sequence of images of length n_images, or array-like of shape (n_images, n_features)
        Paths, PIL images, arrays, flattened rows: whatever :class:`~sktl.PretrainedFeatureExtractor` takes.
    groups : array-like of shape (n_images,), default=None
        Groups of your own, such as patients or scenes. They stay together, and two with copies of one picture become
        one.
    backbone : str, torch.nn.Module or Backbone, default="tiny_fractal"
        The network whose embeddings propose pairs. With the one that you compare with, every image goes through it
        once for both.
    weights : str, path or weights, default="default"
        Its weights.
    image_size : int, default=None
        Side in pixels that images are brought to for the network.
    image_shape : tuple of int, default=None
        Shape of the images when `X` holds flattened ones.
    value_range : tuple of two float, default=None
        Values of black and white in float images, when they are not in [0, 1].
    batch_size : int, default=32
        Images per step of the network.
    device : str, default="auto"
        Where to compute embeddings.
    precision : str, default="auto"
        Number format of the network.
    cache : bool, str, Path or list, default=True
        Where embeddings are kept, as for the extractor.
    threshold : "auto" or float, default="auto"
        Similarity from which two pictures count as copies: the correlation of their edges and textures, 1 for equal
        pictures. "auto" is 0.93, and more for images that are all alike: then copies have to stand out from the
        similarity that different neighbours have.
    verbose : int, default=0
        A progress bar of the network, and one line on the outcome, when positive.

    Returns
    -------
    ndarray of shape (n_images,), int
        Numbers from 0 in the order in which groups first appear. An image without copies has one of its own.

    Raises
    ------
    ImageReadError
        If an image cannot be read.
    ValueError
        If `X` holds no images, lengths differ, or a parameter is out of its range.

    See Also
    --------
    find_leaks : Which images of given splits have copies on the other side.

    Notes
    -----
    Embeddings (all stages, mean and standard deviation: those of the candidate "frozen") propose the 8 nearest
    neighbours of every image by cosine. Embeddings alone would raise many false alarms: to them, digits or X-rays are
    all alike. Each pair is confirmed on thumbnails of 48 x 48 grey pixels. The small difference in frame that a crop
    leaves is found by least squares [1]_, and what is compared is the structure between coarse layout and
    finest detail. Mirrored pictures are tried as well.

    Time grows with the square of n_images for the cosines, in pieces of at most 64 MB; near copies of near copies end
    in one group. Recall and false pairs on eleven sets are in the user guide.

    References
    ----------
    .. [1] B. D. Lucas and T. Kanade, "An iterative image registration technique with an application to stereo vision",
           IJCAI 1981, pages 674-679.

    Examples
    --------
    >>> import numpy as np
    >>> from sktl.near_duplicates import near_duplicate_groups
    >>> from sktl.datasets import make_fractals
    >>> images, _ = make_fractals(6, n_classes=2, random_state=0)
    >>> brighter = np.clip(1.1 * images[1:2], 0, 255).astype(np.uint8)
    >>> near_duplicate_groups(np.concatenate([images, brighter])).tolist()
    [0, 1, 2, 3, 4, 5, 1]
    """
    shared = {"backbone": backbone, "weights": weights, "image_size": image_size, "batch_size": batch_size}
    shared |= {"device": device, "precision": precision, "cache": cache, "verbose": verbose}
    extractor = frozen_extractor(image_shape=image_shape, value_range=value_range, **shared)
    if groups is not None:
        check_consistent_length(X, groups)
    found, _ = groups_and_bad_images(read_once(X), extractor, threshold=threshold)
    found = found if groups is None else joined(found, groups)
    if verbose:
        print(f"near copies: {len(found) - found.max() - 1} of {len(found)} images join the group of an earlier one")
    return found
