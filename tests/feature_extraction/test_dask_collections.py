"""Collections of dask as X: lazy vectors, equal to those of the plain transform, and no network in the graph."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sktl import PretrainedFeatureExtractor
from sktl.exceptions import ImageReadError
from sktl.inference import embed_images

dask = pytest.importorskip("dask")
array = pytest.importorskip("dask.array")
bag = pytest.importorskip("dask.bag")
frame = pytest.importorskip("dask.dataframe")

N = 15


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def paths(picture_files):
    return picture_files[:N]


def pixels(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def table(paths):
    return frame.from_pandas(pd.DataFrame({"path": paths, "label": range(N)}), npartitions=3)


KINDS = {  # what is passed, and what of it is known beforehand
    "bag of paths": (lambda paths: bag.from_sequence(paths, partition_size=4), np.nan),
    "bag of files": (lambda paths: bag.from_sequence(paths).map(lambda path: Path(path).read_bytes()), np.nan),
    "bag with empty partitions": (lambda paths: bag.from_sequence([None] * 5 + paths, 10).filter(bool), np.nan),
    "column": (lambda paths: table(paths)["path"], np.nan),
    "frame": (lambda paths: table(paths)[["path"]], np.nan),
    "array": (lambda paths: array.from_array(pixels(paths), chunks=(4, 10, 10, 1)), N),
    "grey array": (lambda paths: array.from_array(pixels(paths)[..., 0], chunks=(4, 10, 10)), N),
    "channels first": (lambda paths: array.from_array(pixels(paths).transpose(0, 3, 1, 2), chunks=4), N),
    "array of paths": (lambda paths: array.from_array(np.array(paths), chunks=4), N),
    "array of floats": (lambda paths: array.from_array(pixels(paths) / 255, chunks=(4, -1, -1, -1)), N),
    "rows": (lambda paths: array.from_array(pixels(paths)[:, :8, :8, 0].reshape(N, 64), chunks=(4, 5)), N),
}
RANGES = {"array of floats": (0, 1), "rows": (0, 255)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lazy_array_gives_the_vectors_of_transform(kind, paths):
    make, n_images = KINDS[kind]
    extractor = PretrainedFeatureExtractor(cache=False, value_range=RANGES.get(kind))
    computed = make(paths).compute()
    expected = extractor.fit_transform(computed)
    lazy = extractor.fit_transform(make(paths))
    assert isinstance(lazy, array.Array)
    assert (lazy.dtype, lazy._meta.dtype, lazy.ndim, lazy.shape[1]) == (np.float32, np.float32, 2, 192)
    assert lazy.shape[0] == n_images or np.isnan([lazy.shape[0], n_images]).all()
    vectors = lazy.compute()
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, expected)
    assert np.array_equal(embed_images(make(paths), extractor, progress=False), expected)


def _not_to_be_called(*args):
    raise AssertionError("computed")


def test_nothing_is_computed_beforehand():
    X = bag.from_sequence(range(3)).map(_not_to_be_called)
    lazy = PretrainedFeatureExtractor().fit_transform(X)
    with pytest.raises(AssertionError, match="computed"):
        lazy.compute()
    X = array.zeros((9, 8, 8), chunks=3, dtype=np.uint8).map_blocks(_not_to_be_called, dtype=np.uint8)
    assert PretrainedFeatureExtractor().fit(X).transform(X).shape == (9, 192)


def test_the_graph_has_no_weights(paths):
    X = bag.from_sequence(paths, partition_size=5)
    lazy = PretrainedFeatureExtractor().fit_transform(X)
    sizes = [len(pickle.dumps(task)) for task in dict(lazy.__dask_graph__()).values()]
    assert max(sizes) < 4000


def test_features_of_frames_have_the_names_of_frames(paths):
    extractor = PretrainedFeatureExtractor().fit(table(paths)[["path"]])
    assert extractor.feature_names_in_.tolist() == ["path"]
    assert extractor.n_features_in_ == 1


WRONG = {
    "value_range must be stated for an array of dask": lambda: array.zeros((4, 8, 8, 3), chunks=2),
    "since its values are not read in fit. Got None for dtype uint8": lambda: array.zeros(
        (4, 64), dtype="u1", chunks=2
    ),
    "X must have one column when it holds images": lambda: table(["a.png"] * N),
    "call X.compute_chunk_sizes\\(\\) first": lambda: array.zeros((4, 8, 8))[:, array.ones(8, dtype=bool)],
    "X must be a bag, an array, a series or a frame when it is of dask. Got a Delayed": lambda: dask.delayed(["a.png"]),
    "a picture with three dimensions must be": lambda: array.zeros((4, 8, 8, 5), dtype="u1", chunks=2),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_embedded_is_refused_at_once(message):
    with pytest.raises((TypeError, ValueError), match=message):
        PretrainedFeatureExtractor().fit(WRONG[message]())


def test_an_image_that_cannot_be_read_is_named_with_its_partition(paths):
    Path(paths[6]).write_bytes(b"no picture")
    X = bag.from_sequence(paths, partition_size=5)
    with pytest.raises(ImageReadError, match=r"image 1 \('.*06.png'\): in partition 1, "):
        PretrainedFeatureExtractor().fit_transform(X).compute()
    vectors = PretrainedFeatureExtractor(on_error="nan").fit_transform(X).compute()
    assert np.flatnonzero(np.isnan(vectors).any(1)).tolist() == [6]


def test_partitions_go_to_segments_and_their_failures_into_the_report(paths, tmp_path):
    Path(paths[6]).write_bytes(b"no picture")
    X = table(paths)["path"]
    extractor = PretrainedFeatureExtractor(cache=False, on_error="nan")
    embeddings = embed_images(X, extractor, out=tmp_path / "segments", progress=False)
    expected = extractor.fit_transform(paths)
    assert np.array_equal(embeddings.to_numpy(), expected, equal_nan=True)
    assert np.array_equal(embeddings.to_dask().compute(), expected, equal_nan=True)
    assert [(error.index, error.path) for error in embeddings.bad_images] == [(6, paths[6])]
    with pytest.raises(ImageReadError, match="in partition 1, "):
        embed_images(X, extractor, on_error="raise", progress=False)


def test_other_executors_are_told_to_compute_first(paths):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match=r"pass X\.compute"):
        embed_images(bag.from_sequence(paths), PretrainedFeatureExtractor(), executor=pool)
