"""Groups of near duplicates: proposed by embeddings, confirmed by the similarity of the pictures, joined."""

from numbers import Integral, Real
from os import PathLike

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import check_consistent_length, column_or_1d

from sktl._validation import Interval, StrOptions, validate_params
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.images import check_images, read_once
from sktl.inference import unwarned_of_photographs
from sktl.near_duplicates._similarity import rough_similarity, similarity, thumbnail

__all__ = ["near_duplicate_groups"]

N_NEIGHBOURS = 8  # of every image are looked at; a copy was among them in all but a few of the cases tried
PROMISING = 0.25  # rough similarity from which a pair is looked at closely
SIMILAR = 0.93  # similarity that near duplicates have at least
APART = 1.6  # how far above the median of neighbours that are no copies, on Fisher's scale
CHUNK = 64  # pairs compared at once
MEMORY = 2**26  # bytes of cosines held at once


@validate_params(
    {
        "threshold": [Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
        "cache": ["boolean", str, PathLike],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def near_duplicate_groups(
    X,
    *,
    groups=None,
    backbone="tiny_fractal",
    weights="default",
    image_size=None,
    image_shape=None,
    value_range=None,
    batch_size=32,
    device="auto",
    precision="auto",
    cache=True,
    threshold="auto",
    verbose=0,
):
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
    cache : bool, str or path, default=True
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
    shared = {"image_size": image_size, "image_shape": image_shape, "value_range": value_range}
    shared |= {"backbone": backbone, "batch_size": batch_size, "device": device, "precision": precision}
    extractor = frozen_extractor(weights=weights, cache=cache, verbose=verbose, **shared)
    X = read_once(X)
    with unwarned_of_photographs():  # embeddings only propose the pairs, and thumbnails decide
        embeddings = extractor.fit_transform(X)
    images = check_images(BaseEstimator(), X, reset=True, image_shape=image_shape)
    images = images.with_value_range(extractor.value_range_, learned=value_range is None)
    first, inverse = _different_rows(embeddings)
    pairs = first[_neighbours(embeddings[first])]
    pairs = pairs[_are_copies(images, pairs, threshold)]
    same = np.stack([first[inverse], np.arange(len(embeddings))], axis=1)
    joined = np.concatenate([pairs, same, _pairs_within(groups, X)])
    found = _numbered(joined, len(embeddings))
    if verbose:
        print(f"near copies: {len(found) - found.max() - 1} of {len(found)} images join the group of an earlier one")
    return found


def _different_rows(embeddings):
    """Find the first of each different row, and for each row which of those it equals.

    A thousand equal images would fill up each other's neighbours.
    """
    seen = {}
    inverse = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in embeddings])
    return np.unique(inverse, return_index=True)[1], inverse


def _neighbours(embeddings):
    """Pairs (i, j), i < j, of which one is among the nearest of the other, by cosine of standardised vectors."""
    n_images, n_kept = len(embeddings), min(N_NEIGHBOURS, len(embeddings) - 1)
    if n_kept == 0:
        return np.empty((0, 2), dtype=np.intp)
    vectors = normalize(StandardScaler().fit_transform(embeddings), copy=False)
    pairs = []
    rows = max(1, MEMORY // (12 * n_images))  # 4 bytes of the cosine, 8 of the sorted index
    for start in range(0, n_images, rows):
        cosines = vectors[start : start + rows] @ vectors.T
        here = np.arange(start, start + len(cosines))
        cosines[here - start, here] = -np.inf
        nearest = np.argpartition(cosines, -n_kept, axis=1)[:, -n_kept:]
        pairs.append(np.stack([here.repeat(n_kept), nearest.ravel()], axis=1))
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _are_copies(images, pairs, threshold):
    """Whether the pictures of each pair are copies of each other."""
    needed, places = np.unique(pairs, return_inverse=True)
    if len(needed) == 0:
        return np.zeros(0, dtype=bool)
    thumbnails = np.stack([thumbnail(images[i]) for i in needed])
    found = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), CHUNK):
        one, other = thumbnails[places.reshape(-1, 2)[start : start + CHUNK].T]
        found[start : start + CHUNK] = np.maximum(_close_look(one, other), _close_look(one, other[:, :, ::-1]))
    if threshold == "auto":
        threshold = _threshold(found)
    return found >= threshold


def _close_look(one, other):
    found = rough_similarity(one, other)
    near = found >= PROMISING
    if near.any():
        found[near] = similarity(one[near], other[near])
    return found


def _threshold(found):
    """Return the similarity from which neighbours are copies; pairs that may be copies do not enter the median."""
    others = found[found < SIMILAR]
    usual = float(np.median(others)) if len(others) else 0.0
    return max(SIMILAR, float(np.tanh(np.arctanh(usual) + APART)))


def _pairs_within(groups, X):
    if groups is None:
        return np.empty((0, 2), dtype=np.intp)
    groups = column_or_1d(groups)
    check_consistent_length(X, groups)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.stack([first[inverse], np.arange(len(groups))], axis=1)


def _numbered(pairs, n_images):
    """Count the connected components in the order of their first image."""
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n_images, n_images))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
