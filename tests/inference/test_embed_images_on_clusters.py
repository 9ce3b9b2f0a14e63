"""embed_images on executors of all kinds: each image once in all, the bits of one process, workers that die."""

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing import get_context

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from PIL import Image
from safetensors import torch as safetensors
from torchvision.models import squeezenet1_1

from sktl import PretrainedFeatureExtractor
from sktl.datasets import make_fractals
from sktl.inference import embed_images
from sktl.inference.progress import told_to

bag = pytest.importorskip("dask.bag")
distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")  # which distributed needs

N = 1000
CHUNK = 20
pytestmark = pytest.mark.usefixtures("time_limit")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by means of POSIX")
MOST_OF_SCHEDULER = 20 * 2**20
SETTINGS = {"dashboard_address": ":0"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    found = [str(folder / f"{i:04}.png") for i in range(N)]
    for path, picture in zip(found, make_fractals(N, random_state=0)[0], strict=True):
        Image.fromarray(picture).save(path)
    return found


@pytest.fixture(scope="module")
def expected(paths):
    return PretrainedFeatureExtractor(cache=False).fit_transform(paths)


@pytest.fixture
def cluster(make_cluster, tmp_path):
    """A cluster of two processes with stores of their own, as on two machines."""
    with (
        make_cluster(*({"SKTL_CACHE_DIR": str(tmp_path / f"store {i}")} for i in range(2))) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        yield cluster


def n_computed(folder):
    """Return how many images all workers' stores have seen computed."""
    counts = 0
    for file in folder.glob("store */*.sqlite"):
        with closing(sqlite3.connect(file)) as connection:
            counts += connection.execute("SELECT coalesce(sum(n_computed), 0) FROM recipes").fetchone()[0]
    return counts


def test_the_executor_of_a_cluster_and_its_collections_give_the_vectors_of_one_process(pictures, tmp_path):
    extractor = PretrainedFeatureExtractor(cache=False)
    expected = extractor.fit_transform(pictures)
    with (
        distributed.LocalCluster(
            2, processes=False, threads_per_worker=1, scheduler_kwargs=SETTINGS, **SETTINGS
        ) as local,
        distributed.Client(local) as client,
    ):
        options = {"executor": client.get_executor(), "chunk_size": 8, "progress": False}
        assert np.array_equal(embed_images(pictures, extractor, **options), expected)
        X = bag.from_sequence(list(pictures), partition_size=7)
        embeddings = embed_images(X, extractor, out=tmp_path / "segments", progress=False)
        assert np.array_equal(embeddings.to_numpy(), expected)
        assert np.array_equal(embeddings.to_dask().compute(), expected)


@pytest.mark.slow
def test_workers_with_separate_stores_compute_each_image_once(paths, expected, cluster, tmp_path):
    sizes = []

    def listener(unit, n_done, total):
        sizes.extend(len(pickle.dumps(task.run_spec)) for task in list(cluster.scheduler.tasks.values()))

    extractor = PretrainedFeatureExtractor().fit(paths[:3])
    executor = distributed.default_client().get_executor()
    with told_to(listener):
        vectors = embed_images(paths, extractor, executor=executor, chunk_size=CHUNK, progress=False)
    assert np.array_equal(vectors, expected)
    assert n_computed(tmp_path) == N
    assert (extractor.store_info_.n_misses, extractor.store_info_.n_hits) == (N, 0)
    assert 500 < max(sizes) < 4096 + CHUNK * (len(paths[0]) + 8)
    options = {"executor": executor, "out": tmp_path / "segments", "chunk_size": CHUNK, "progress": False}
    embeddings = embed_images(paths, extractor, **options)
    assert np.array_equal(embeddings.to_numpy(), expected)
    again = embed_images(paths[::-1], extractor, **options)
    assert (again.n_found, again.n_computed) == (N, 0)


@pytest.fixture
def scheduler_apart(tmp_path):
    """A client of a cluster whose scheduler and two workers are processes of their own."""
    address = ["--scheduler-file", str(tmp_path / "scheduler.json")]
    commands = {
        "scheduler": ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        "worker": ["--nworkers", "2", "--nthreads", "1", "--no-dashboard"],
    }
    with ExitStack() as stack:
        for name, options in commands.items():
            command = [sys.executable, "-m", "dask", name, *address, *options]
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path))
            stack.callback(process.terminate)
        with distributed.Client(scheduler_file=address[1]) as client:
            client.wait_for_workers(2, timeout=120)
            yield client


