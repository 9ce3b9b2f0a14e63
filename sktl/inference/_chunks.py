"""One chunk of images on a worker: what travels to it, what it computes and keeps, and what it reports.

The network does not travel. A pickled extractor says how to find it again, and a process keeps one copy of each.
"""

from __future__ import annotations

import pickle
import time
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._executors import call
from sktl._optional import import_optional
from sktl.exceptions import ImageReadError
from sktl.inference._cache_look_up import StoreInfo, noted_look_up
from sktl.inference.progress import told_to
from sktl.store import open_store, write_segment

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

__all__ = [
    "DIGEST_SIZE",
    "EMBED_CHUNK",
    "EmbeddedChunk",
    "embed_chunk",
    "embed_lazily",
    "partitions_of",
    "pickled_extractor",
    "segments_at",
]

_MOST_BYTES = 1 << 16  # of an extractor: without weights it has about one kilobyte
DIGEST_SIZE = 16
_UNKNOWN = bytes(DIGEST_SIZE)  # in place of a digest
EMBED_CHUNK, _EMBED_PARTITION = f"{__name__}.embed_chunk", f"{__name__}._embed_partition"  # for tasks


@dataclass(frozen=True)
class EmbeddedChunk:
    """What a worker reports of one chunk.

    Parameters
    ----------
    n_images, n_features : int
        Its shape.
    vectors : ndarray of shape (n_images, n_features), float32, or None
        Rows of NaN where an image could not be read; None where the vectors are kept in segments.
    failures : list of ImageReadError
        The images that could not be read, by their position in the chunk.
    n_found, n_computed : int
        Images whose vectors were found, and images sent through the network.
    key : CacheKey or None, default=None
        Under which the vectors are kept; None where they are returned.
    digests : bytes, default=b""
        By which the vectors are kept, 16 bytes for each image; empty where they are returned.

    Examples
    --------
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.datasets import make_fractals
    >>> from sktl.inference import embed_chunk
    >>> X, _ = make_fractals(6, random_state=0)
    >>> chunk = embed_chunk(PretrainedFeatureExtractor(cache=False).fit(X), X)
    >>> chunk.n_images, chunk.n_features, chunk.n_found, chunk.n_computed, chunk.failures
    (6, 192, 0, 6, [])
    """

    n_images: int
    n_features: int
    vectors: NDArray[np.float32] | None
    failures: list[ImageReadError]
    n_found: int
    n_computed: int
    key: Any = None
    digests: bytes = b""


