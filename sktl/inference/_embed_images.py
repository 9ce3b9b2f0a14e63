"""embed_images: the vectors of many images, computed by whatever workers there are."""

from __future__ import annotations

import warnings
from concurrent.futures import BrokenExecutor
from functools import partial
from itertools import accumulate
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sktl._clusters import off_cluster
from sktl._executors import ThisProcess, as_completed, lost_worker_errors, why_lost
from sktl.images import read_once
from sktl.inference._chunk_sources import source_of
from sktl.inference._chunks import pickled_extractor
from sktl.inference._image_embeddings import ImageEmbeddings
from sktl.inference.progress import counted
from sktl.store import SegmentFolder, open_store

if TYPE_CHECKING:
    import os
    from concurrent.futures import Executor

    from numpy.typing import NDArray


__all__ = ["embed_images"]


@overload
def embed_images(
    X: Any,
    extractor: Any,
    *,
    executor: Executor | None = None,
    out: None = None,
    chunk_size: int = 512,
    max_in_flight: int | None = None,
    resume: bool = True,
    on_error: Literal["raise", "nan"] | None = None,
    progress: bool = True,
) -> NDArray[np.float32]: ...
@overload
def embed_images(
    X: Any,
    extractor: Any,
    *,
    executor: Executor | None = None,
    out: str | os.PathLike[str],
    chunk_size: int = 512,
    max_in_flight: int | None = None,
    resume: bool = True,
    on_error: Literal["raise", "nan"] | None = None,
    progress: bool = True,
) -> ImageEmbeddings: ...
def embed_images(
    X: Any,
    extractor: Any,
    *,
    executor: Executor | None = None,
    out: str | os.PathLike[str] | None = None,
    chunk_size: int = 512,
    max_in_flight: int | None = None,
    resume: bool = True,
    on_error: Literal["raise", "nan"] | None = None,
    progress: bool = True,
) -> NDArray[np.float32] | ImageEmbeddings:
    """Embed many images in chunks: in this process, in several, or on the machines of a cluster.

    The vectors are those of ``extractor.transform(X)``, to the last bit on processors of one kind, whoever computes
    them. What goes to a worker is the extractor without its weights, about one kilobyte, and the paths of the images;
    it loads the network once, and reads the images itself.

    Parameters
    ----------
    X : sequence of images, array-like of shape (n_images, n_features), or collection of dask
        As the extractor takes it. Paths and URLs are read by the workers, so all of them must find the files there;
        arrays, bytes and PIL images travel, and so does what is made on access. A bag, series, frame or array of dask
        is computed by dask, partition by partition: on the cluster of `executor`, else on that of the current
        ``distributed.Client``, else in this process.
    extractor : PretrainedFeatureExtractor
        Says how; one that is not fitted is cloned, and fitted on `X`. Workers look up and keep vectors where its
        parameter `cache` says, each in its own store. Its parameter `verbose` is not used.
    executor : concurrent.futures.Executor or None, default=None
        What computes: a ProcessPoolExecutor, ``distributed.Client.get_executor()``, one of loky or of mpi4py.
        None computes here, in the same chunks. It is neither started nor shut down.
    out : str, Path or None, default=None
        A folder, or a URL of fsspec, that this process and all workers share: what is there is looked up, and what is
        not is kept there in segments, one for each chunk. None returns the vectors themselves.
    chunk_size : int, default=512
        Images of one task. What a worker that dies was doing is lost, and is at most one such chunk.
    max_in_flight : int or None, default=None
        How many chunks are with the executor at a time; None is twice the number of its workers.
    resume : bool, default=True
        Whether `out` may hold vectors, which are not computed again: an interrupted call goes on when it is made again.
    on_error : {"raise", "nan"} or None, default=None
        What to do with an image that cannot be read: stop, while what is done by then is kept, or give a row of NaN
        and go on. None does as the extractor does.
    progress : bool, default=True
        A bar on standard error, with the numbers of images found and computed.

    Returns
    -------
    embeddings : ndarray of shape (n_images, n_features), float32, or ImageEmbeddings
        The vectors, in the order of `X`: an array without `out`, else a record that reads them from there, all
        at once or lazily. Of an array, `bad_images_` and `store_info_` of a fitted extractor say what happened.

    Raises
    ------
    ImageReadError
        If an image cannot be read, unless NaN is asked for.
    concurrent.futures.BrokenExecutor
        If a worker died in a pool that does not go on without it; dask gives a chunk to another worker, four times.
    ValueError
        If the extractor holds weights that are nowhere else, `out` holds segments and ``resume=False``, a parameter is
        out of range, or `X` holds no images.
    TypeError
        If the extractor is none, or dask's own collections are to be computed by another executor.

    See Also
    --------
    PretrainedFeatureExtractor : Its `transform` gives the same vectors, and takes dask's collections lazily.

    Notes
    -----
    A worker process computes with as many threads as torch takes there: give each its share of the cores, for instance
    by ``OMP_NUM_THREADS`` before it starts, or ``initializer=torch.set_num_threads, initargs=(1,)`` of a
    ProcessPoolExecutor. dask's and loky's workers have theirs already.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.datasets import make_fractals
    >>> from sktl.inference import embed_images
    >>> X, _ = make_fractals(40, random_state=0)
    >>> with ThreadPoolExecutor(2) as executor:
    ...     vectors = embed_images(
    ...         X, PretrainedFeatureExtractor(), executor=executor, chunk_size=16, progress=False
    ...     )
    >>> vectors.shape
    (40, 192)
    """
    _check_parameters(extractor, executor, chunk_size, max_in_flight, on_error)
    given, (extractor, X) = extractor, _fitted(extractor, X)
    out = None if out is None else _prepared(out, resume)
    source = source_of(X, extractor, executor, chunk_size)
    content = extractor if isinstance(source.executor, ThisProcess) else pickled_extractor(extractor)
    chunks: list[Any] = [None] * source.n_chunks
    found = {"found": 0, "computed": 0}
    with counted(source.total, unit=source.unit, verbose=progress) as advance:
        for number, chunk in _as_completed(source, content, out, max_in_flight, extractor.cache):
            chunks[number] = chunk
            if chunk.failures and (on_error or extractor.on_error) == "raise":
                raise source.errors(number, chunk.failures)[0]
            found = {"found": found["found"] + chunk.n_found, "computed": found["computed"] + chunk.n_computed}
            advance(chunk.n_images if source.unit == "image" else 1, **found)
    starts = accumulate((chunk.n_images for chunk in chunks), initial=0)
    errors = [
        error
        for number, (chunk, start) in enumerate(zip(chunks, starts, strict=False))
        for error in source.errors(number, chunk.failures, start)
    ]
    if out is not None:
        _warn_of_kinds({chunk.key.digest for chunk in chunks if chunk.key is not None})
        return ImageEmbeddings(out, chunks, errors)
    if given is extractor:
        extractor.bad_images_ = errors
        extractor.store_info_.n_hits += found["found"]
        extractor.store_info_.n_misses += found["computed"]
    return _joined(chunks)


