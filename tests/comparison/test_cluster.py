"""Searches and comparisons on a cluster whose workers have stores of their own: each image once, the same numbers."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sktl import PretrainedFeatureExtractor, compare_transfer
from sktl.backbones import load_backbone
from sktl.datasets import make_fractals
from sktl.inference import embed_images
from sktl.label_efficiency import label_efficiency
from sktl.store import open_store
from sktl.transferability import rank_backbones, recommend_strategy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("time_limit")]
N_IMAGES = 60
OF_TIME = ("fit_seconds", "predict_seconds", "peak_memory", "n_images_through_network")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [tmp_path_factory.mktemp(name) for name in ("first", "second")]


@pytest.fixture(scope="module")
def cluster(make_cluster, folders):
    pytest.importorskip("pyarrow")
    with make_cluster(*({"SKTL_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"} for folder in folders)) as cluster:
        yield cluster


@pytest.fixture
def client(cluster, folders):
    from distributed import Client

    for folder in folders:
        open_store(folder).clear()
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


@pytest.fixture
def n_computed(folders):
    """A function that tells how many images the stores of the workers, and of this process, have had computed."""
    before = {}

    def count(folder):
        return sum(row[3] for row in open_store(folder).tiers[0].usage().by_key)

    before = {folder: count(folder) for folder in folders}
    return lambda: (sum(count(folder) - before[folder] for folder in folders), count(True))


@pytest.fixture(scope="module")
def fractals():
    return make_fractals(N_IMAGES, n_classes=2, random_state=0)


def search(X, y, cache=True):
    pipeline = make_pipeline(PretrainedFeatureExtractor(cache=cache), LogisticRegression(max_iter=300))
    grid = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=4, n_jobs=2)
    return grid.fit(X, y)


def scores_of(grid):
    return {name: values for name, values in grid.cv_results_.items() if name.startswith("split")}


def test_a_search_after_embed_images_computes_each_image_once(client, n_computed, fractals, tmp_path):
    X, y = fractals
    extractor = PretrainedFeatureExtractor(cache=[True, str(tmp_path)])
    with warnings.catch_warnings(), parallel_config(backend="dask"):
        warnings.simplefilter("error")
        embed_images(X, extractor, executor=client.get_executor(), out=tmp_path, chunk_size=16, progress=False)
        found = search(X, y, cache=[True, str(tmp_path)])
        scores = cross_val_score(found.best_estimator_, X, y, cv=4)
    assert n_computed() == (N_IMAGES, 0)  # the refit in this process finds all, too
    with parallel_config(backend="loky"):
        others = search(X, y)
    alone = search(X, y, cache=False)
    for one in (others, alone):
        np.testing.assert_equal(scores_of(one), scores_of(found))
        np.testing.assert_array_equal(one.predict_proba(X), found.predict_proba(X))
    np.testing.assert_array_equal(scores, cross_val_score(found.best_estimator_, X, y, cv=4))


def test_without_a_store_in_common_each_worker_computes_and_the_client_is_told(client, n_computed, fractals):
    first, second = client.scheduler_info()["workers"]
    told = pytest.warns(UserWarning, match="no embedding store in common")
    with parallel_config(backend="dask", workers=[first]), told as caught:
        search(*fractals)
    with parallel_config(backend="dask", workers=[second]):
        search(*fractals)
    assert len(caught) == 1
    assert n_computed() == (2 * N_IMAGES, N_IMAGES)  # and the first refit in this process


def without_time(runs):
    return [{name: value for name, value in vars(run).items() if name not in OF_TIME} for run in runs]


CALLS = {
    "compare_transfer": lambda X, y, **options: compare_transfer(
        X, y, candidates=["dummy", "frozen", "frozen_random"], baseline="dummy", cv=3, **options
    ),
    "label_efficiency": lambda X, y, **options: (
        label_efficiency(
            X, y, sizes=(0.5, 1.0), candidates=["frozen", "pixels"], baseline="pixels", cv=3, **options
        ).fits
    ),
    "rank_backbones": lambda X, y, **options: rank_backbones(X, y, ["tiny_fractal"], cv=3, **options).comparison,
    "recommend_strategy": lambda X, y, **options: recommend_strategy(X, y, budget=0, cv=3, **options).comparison,
}


@pytest.mark.parametrize("call", CALLS)
def test_comparisons_embed_each_image_once_for_each_network(
    client, n_computed, fractals, call, tmp_path, monkeypatch, capsys
):
    alone = CALLS[call](*fractals, duplicates="ignore")
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", str(tmp_path / "segments"))
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "own"))
    with parallel_config(backend="dask"), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = CALLS[call](*fractals, duplicates="ignore", verbose=1)
    n_networks = sum(name.startswith("frozen") or name == "tiny_fractal" for name in alone.candidates)
    n_networks = min(n_networks, 2)  # that of other choices of stages is the same
    assert n_computed() == (n_networks * N_IMAGES, 0)
    by_place = {(run.candidate, run.split): run for run in found.runs}
    in_order = [by_place[run.candidate, run.split] for run in alone.runs]
    assert without_time(in_order) == without_time(alone.runs)
    frozen = alone.candidates[-1] if call == "rank_backbones" else "frozen"
    n_images = [sum(run.n_images_through_network for run in one.runs_of(frozen)) for one in (found, alone)]
    assert n_images == [N_IMAGES, N_IMAGES]
    assert f"Embedding images for {frozen}" in capsys.readouterr().out


def test_near_copies_are_looked_for_on_the_cluster(client, n_computed, fractals, tmp_path, monkeypatch):
    X, y = fractals
    X, y = [X[0], *X], [y[0], *y]  # in one chunk: what two workers compute at the same time, both compute
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", str(tmp_path / "segments"))
    call = {"candidates": ["dummy", "pixels"], "baseline": "dummy", "cv": 3, "duplicates": "group"}
    # The network is one that no candidate uses.
    with parallel_config(backend="dask"):
        found = compare_transfer(X, y, backbone=load_backbone("tiny_fractal"), **call)
    assert n_computed() == (N_IMAGES, 0)
    alone = compare_transfer(X, y, **call)
    assert found.groups.tolist() == alone.groups.tolist()
    assert found.groups[0] == found.groups[1]


def test_fits_go_on_where_segments_cannot_be_written(client, fractals, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", str(tmp_path / "file"))
    with parallel_config(backend="dask"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = CALLS["compare_transfer"](*fractals, duplicates="ignore")
    told = [str(one.message).partition(" on the cluster failed, so each process computes") for one in caught]
    assert [said for said, failed, _ in told if failed] == [
        f"Embedding images for {name}" for name in ("frozen", "frozen_random")
    ]
    assert found.candidates == ["dummy", "frozen", "frozen_random"]


SCRIPT = """
import os, signal, sys
from pathlib import Path
import joblib
from distributed import Client
from sklearn.datasets import load_digits
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sktl.comparison import compare_transfer

