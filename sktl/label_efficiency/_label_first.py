"""label_first: which images to label first, where none has a label yet."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.utils import check_array

from sktl._validation import Interval, validate_params

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["label_first"]


@validate_params(
    {
        "Z": ["array-like"],
        "n": [Interval(Integral, 1, None, closed="left")],
        "labelled": ["array-like", None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def label_first(Z: Any, n: int, *, labelled: Any = None, n_neighbors: int = 20) -> NDArray[Any]:
    """Choose the images to label first: each unlike those before it, and with many images like it.

    Farthest-first traversal [1]_ weighted by density: the next image is the one with the greatest ratio of its distance
    to the nearest image chosen so far to the mean distance to its own nearest neighbours. The first is the image with
    the nearest neighbours. Without the weight, what is chosen are the oddest images, which a model with few labels
    learns least from.

    Parameters
    ----------
    Z : array-like of shape (n_images, n_features)
        Embeddings. They are centred and brought to length one.
    n : int
        How many images to choose.
    labelled : array-like of int, default=None
        Positions of images that have labels already: what is chosen is unlike these as well.
    n_neighbors : int, default=20
        Neighbours that say how many images are like one; fewer where there are not as many.

    Returns
    -------
    ndarray of shape (n,), int
        Positions in `Z`, the most useful first: the choice of fewer images is the beginning of that of more.

    Raises
    ------
    ValueError
        If `Z` holds fewer than two embeddings or numbers that are not finite, `labelled` holds what is no position, or
        fewer than `n` images are left without a label.

    See Also
    --------
    label_efficiency : How many labels transfer saves.
    PretrainedFeatureExtractor : Makes the embeddings.

    Notes
    -----
    The result is deterministic, and does not depend on the order of the images but where distances are equal. Copies of
    one image are chosen last. Time grows with the square of n_images for the neighbours, and with ``n * n_images``.

    What is chosen is no random sample: classes do not have their shares in it, and a score on it is not what images of
    this kind would get. Draw the images to test on by chance, before choosing.

    References
    ----------
    .. [1] T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38,
           293-306, 1985, :doi:`10.1016/0304-3975(85)90224-5`.
    .. [2] G. Hacohen, A. Dekel and D. Weinshall, "Active learning on a budget: opposite strategies suit high and low
           budgets", ICML 2022, :arxiv:`2202.02794`.

    Examples
    --------
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.datasets import make_fractals
    >>> from sktl.label_efficiency import label_first
    >>> X, y = make_fractals(60, n_classes=3, random_state=0)
    >>> chosen = label_first(PretrainedFeatureExtractor().fit_transform(X), 3)
    >>> sorted(y[chosen].tolist())
    [0, 1, 2]
    """
    Z = check_array(Z, dtype=np.float64, ensure_min_samples=2, input_name="Z")
    labelled = _positions(labelled, len(Z))
    if n > len(Z) - len(labelled):
        raise ValueError(
            f"n must be at most {len(Z) - len(labelled)}, the number of images without a label. Got {n} instead."
        )
    Z = normalize(Z - Z.mean(axis=0))
    neighbours = NearestNeighbors(n_neighbors=min(n_neighbors, len(Z) - 1)).fit(Z)
    spread = neighbours.kneighbors()[0].mean(axis=1)
    weight = 1 / np.maximum(spread, 1e-6)  # copies lie in one place
    nearest = np.full(len(Z), 2.0)  # as far apart as two vectors of length one can be
    for i in labelled:
        _bring_near(nearest, Z, i)
    chosen = []
    for _ in range(n):
        chosen.append(int(np.argmax(nearest * weight)))
        _bring_near(nearest, Z, chosen[-1])
    return np.array(chosen)


def _positions(labelled, n_images):
    """Return distinct positions of images that have labels."""
    positions = np.unique(np.asarray([] if labelled is None else labelled))
    if len(positions) and (positions.dtype.kind not in "iu" or positions[0] < 0 or positions[-1] >= n_images):
        raise ValueError(
            f"labelled must hold positions of images, ints from 0 to {n_images - 1}. Got values from {positions[0]} to "
            f"{positions[-1]} of type {positions.dtype} instead. Of a mask, pass np.flatnonzero(mask)."
        )
    return positions.astype(np.intp)


def _bring_near(nearest, Z, i):
    """Write to `nearest` how far each image is from image i, where that is less; image i is not chosen again."""
    np.minimum(nearest, np.sqrt(np.maximum(2 - 2 * Z @ Z[i], 0)), out=nearest)
    nearest[i] = -1
