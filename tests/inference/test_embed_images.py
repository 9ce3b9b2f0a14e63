"""embed_images: the vectors of one process, whoever computes them; what travels, what is kept, what is reported."""

import io
import os
import pickle
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sktl import PretrainedFeatureExtractor, _executors
from sktl._executors import why_lost
from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.inference import embed_chunk, embed_images, pickled_extractor
from sktl.inference.forward_passes import counted_forward_passes
from sktl.store import store_folder

N = 20


@pytest.fixture
def paths(picture_files):
    return picture_files[:N]


@pytest.fixture
def extractor(paths):
    return PretrainedFeatureExtractor(cache=False).fit(paths)


class Elsewhere(Executor):
    """A worker with another working directory, to which everything travels as bytes, as to another machine."""

    def __init__(self, folder):
        self.folder = folder
        self.sizes = []

    def submit(self, function, /, *args, **kwargs):
        content = pickle.dumps((function, args, kwargs))
        self.sizes.append(len(content))
        before = os.getcwd()
        os.chdir(self.folder)
        try:
            function, args, kwargs = pickle.loads(content)
            future = Future()
            future.set_result(pickle.loads(pickle.dumps(function(*args, **kwargs))))
        finally:
            os.chdir(before)
        return future


class LastFirst(Executor):
    """An executor of four workers, the first of which is slow: its task is done when nothing else is left."""

    _max_workers = 4

    def __init__(self):
        self.waiting, self.n_most, self.order = [], 0, []

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        future.call = partial(function, *args, **kwargs)
        self.waiting.append(future)
        return future

    def work(self):
        self.n_most = max(self.n_most, len(self.waiting))
        future = self.waiting.pop(1 if len(self.waiting) > 1 else 0)
        self.order.append(future)
        future.set_result(future.call())


class Pictures:
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return Image.open(self.paths[i])


