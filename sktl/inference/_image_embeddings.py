"""The result of embed_images where vectors are kept in segments: what is needed to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sktl._optional import import_optional
from sktl.inference._chunks import DIGEST_SIZE, segments_at
from sktl.store import SegmentFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from sktl.exceptions import ImageReadError
    from sktl.inference._chunks import EmbeddedChunk

__all__ = ["ImageEmbeddings"]


class ImageEmbeddings:
    """The vectors of many images, in segments: read when they are asked for.

    Made by `embed_images`. ``numpy.asarray(embeddings)`` is an array, as is `to_numpy`.

    Parameters
    ----------
    out : str
        Folder or URL of the segments.
    chunks : sequence of EmbeddedChunk
        By what the vectors are found, in the order of the images.
    bad_images : list of ImageReadError
        The images that could not be read: their rows are NaN.

    Attributes
    ----------
    out, bad_images
        As passed.
    n_found, n_computed : int
        Images whose vectors were found by the call, and images that it sent through the network.
    seconds_per_image : float
        What an image took a worker, on average over those whose vectors the segments hold.
    shape : tuple of int
        Numbers of images and of features.
    dtype : dtype
        float32.

    Examples
    --------
    >>> import tempfile
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.datasets import make_fractals
    >>> from sktl.inference import embed_images
    >>> X, _ = make_fractals(20, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     embeddings = embed_images(X, PretrainedFeatureExtractor(), out=folder, progress=False)
    ...     vectors = embeddings.to_numpy()
    >>> vectors.shape, len(embeddings), embeddings.n_computed
    ((20, 192), 20, 20)
    """

    dtype = np.dtype(np.float32)

    def __init__(self, out: str, chunks: Sequence[EmbeddedChunk], bad_images: list[ImageReadError]) -> None:
        self.out = out
        self.bad_images = bad_images
        self._chunks = tuple(chunks)

    def __repr__(self) -> str:
        n_images, n_features = self.shape
        return f"ImageEmbeddings({n_images:,} images, {n_features} features, in {self.out!r})"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of images and of features."""
        return sum(chunk.n_images for chunk in self._chunks), self._chunks[0].n_features

    @property
    def n_found(self) -> int:
        """Number of images whose vectors were found."""
        return sum(chunk.n_found for chunk in self._chunks)

    @property
    def n_computed(self) -> int:
        """Number of images that went through the network."""
        return sum(chunk.n_computed for chunk in self._chunks)

    @property
    def seconds_per_image(self) -> float:
        """Seconds that an image took a worker, on average over those whose vectors the segments hold."""
        keys = [chunk.key for chunk in self._chunks if chunk.key is not None]
        return segments_at(self.out).seconds_per_image(keys[0]) if keys else 0.0

    def to_numpy(self) -> NDArray[np.float32]:
        """Read all vectors.

        Returns
        -------
        vectors : ndarray of shape (n_images, n_features), float32
            Rows of NaN where an image could not be read.

        Raises
        ------
        FileNotFoundError
            If segments are gone, or are not to be seen from this process.
        """
        vectors, start = np.empty(self.shape, dtype=np.float32), 0
        segments = SegmentFolder(self.out)  # which is listed now, when all are written
        for chunk in self._chunks:
            vectors[start : start + chunk.n_images] = read_chunk(segments, chunk)
            start += chunk.n_images
        return vectors

    def to_dask(self) -> Any:
        """Return the vectors as an array of dask, which reads them chunk by chunk.

        Returns
        -------
        vectors : dask.array.Array of shape (n_images, n_features), float32
            Nothing is read yet.
        """
        array = import_optional("dask.array", extra="dask", caller="ImageEmbeddings.to_dask")
        read = import_optional("dask", extra="dask", caller="ImageEmbeddings.to_dask").delayed(
            _read_anywhere, pure=True
        )
        return array.concatenate(
            [
                array.from_delayed(read(self.out, chunk), (chunk.n_images, chunk.n_features), dtype=np.float32)
                for chunk in self._chunks
            ]
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("copy must be None or True: the vectors are read from their files. Got False instead.")
        vectors = self.to_numpy()
        return vectors if dtype is None else vectors.astype(dtype)


def read_chunk(segments, chunk):
    """Read the vectors of one chunk from a folder of segments; rows of NaN where an image could not be read."""
    vectors = np.full((chunk.n_images, chunk.n_features), np.nan, dtype=np.float32)
    digests = [chunk.digests[start : start + DIGEST_SIZE] for start in range(0, len(chunk.digests), DIGEST_SIZE)]
    found = segments.read(chunk.key, set(digests)) if digests else {}
    failed, missing = {failure.index for failure in chunk.failures}, 0
    for i, digest in enumerate(digests):
        if digest in found:
            vectors[i] = found[digest]
        else:
            missing += i not in failed
    if missing:
        raise FileNotFoundError(
            f"out must be a place that the workers and this process share, and keep its segments. Got "
            f"{segments.folder!r}, in which {missing} of {chunk.n_images} vectors of a chunk are not found, instead. "
            "Call embed_images again with a shared folder or URL."
        )
    return vectors


def _read_anywhere(out, chunk):
    """Read the vectors of one chunk in whatever process computes a task of dask."""
    try:
        return read_chunk(segments_at(out), chunk)
    except FileNotFoundError:  # what this process knows of a remote folder may be older than the chunk
        return read_chunk(SegmentFolder(out), chunk)
