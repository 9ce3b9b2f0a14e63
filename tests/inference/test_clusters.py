"""The cache on a cluster: settings of the client reach the workers, and stores of their own are told of."""

import os
import socket
import sys
import warnings
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl._clusters import cluster_client, is_on_cluster
from sktl.store import share_settings, store_folder, write_segment

pytestmark = pytest.mark.usefixtures("time_limit")


@pytest.fixture(scope="module")
def cluster(make_cluster, tmp_path_factory):
    """Two workers, of which the first has a store of its own."""
    with make_cluster({"SKTL_CACHE_DIR": str(tmp_path_factory.mktemp("first"))}, {}) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    from distributed import Client

    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


@pytest.fixture
def key():
    return SimpleNamespace(digest=bytes(32), description="a key", n_bytes=12)


def settings_of(client):
    """Return the variables of each worker, in the order in which they were started."""
    found = client.run(lambda: {name: value for name, value in os.environ.items() if name.startswith("SKTL_CACHE")})
    addresses = sorted(found, key=lambda address: client.scheduler_info()["workers"][address]["name"])
    return [found[address] for address in addresses]


def shared(client, cache=True, **options):
    """Share the settings as a search does, and return the warnings."""
    with parallel_config(backend="dask"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        share_settings(cache, **options)
    return [str(warning.message) for warning in caught]


def test_a_worker_takes_from_the_client_what_it_has_not_set_itself(client, monkeypatch):
    (own, none) = settings_of(client)
    assert (list(own), none) == (["SKTL_CACHE_DIR"], {})
    monkeypatch.setenv("SKTL_CACHE_SIZE", "3GB")
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", "/shared/segments")
    shared(client)
    new = {"SKTL_CACHE_SIZE": "3GB", "SKTL_CACHE_SEGMENTS": "/shared/segments"}
    assert settings_of(client) == [own | new, {"SKTL_CACHE_DIR": str(store_folder())} | new]
    monkeypatch.delenv("SKTL_CACHE_SEGMENTS")
    monkeypatch.setenv("SKTL_CACHE_SIZE", "4GB")
    shared(client)  # the last word counts, also where it is nothing
    assert settings_of(client)[1] == {"SKTL_CACHE_DIR": str(store_folder()), "SKTL_CACHE_SIZE": "4GB"}


@pytest.mark.parametrize(
    "estimator",
    [
        PretrainedFeatureExtractor(),
        FineTuneClassifier(),
        make_pipeline(PretrainedFeatureExtractor(cache=True)),
    ],
)
def test_a_clone_under_the_backend_warns_once_of_separate_stores(client, estimator):
    with parallel_config(backend="dask"):
        with pytest.warns(UserWarning, match="The 2 workers .* no embedding store in common, but 2 folders on 1 host:"):
            clone(estimator)
        clone(estimator)
    clone(estimator)


@pytest.mark.parametrize("where", ["one folder", "segments as a parameter", "segments of the environment", "no store"])
def test_with_a_store_in_common_or_none_wanted_nothing_is_said(client, key, where, tmp_path, monkeypatch):
    cache = {"one folder": tmp_path, "segments as a parameter": [True, str(tmp_path)], "no store": False}
    if where == "segments of the environment":
        monkeypatch.setenv("SKTL_CACHE_SEGMENTS", str(tmp_path))
    write_segment(tmp_path, key, {bytes(16): np.zeros(3, dtype=np.float32)})
    assert shared(client, cache.get(where, True)) == []


def test_segments_with_nothing_in_them_are_no_store_unless_they_are_filled_first(client, tmp_path):
    assert "but 2 folders on 1 host, and segments with nothing in them" in shared(client, [True, str(tmp_path)])[0]
    assert shared(client, [True, str(tmp_path / "other")], embeds_first=True) == []


def test_one_folder_on_two_hosts_is_no_store_in_common(client, tmp_path):
    name = next(iter(client.scheduler_info()["workers"]))
    own = client.run(socket.gethostname, workers=[name])[name]
    client.run(lambda: setattr(socket, "gethostname", lambda: "another"), workers=[name])
    try:
        assert "but 2 folders on 2 hosts:" in shared(client, tmp_path)[0]
    finally:
        client.run(lambda: setattr(socket, "gethostname", lambda: own), workers=[name])
    assert shared(client, str(tmp_path)) == []


def test_each_cache_is_asked_about_once(client, tmp_path):
    assert [len(shared(client, cache)) for cache in (tmp_path, True, True, tmp_path)] == [0, 1, 0, 0]


class NotThere:
    """What workers cannot make again, as an estimator of a module that they lack."""

    def __reduce__(self):
        return int, ("not there",)


@pytest.mark.parametrize("return_as", ["list", "generator_unordered"])
def test_what_workers_cannot_do_is_an_error_and_no_wait(client, return_as):
    with parallel_config(backend="dask"):
        share_settings(cache=False)
        share_settings(cache=False)
        parallel = joblib.Parallel(return_as=return_as)
        with pytest.raises(Exception, match=r"not there|[Dd]eserializ"):
            list(parallel(joblib.delayed(len)(what) for what in ("abc", NotThere(), "de")))
        assert list(joblib.Parallel()(joblib.delayed(len)(what) for what in ("abc", "de"))) == [3, 2]


def test_only_a_client_with_that_backend_is_on_a_cluster(client):
    assert cluster_client() is None
    assert not is_on_cluster()
    with parallel_config(backend="dask"):
        assert cluster_client() is client
        within = joblib.Parallel()(joblib.delayed(lambda: (cluster_client(), is_on_cluster()))() for _ in range(2))
    assert within == [(None, True)] * 2
    with parallel_config(backend="loky"):
        assert cluster_client() is None


def test_dask_is_not_imported_to_find_out(monkeypatch):
    monkeypatch.delitem(sys.modules, "distributed", raising=False)
    assert cluster_client() is None
    assert "distributed" not in sys.modules


def test_images_are_read_by_the_threads_of_one_machine(client):
    from sktl.inference._prefetching import reading_threads

    def n_threads(n_jobs):
        with reading_threads(n_jobs) as (_, n):
            return n

    with parallel_config(backend="dask"):
        assert joblib.effective_n_jobs(3) == 2  # what joblib says: the cores of the cluster
        assert [n_threads(None), n_threads(3)] == [1, 3]
    with parallel_config(backend="dask", n_jobs=5):
        assert n_threads(None) == 5