def pickled_extractor(extractor: Any) -> bytes:
    """Return a fitted extractor as bytes for workers, without weights: how to find them again is in there.

    Parameters
    ----------
    extractor : PretrainedFeatureExtractor
        A fitted one.

    Returns
    -------
    bytes
        About one kilobyte.

    Raises
    ------
    ValueError
        If it would carry weights, or cannot be pickled.

    Examples
    --------
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.datasets import make_fractals
    >>> from sktl.inference import pickled_extractor
    >>> X, _ = make_fractals(6, random_state=0)
    >>> len(pickled_extractor(PretrainedFeatureExtractor().fit(X))) < 2000
    True
    """
    extractor = copy(extractor)
    extractor.bad_images_, extractor.store_info_ = [], StoreInfo()
    try:
        content = pickle.dumps(extractor, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        got = f"one that cannot be pickled ({error})"
    else:
        if len(content) <= _MOST_BYTES:
            return content
        got = f"one whose pickle has {len(content):,} bytes, with the weights in it"
    raise ValueError(
        f"extractor must be small when it goes to workers, which load the network themselves. Got {got} instead. Name "
        "the network, or pass a function of a module that makes it, as backbone=; save weights of your own to a file "
        "that all workers can read, and pass its path as weights=."
    )


def embed_chunk(extractor: Any, items: Any, out: str | os.PathLike[str] | None = None) -> EmbeddedChunk:
    """Embed the images of one chunk, in this process.

    Parameters
    ----------
    extractor : bytes or PretrainedFeatureExtractor
        A fitted one, or what `pickled_extractor` made of it.
    items : sequence of images
        Paths, URLs, or whatever else the extractor takes.
    out : str or None, default=None
        Folder or URL where vectors are looked up and, in one segment, kept. None returns them.

    Returns
    -------
    EmbeddedChunk
        Vectors or digests, failures and counts.

    Examples
    --------
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.datasets import make_fractals
    >>> from sktl.inference import embed_chunk, pickled_extractor
    >>> X, _ = make_fractals(6, random_state=0)
    >>> content = pickled_extractor(PretrainedFeatureExtractor(cache=False).fit(X))  # goes to a worker, once
    >>> embed_chunk(content, X).vectors.shape
    (6, 192)
    """
    extractor = pickle.loads(extractor) if isinstance(extractor, bytes) else copy(extractor)
    items = items if hasattr(items, "__len__") else list(items)
    if len(items) == 0:
        return EmbeddedChunk(0, extractor.embedding_dim_, None if out else _no_rows(extractor), [], 0, 0)
    extractor.store_info_ = StoreInfo()
    extractor.set_params(on_error="nan", verbose=0)
    if out is not None:
        own = extractor.cache if isinstance(extractor.cache, list | tuple) else [extractor.cache]
        extractor.set_params(cache=[*own, out])
    began = time.perf_counter()
    with told_to(None), noted_look_up() as looked_up:
        vectors = extractor.transform(items)
    seconds = time.perf_counter() - began
    info, (n_images, n_features) = extractor.store_info_, vectors.shape
    report = {"failures": extractor.bad_images_, "n_found": info.n_hits, "n_computed": info.n_misses}
    if out is None:
        return EmbeddedChunk(n_images, n_features, vectors, **report)
    digests = [looked_up.digests.get(position, _UNKNOWN) for position in range(n_images)]
    rows = {digest: vector for digest, vector in zip(digests, vectors, strict=True) if not np.isnan(vector[0])}
    known = segments_at(out).read(looked_up.key, rows)  # others are new, or in the worker's own store only
    new = {digest: vector for digest, vector in rows.items() if digest not in known}
    if new:
        write_segment(out, looked_up.key, new, seconds=seconds * len(new) / info.n_misses if info.n_misses else 0.0)
    return EmbeddedChunk(n_images, n_features, None, **report, key=looked_up.key, digests=b"".join(digests))


def segments_at(out):
    """Return a folder of segments; a process keeps what it knows of it, and looks for new ones."""
    return open_store([False, out]).segments[0]


def embed_lazily(X, extractor):
    """Return the vectors of a collection of dask as a lazy array of dask; the network is not part of its graph."""
    array = import_optional("dask.array", extra="dask", caller="A collection of dask as X")
    embed = import_optional("dask", extra="dask", caller="A collection of dask as X").delayed(call, pure=True)
    content, width, meta = pickled_extractor(extractor), extractor.embedding_dim_, np.empty((0, 0), dtype=np.float32)
    parts = partitions_of(X)
    lengths = X.chunks[0] if hasattr(X, "chunks") else [np.nan] * len(parts)
    blocks = [
        array.from_delayed(embed(_EMBED_PARTITION, content, part, number), shape=(length, width), meta=meta)
        for number, (part, length) in enumerate(zip(parts, lengths, strict=True))
    ]
    return array.concatenate(blocks, allow_unknown_chunksizes=True)


def partitions_of(X):
    """Return the partitions of a collection of dask as objects of dask.delayed; of an array, whole images."""
    if hasattr(X, "chunks"):
        X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    parts = X.to_delayed()
    return parts.ravel().tolist() if isinstance(parts, np.ndarray) else list(parts)


def _embed_partition(content, items, number):
    """Embed one partition; an error says which, since how many images come before it is not known."""
    extractor = pickle.loads(content)
    items = items if hasattr(items, "__len__") else list(items)
    if len(items) == 0:
        return _no_rows(extractor)
    extractor.store_info_ = StoreInfo()
    try:
        return extractor.transform(items)
    except ImageReadError as error:
        raise ImageReadError(f"in partition {number}, {error.reason}", error.index, error.path) from error


def _no_rows(extractor):
    return np.empty((0, extractor.embedding_dim_), dtype=np.float32)