KINDS = {
    "paths": lambda paths: paths,
    "relative paths": lambda paths: [Path(path).name for path in paths],
    "Path": lambda paths: [Path(path) for path in paths],
    "bytes": lambda paths: [Path(path).read_bytes() for path in paths],
    "open files": lambda paths: [io.BytesIO(Path(path).read_bytes()) for path in paths],
    "PIL images": lambda paths: [Image.open(path) for path in paths],
    "arrays": lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]),
    "floats": lambda paths: [np.asarray(Image.open(path)) / 255 for path in paths],
    "tensors": lambda paths: torch.stack(
        [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths]
    ),
    "series": lambda paths: pd.Series(paths),
    "frame": lambda paths: pd.DataFrame({"path": paths}),
    "part of a collection": lambda paths: as_images([*paths, *paths]).subset(range(N - 1, N + 8)),
    "made on access": Pictures,
    "rows": lambda paths: np.random.default_rng(0).integers(0, 17, (N, 64)),
    "frame of rows": lambda paths: pd.DataFrame(np.random.default_rng(0).uniform(-3, 9, (N, 64))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_X_gives_the_vectors_of_transform(kind, paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    X = KINDS[kind](paths)
    extractor = PretrainedFeatureExtractor(cache=False)
    expected = extractor.fit_transform(KINDS[kind](paths))
    executor = Elsewhere(tmp_path / "elsewhere")
    found = embed_images(X, PretrainedFeatureExtractor(cache=False), executor=executor, chunk_size=7, progress=False)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert len(executor.sizes) == -(-len(expected) // 7)


def test_a_task_has_parameters_and_paths_and_nothing_else(paths, extractor, tmp_path):
    executor = Elsewhere(tmp_path)
    embed_images(paths, extractor, executor=executor, chunk_size=5, progress=False)
    assert max(executor.sizes) < 2000 + 5 * (len(paths[0]) + 10)
    assert len(pickled_extractor(extractor)) < 1500


@pytest.mark.parametrize("start", [None, "fork"])
def test_threads_and_processes_give_the_same_bits(start, paths, extractor):
    pool = ThreadPoolExecutor(2) if start is None else ProcessPoolExecutor(2, mp_context=get_context(start))
    expected = extractor.transform(paths)
    with pool:
        assert np.array_equal(embed_images(paths, extractor, executor=pool, chunk_size=4, progress=False), expected)


def test_segments_hold_what_was_computed_and_a_rerun_finds_it(paths, extractor, tmp_path):
    out = tmp_path / "segments"
    expected = extractor.transform(paths)
    with counted_forward_passes() as passes:
        embeddings = embed_images(paths, extractor, out=out, chunk_size=6, progress=False)
    assert (embeddings.n_found, embeddings.n_computed, passes.n_images) == (0, N, N)
    assert (len(embeddings), embeddings.shape, embeddings.dtype) == (N, expected.shape, expected.dtype)
    assert np.array_equal(embeddings.to_numpy(), expected)
    assert np.asarray(embeddings, dtype=np.float64).dtype == np.float64
    assert repr(embeddings) == f"ImageEmbeddings(20 images, 192 features, in {str(out)!r})"
    assert len(list(out.rglob("*.parquet"))) == 4
    with counted_forward_passes() as passes:
        again = embed_images(paths[::-1], extractor, out=str(out), chunk_size=3, progress=False)
    assert (again.n_found, again.n_computed, passes.n_images) == (N, 0, 0)
    assert np.array_equal(again, expected[::-1])
    assert len(list(out.rglob("*.parquet"))) == 4


def test_only_what_is_missing_is_computed(paths, extractor, tmp_path):
    embed_images(paths[:9], extractor, out=tmp_path / "segments", chunk_size=4, progress=False)
    embeddings = embed_images(paths, extractor, out=tmp_path / "segments", chunk_size=4, progress=False)
    assert (embeddings.n_found, embeddings.n_computed) == (9, N - 9)
    assert np.array_equal(embeddings, extractor.transform(paths))


def test_what_the_workers_own_store_holds_is_not_computed_again_and_goes_to_the_segments(paths, tmp_path):
    extractor = PretrainedFeatureExtractor().fit(paths)
    expected = extractor.transform(paths)
    embeddings = embed_images(paths, extractor, out=tmp_path / "segments", chunk_size=8, progress=False)
    assert (embeddings.n_found, embeddings.n_computed) == (N, 0)
    for file in store_folder().glob("*.sqlite*"):
        file.unlink()
    assert np.array_equal(embeddings.to_numpy(), expected)


def test_workers_of_several_kinds_are_mentioned(paths, extractor, tmp_path, monkeypatch):
    from sktl.inference import _cache_key

    class Mixed(Elsewhere):
        def submit(self, function, /, *args, **kwargs):
            monkeypatch.setattr(_cache_key, "_VERSION", f"kind {len(self.sizes) % 2}")
            return super().submit(function, *args, **kwargs)

    with pytest.warns(UserWarning, match="Got 2 kinds instead"):
        embeddings = embed_images(
            paths, extractor, executor=Mixed(tmp_path), out=tmp_path / "out", chunk_size=4, progress=False
        )
    assert np.array_equal(embeddings.to_numpy(), extractor.transform(paths))


def test_a_place_in_memory_of_fsspec_holds_segments(paths, extractor):
    embeddings = embed_images(paths, extractor, out="memory://test-embed-images", chunk_size=8, progress=False)
    assert np.array_equal(embeddings.to_numpy(), extractor.transform(paths))
    assert np.array_equal(embeddings.to_dask().compute(scheduler="sync"), extractor.transform(paths))


def test_a_place_that_must_be_new_is_refused_when_it_is_not(paths, extractor, tmp_path):
    embed_images(paths, extractor, out=tmp_path / "a", resume=False, progress=False)
    with pytest.raises(ValueError, match="out must hold no segments when resume=False"):
        embed_images(paths, extractor, out=tmp_path / "a", resume=False, progress=False)


def test_vectors_that_are_gone_are_an_error(paths, extractor, tmp_path):
    embeddings = embed_images(paths, extractor, out=tmp_path / "segments", chunk_size=8, progress=False)
    for file in (tmp_path / "segments").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="8 of 8 vectors of a chunk are not found"):
        embeddings.to_numpy()


def test_images_that_cannot_be_read_are_listed(paths, extractor, tmp_path):
    Path(paths[3]).write_bytes(b"no picture")
    Path(paths[11]).unlink()
    expected = PretrainedFeatureExtractor(cache=False, on_error="nan").fit_transform(paths)
    options = {"executor": Elsewhere(tmp_path), "chunk_size": 8, "on_error": "nan", "progress": False}
    embeddings = embed_images(paths, extractor, out=tmp_path / "segments", **options)
    assert [(error.index, error.path) for error in embeddings.bad_images] == [(3, paths[3]), (11, paths[11])]
    assert "does not exist" in embeddings.bad_images[1].reason
    assert embeddings.n_computed == N - 2
    assert np.array_equal(embeddings.to_numpy(), expected, equal_nan=True)
    assert np.array_equal(embed_images(paths, extractor, **options), expected, equal_nan=True)
    assert [error.index for error in extractor.bad_images_] == [3, 11]
    assert extractor.store_info_.n_misses == N - 2
    assert extractor.on_error == "raise"


def test_an_item_that_cannot_be_made_is_named_by_what_says_so(paths, extractor, tmp_path):
    class Torn(Pictures):
        def __getitem__(self, i):
            return 1 / 0 if i == 5 else super().__getitem__(i)

    options = {"executor": Elsewhere(tmp_path), "chunk_size": 1, "on_error": "nan", "progress": False}
    vectors = embed_images(Torn(paths), extractor, **options)
    assert np.flatnonzero(np.isnan(vectors).any(1)).tolist() == [5]
    assert "ZeroDivisionError says: division by zero" in str(extractor.bad_images_[0])


def test_an_error_leaves_what_is_done_in_the_segments(paths, extractor, tmp_path):
    Path(paths[13]).write_bytes(b"no picture")
    with pytest.raises(ImageReadError, match=r"image 13 \('.*13.png'\)"):
        embed_images(paths, extractor, out=tmp_path / "segments", chunk_size=4, progress=False)
    good = [path for path in paths if path != paths[13]]
    again = embed_images(good, extractor, out=tmp_path / "segments", chunk_size=4, progress=False)
    assert (again.n_found, again.n_computed) == (15, 4)


def test_a_slow_chunk_holds_up_no_other_and_the_number_in_flight_is_bounded(paths, extractor, monkeypatch):
    executor = LastFirst()

    class Queue(_executors.SimpleQueue):
        def get(self, **options):
            executor.work()
            return super().get(**options)

    monkeypatch.setattr(_executors, "SimpleQueue", Queue)
    vectors = embed_images(paths, extractor, executor=executor, chunk_size=1, progress=False)
    assert np.array_equal(vectors, extractor.transform(paths))
    assert executor.n_most == 8
    assert executor.order[-1].call.args[2] == [paths[0]]
    executor = LastFirst()
    embed_images(paths, extractor, executor=executor, chunk_size=1, max_in_flight=3, progress=False)
    assert executor.n_most == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_cancels_what_waits_and_keeps_what_is_done(error, paths, extractor, tmp_path):
    class Interrupted(Elsewhere):
        waiting = []

        def submit(self, function, /, *args, **kwargs):
            if len(self.sizes) < 2:
                return super().submit(function, *args, **kwargs)
            if len(self.waiting) == 2:
                raise error
            self.waiting.append(Future())
            return self.waiting[-1]

    executor = Interrupted(tmp_path)
    with pytest.raises(error):
        embed_images(paths, extractor, executor=executor, out=tmp_path / "out", chunk_size=4, progress=False)
    assert [future.cancelled() for future in executor.waiting] == [True, True]
    again = embed_images(paths, extractor, out=tmp_path / "out", chunk_size=4, progress=False)
    assert (again.n_found, again.n_computed) == (8, 12)


def _kill_this_process(*args):
    os._exit(1)


def test_a_pool_that_loses_a_worker_says_that_all_is_kept(paths, extractor, tmp_path):
    class Deadly(ProcessPoolExecutor):
        n_tasks = 0

        def submit(self, function, /, *args, **kwargs):
            self.n_tasks += 1
            return super().submit(_kill_this_process if self.n_tasks == 3 else function, *args, **kwargs)

    out = tmp_path / "segments"
    with (
        Deadly(1, mp_context=get_context("fork")) as pool,
        pytest.raises(BrokenExecutor, match=r"is kept in '.*call emb"),
    ):
        embed_images(paths, extractor, executor=pool, out=out, chunk_size=5, max_in_flight=1, progress=False)
    again = embed_images(paths, extractor, out=out, chunk_size=5, progress=False)
    assert (again.n_found, again.n_computed) == (10, 10)


LOST = {
    "KilledWorker": lambda: pytest.importorskip("distributed").KilledWorker("task", SimpleNamespace(address="tcp"), 3),
    "CancelledError": CancelledError,
    "BrokenProcessPool": lambda: BrokenProcessPool("a process was terminated abruptly"),
}
KEPT = {
    "out": ({"cache": False}, r"What was done by then is kept in '.*segments': call embed_images again"),
    "own stores": ({"cache": True}, "What was done by then is kept in the stores of the workers: call"),
    "nothing": ({"cache": False}, "Nothing is kept: pass out=, and call embed_images again with a new executor"),
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("name", LOST)
def test_an_executor_without_workers_ends_the_call_and_what_is_kept_is_said(name, kept, paths, tmp_path):
    class Lost(Elsewhere):
        def submit(self, function, /, *args, **kwargs):
            if len(self.sizes) < 2:
                return super().submit(function, *args, **kwargs)
            future = Future()
            future.set_exception(LOST[name]())
            return future

    parameters, message = KEPT[kept]
    extractor, out = PretrainedFeatureExtractor(**parameters).fit(paths), tmp_path / "segments"
    options = {"out": out if kept == "out" else None, "chunk_size": 4, "progress": False}
    with pytest.raises(BrokenExecutor, match=message) as caught:
        embed_images(paths, extractor, executor=Lost(tmp_path), **options)
    assert f"Got {name} instead: {why_lost(LOST[name]())}" in str(caught.value)
    with counted_forward_passes() as passes:
        assert np.array_equal(embed_images(paths, extractor, **options), extractor.transform(paths))
    assert passes.n_images - (0 if kept == "own stores" else N) == (N if kept == "nothing" else N - 8)


def test_the_bar_says_how_many_were_found_and_computed(paths, extractor, tmp_path, capsys):
    embed_images(paths[:5], extractor, out=tmp_path / "out", progress=False)
    assert capsys.readouterr().err == ""
    embed_images(paths, extractor, out=tmp_path / "out")
    assert "found=5, computed=15" in capsys.readouterr().err


def test_weights_do_not_travel(paths, tmp_path):
    own = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3), torch.nn.ReLU())
    extractor = PretrainedFeatureExtractor(own, image_size=32, cache=False).fit(paths)
    expected = extractor.transform(paths)
    assert np.array_equal(embed_images(paths, extractor, chunk_size=8, progress=False), expected)
    with pytest.raises(ValueError, match=r"extractor must be small when it goes to workers.*with the weights in it"):
        embed_images(paths, extractor, executor=Elsewhere(tmp_path), progress=False)
    with pytest.raises(ValueError, match="one that cannot be pickled"):
        embed_images(paths, PretrainedFeatureExtractor(lambda: own, image_size=32), executor=Elsewhere(tmp_path))


def test_a_worker_finds_weights_by_their_path_and_loads_them_once(paths, tmp_path, monkeypatch):
    from safetensors.torch import save_model
    from torchvision.models import squeezenet1_1

    file = tmp_path / "weights.safetensors"
    save_model(squeezenet1_1(num_classes=3), file)
    extractor = PretrainedFeatureExtractor("squeezenet1_1", weights=file, image_size=64, cache=False).fit(paths)
    content = pickled_extractor(extractor)
    assert len(content) < 2000
    pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
    with pool:
        chunks = [pool.submit(embed_chunk, content, paths[start : start + 5]).result() for start in (0, 5)]
    assert np.array_equal(np.concatenate([chunk.vectors for chunk in chunks]), extractor.transform(paths[:10]))


@pytest.mark.parametrize("X", [[], np.empty((0, 8, 8, 3), dtype=np.uint8), np.empty((0, 64)), pd.DataFrame([[]])[:0]])
@pytest.mark.parametrize("out", [None, "segments"])
def test_no_images_are_refused(X, out, extractor, tmp_path):
    with pytest.raises(ValueError, match="X must hold at least one image"):
        embed_images(X, extractor, out=out and tmp_path / out, progress=False)


WRONG = {
    "extractor must be a PretrainedFeatureExtractor. Got a Pipeline": {"extractor": "pipeline"},
    "executor must be an Executor as of concurrent.futures": {"executor": 4},
    "chunk_size must be a whole number from 1. Got 0": {"chunk_size": 0},
    "max_in_flight must be a whole number from 1. Got 0.5": {"max_in_flight": 0.5},
    "on_error must be 'raise', 'nan' or None. Got 'skip'": {"on_error": "skip"},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_parameters_are_refused(message, paths, extractor):
    from sklearn.pipeline import make_pipeline

    options = {"extractor": extractor, **WRONG[message]}
    if options["extractor"] == "pipeline":
        options["extractor"] = make_pipeline(extractor)
    with pytest.raises((TypeError, ValueError), match=message):
        embed_images(paths, **options)