class Counted(LogisticRegression):
    def __init__(self, folder=None, C=1.0):
        super().__init__(C=C, max_iter=2000)
        self.folder = folder

    def fit(self, X, y):
        with open(self.folder / "counted", "ab") as file:
            file.write(b"+")
        at, victim = (self.folder / "victim").read_text().split()
        if os.path.getsize(self.folder / "counted") == int(at):
            os.kill(os.getpid() if victim == "worker" else int(victim), signal.SIGKILL)
        return super().fit(X, y)

X, y = load_digits(return_X_y=True)
folder, at, victim, resume = Path(sys.argv[2]), *sys.argv[3:6]
(folder / "victim").write_text(f"{at} {os.getpid() if victim == 'client' else victim}")
candidates = {"bayes": GaussianNB(), "linear": Counted(folder), "half": Counted(folder, 0.5)}
with Client(sys.argv[1]) as client, joblib.parallel_config(backend="dask"):
    comparison = compare_transfer(
        X[:100], y[:100], candidates=candidates, baseline="bayes", cv=4, resume=resume or None, duplicates="ignore"
    )
print(comparison.frame().drop(columns=["fit_seconds", "predict_seconds", "peak_memory"]).to_csv())
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX")
@pytest.mark.parametrize("victim", ["client", "worker"])
def test_a_comparison_outlives_its_client_and_its_workers(cluster, tmp_path, victim):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def call(at, victim, resume):
        command = [sys.executable, script, cluster.scheduler_address, tmp_path, at, victim, resume]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=300)

    file = tmp_path / "fits.jsonl"
    killed = call(5, victim, file)
    if victim == "client":
        assert killed.returncode == -signal.SIGKILL
        n_kept = file.read_bytes().count(b"\n")
        assert n_kept >= 4
        killed = call(-1, "nobody", file)
        assert (tmp_path / "counted").stat().st_size <= 8 + 2 + 2  # those that were on the way, at most
    assert killed.returncode == 0, killed.stderr
    undisturbed = call(-1, "nobody", "")
    assert killed.stdout == undisturbed.stdout
    assert killed.stdout.count("\n") > 3


SEARCHES = {
    "search": lambda killer, X, y: GridSearchCV(killer, {"gaussiannb__var_smoothing": [1e-9, 1e-6]}, cv=2).fit(X, y),
    "comparison": lambda killer, X, y: compare_transfer(
        X, y, candidates={"bayes": GaussianNB(), "killer": killer}, baseline="bayes", cv=2, duplicates="ignore"
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX")
@pytest.mark.parametrize("name", SEARCHES)
def test_a_fit_that_costs_its_workers_their_lives_ends_the_search(name, cluster, client, monkeypatch):
    import distributed

    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    die = FunctionTransformer(lambda X: os.kill(distributed.get_worker() and os.getpid(), signal.SIGKILL))
    killer = make_pipeline(die, PretrainedFeatureExtractor(cache=False), GaussianNB())
    error = distributed.KilledWorker if name == "search" else RuntimeError
    X, y = load_digits(return_X_y=True)
    with parallel_config(backend="dask"), pytest.raises(error, match="died"):
        SEARCHES[name](killer, X[:40], y[:40])
