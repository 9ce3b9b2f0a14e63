"""The search for near duplicates: proposed by embeddings, confirmed by the similarity of the pictures, joined."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import check_consistent_length, column_or_1d

from sktl.images import check_images
from sktl.inference import unwarned_of_photographs
from sktl.inference.progress import counted
from sktl.near_duplicates._similarity import SIDE, rough_similarity, similarity, thumbnail

__all__ = ["groups_and_bad_images", "joined"]

N_NEIGHBOURS = 8  # of every image are looked at; a copy was among them in all but a few of the cases tried
PROMISING = 0.25  # rough similarity from which a pair is looked at closely
SIMILAR = 0.93  # similarity that near duplicates have at least
APART = 1.6  # how far above the median of neighbours that are no copies, on Fisher's scale
CHUNK = 64  # pairs compared at once
MEMORY = 2**26  # bytes of cosines held at once


def groups_and_bad_images(X, extractor, *, threshold="auto"):
    """Return the groups of near duplicates, and by position the errors of images that the extractor cannot read.

    An image that cannot be read is no copy of any other.
    """
    with unwarned_of_photographs():  # embeddings only propose the pairs, and thumbnails decide
        embeddings = extractor.fit_transform(X)
    images = check_images(BaseEstimator(), X, reset=True, image_shape=extractor.image_shape)
    images = images.with_value_range(extractor.value_range_, learned=extractor.value_range is None)
    is_bad = np.isnan(embeddings).all(axis=1)
    good = np.flatnonzero(~is_bad)
    pairs = good[_copies_among(images.subset(good), embeddings[good], threshold)]
    found = _numbered(pairs, len(images))
    return found, dict(zip(np.flatnonzero(is_bad).tolist(), extractor.bad_images_, strict=True))


def joined(found, groups):
    """Return groups in which all are together that are in either of two groupings, or by way of others."""
    check_consistent_length(found, groups)
    pairs = []
    for numbers in found, column_or_1d(groups):
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        pairs.append(np.stack([first[inverse], np.arange(len(numbers))], axis=1))
    return _numbered(np.concatenate(pairs), len(found))


def _copies_among(images, embeddings, threshold):
    """Find pairs (i, j) of copies, which join all copies of one picture."""
    first, inverse = _different_rows(embeddings)
    pairs = first[_neighbours(embeddings[first])]
    pairs = pairs[_are_copies(images, pairs, threshold)]
    same = np.stack([first[inverse], np.arange(len(embeddings))], axis=1)
    return np.concatenate([pairs, same])


def _different_rows(embeddings):
    """Find the first of each different row, and for each row which of those it equals.

    A thousand equal images would fill up each other's neighbours.
    """
    seen = {}
    inverse = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in embeddings], dtype=np.intp)
    return np.unique(inverse, return_index=True)[1], inverse


def _neighbours(embeddings):
    """Pairs (i, j), i < j, of which one is among the nearest of the other, by cosine of standardised vectors."""
    n_images, n_kept = len(embeddings), min(N_NEIGHBOURS, len(embeddings) - 1)
    if n_kept <= 0:
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
    thumbnails = np.empty((len(needed), SIDE, SIDE), dtype=np.uint8)
    with counted(len(needed)) as advance:
        for place, i in enumerate(needed):
            thumbnails[place] = thumbnail(images[i])
            advance(1)
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


def _numbered(pairs, n_images):
    """Count the connected components in the order of their first image."""
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n_images, n_images))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