def _check_parameters(extractor, executor, chunk_size, max_in_flight, on_error):
    needed = {"cache", "on_error", "verbose"}
    if not (
        hasattr(extractor, "transform") and hasattr(extractor, "get_params") and needed <= {*extractor.get_params()}
    ):
        raise TypeError(
            f"extractor must be a PretrainedFeatureExtractor. Got a {type(extractor).__name__} instead; of a Pipeline "
            "pass its first step, and the vectors to the others."
        )
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(
            f"executor must be an Executor as of concurrent.futures, or None. Got a {type(executor).__name__} instead."
        )
    for name, value in (("chunk_size", chunk_size), ("max_in_flight", max_in_flight)):
        if not (isinstance(value, Integral) and value >= 1) and not (name == "max_in_flight" and value is None):
            raise ValueError(f"{name} must be a whole number from 1. Got {value!r} instead.")
    if on_error not in (None, "raise", "nan"):
        raise ValueError(f"on_error must be 'raise', 'nan' or None. Got {on_error!r} instead.")


def _fitted(extractor, X):
    """Return a fitted extractor, and an X whose images are made once."""
    try:
        check_is_fitted(extractor)
    except NotFittedError:
        X = read_once(X)
        with off_cluster():  # nothing of this is a search
            return clone(extractor).fit(X), X
    return extractor, X


def _prepared(out, resume):
    """Return the place of segments in full, made where it is a folder of this machine that is not there yet."""
    segments = SegmentFolder(out)
    segments.place.make()
    if not resume and segments.place.folders():
        raise ValueError(
            f"out must hold no segments when resume=False. Got {segments.folder!r}, which does, instead. Pass "
            "resume=True to go on there, or take another folder."
        )
    return segments.folder


def _as_completed(source, content, out, max_in_flight, cache):
    """Yield number and report of each chunk when it is done; where workers are lost, say what of it is kept."""
    submit = partial(source.submit, content, out)
    try:
        yield from as_completed(source.executor, submit, range(source.n_chunks), max_in_flight)
    except lost_worker_errors() as error:
        advice = "Nothing is kept: pass out=, and call embed_images again with a new executor."
        if out is not None or getattr(open_store(cache), "folder", None) is not None:
            where = "in the stores of the workers" if out is None else f"in {out!r}"
            advice = f"What was done by then is kept {where}: call embed_images again with a new executor."
        raise BrokenExecutor(
            f"executor must keep its workers. Got {type(error).__name__} instead: {why_lost(error)}. {advice}"
        ) from error


def _warn_of_kinds(keys):
    if len(keys) > 1:
        warnings.warn(
            f"workers should have one kind of processor and the same versions. Got {len(keys)} kinds instead: vectors "
            "of different kinds may differ in their last digits, and each kind finds its own alone.",
            stacklevel=3,
        )


def _joined(chunks):
    """Return the vectors of all chunks as one array, giving back the memory of each on the way."""
    vectors, start = np.empty((sum(chunk.n_images for chunk in chunks), chunks[0].n_features), dtype=np.float32), 0
    for i, chunk in enumerate(chunks):
        vectors[start : start + chunk.n_images] = chunk.vectors
        start, chunks[i] = start + chunk.n_images, None
    return vectors