@pytest.mark.slow
@posix_only
def test_the_scheduler_holds_no_weights_and_no_pixels_of_a_hundred_chunks(scheduler_apart, tmp_path):
    n_chunks, in_flight, size = 200, 120, 10
    weights, picture = tmp_path / "weights.safetensors", tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(picture)
    safetensors.save_model(squeezenet1_1(num_classes=3), weights)  # 3 MB, as much as the files of one chunk
    paths = [str(tmp_path / f"{i}.png") for i in range(n_chunks * size)]
    for path in paths:
        os.link(picture, path)

    def state():
        return scheduler_apart.run_on_scheduler(
            lambda dask_scheduler: (len(dask_scheduler.tasks), psutil.Process().memory_info().rss)
        )

    (_, before), states = state(), []
    extractor = PretrainedFeatureExtractor("squeezenet1_1", weights=weights, image_size=64).fit(paths[:1])
    options = {"executor": scheduler_apart.get_executor(), "chunk_size": size, "max_in_flight": in_flight}
    with told_to(lambda unit, n_done, total: states.append(state())):
        embed_images(paths, extractor, out=tmp_path / "segments", progress=False, **options)
    busy = [memory for n_tasks, memory in states if n_tasks >= 100]
    assert len(busy) > 50
    assert max(busy) - before < MOST_OF_SCHEDULER  # a hundred weights or contents of chunks would be 300 MB


@pytest.mark.slow
@posix_only
def test_ten_workers_that_are_killed_cost_a_chunk_each_and_change_nothing(paths, expected, cluster, tmp_path):
    killed = []

    def kill_one(unit, n_done, total):
        """End a worker that is computing, whenever a twelfth of the images more is done."""
        if len(killed) >= 10 or n_done < (len(killed) + 1) * N / 12:
            return
        for state in list(cluster.scheduler.workers.values()):  # which another thread changes
            for nanny in cluster.workers.values():
                if nanny.worker_address == state.address and state.processing and nanny.pid:
                    os.kill(nanny.pid, signal.SIGKILL)
                    killed.append(nanny.pid)
                    return

    extractor = PretrainedFeatureExtractor().fit(paths[:3])
    options = {"executor": distributed.default_client().get_executor(), "chunk_size": CHUNK, "progress": False}
    with told_to(kill_one):
        embeddings = embed_images(paths, extractor, out=tmp_path / "segments", **options)
    assert len(set(killed)) == 10
    assert np.array_equal(embeddings.to_numpy(), expected)
    assert n_computed(tmp_path) == N  # as far as it was kept
    n_runs = sum(finish == "processing" for _, _, finish, *_ in cluster.scheduler.transition_log)
    assert N / CHUNK < n_runs <= N / CHUNK + 10 * 4  # what was in flight then: twice the number of workers


@pytest.mark.slow
def test_lazy_vectors_are_computed_by_the_workers(paths, expected, cluster, tmp_path):
    X = bag.from_sequence(paths[:200], partition_size=50)
    extractor = PretrainedFeatureExtractor()
    vectors = extractor.fit_transform(X)
    assert np.array_equal(vectors.compute(), expected[:200])
    assert n_computed(tmp_path) == 200
    embeddings = embed_images(X, extractor, out=tmp_path / "segments", progress=False)
    assert np.array_equal(embeddings.to_dask().compute(), expected[:200])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["spawn", "loky"])
def test_processes_that_are_started_anew_give_the_same_bits(kind, paths, expected):
    pool = get_reusable_executor(2) if kind == "loky" else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    with pool:
        vectors = embed_images(paths, PretrainedFeatureExtractor(cache=False), executor=pool, progress=False)
    assert np.array_equal(vectors, expected)
