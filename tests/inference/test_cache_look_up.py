"""Each image goes through the network once, and comes out the same whether it did or was found."""

import io
import pickle
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatureExtractor
from sktl.exceptions import ImageReadError
from sktl.inference import _cache_look_up, _embed
from sktl.store import open_store

SCRIPT = Path(__file__).with_name("embedding_script.py")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped by means of POSIX")


def pictures(n_images, first=0):
    return np.stack([np.random.default_rng(first + i).integers(0, 256, (16, 16, 3), np.uint8) for i in range(n_images)])


def n_computed():
    return sum(row[3] for row in open_store().usage().by_key)


def n_claims():
    open_store().usage()
    return open_store()._database._connection.execute("SELECT count(*) FROM claims").fetchone()[0]


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()


def misses(images, **parameters):
    extractor = PretrainedFeatureExtractor(**parameters).fit(images)
    extractor.transform(images)
    return extractor.store_info_.n_misses


def test_vectors_are_the_same_with_and_without_store():
    images = pictures(70)
    plain = PretrainedFeatureExtractor(cache=False).fit_transform(images)
    for batch_size in (32, 1, 5000):
        np.testing.assert_array_equal(PretrainedFeatureExtractor(batch_size=batch_size).fit_transform(images), plain)
    assert n_computed() == 70


def test_without_a_store_nothing_is_kept(monkeypatch, fresh_store):
    monkeypatch.setenv("SKTL_CACHE_SIZE", "0")
    extractor = PretrainedFeatureExtractor()
    extractor.fit_transform(pictures(3))
    assert extractor.store_info_.path is None
    assert not list(fresh_store.iterdir())


def test_usage_names_the_network():
    misses(pictures(3))
    (usage,) = open_store().usage().by_key
    assert "tiny_fractal" in usage[0]
    assert usage[1] == usage[3] == 3
    assert usage[4] > 0


def test_no_images_at_all_are_refused_with_and_without_store():
    extractor = PretrainedFeatureExtractor().fit(pictures(2))
    errors = []
    for cache in (True, False):
        with pytest.raises(ValueError) as caught:
            extractor.set_params(cache=cache).transform(pictures(1)[:0])
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_huge_batch_is_looked_up_in_parts():
    images = np.concatenate([pictures(30)] * 40)
    extractor = PretrainedFeatureExtractor(batch_size=5000).fit(images)
    found = extractor.transform(images)
    np.testing.assert_array_equal(found[:30], found[-30:])
    assert (extractor.store_info_.n_misses, extractor.store_info_.n_hits) == (30, 1170)


def test_identical_images_are_computed_once():
    images = pictures(5)[[0, 1, 0, 2, 3, 4, 4, 0]]
    extractor = PretrainedFeatureExtractor(batch_size=3).fit(images)
    found = extractor.transform(images)
    np.testing.assert_array_equal(found, PretrainedFeatureExtractor(cache=False).fit_transform(images))
    assert n_computed() == extractor.store_info_.n_misses == 5
    assert extractor.store_info_.n_hits == 3


def test_info_counts_and_belongs_to_one_fit():
    images = pictures(20)
    extractor = PretrainedFeatureExtractor().fit(images)
    extractor.transform(images[:12])
    first = extractor.store_info_
    assert (first.n_hits, first.n_misses, first.n_bytes, first.seconds_saved) == (0, 12, 0, 0.0)
    extractor.transform(images)
    assert (first.n_hits, first.n_misses) == (12, 20)
    assert first.n_bytes == 12 * 4 * extractor.embedding_dim_
    assert first.seconds_saved > 0
    assert first.path == str(open_store().folder)
    extractor.fit(images)
    assert extractor.store_info_ is not first
    assert extractor.store_info_.n_hits == 0


def test_a_bad_image_listed_twice():
    good, bad = png(pictures(1)[0]), png(pictures(1)[0])[:60]
    extractor = PretrainedFeatureExtractor(on_error="nan", batch_size=2).fit([good, bad])
    found = extractor.transform([bad, good, bad, good, b"no image"])
    np.testing.assert_array_equal(np.isnan(found).any(axis=1), [True, False, True, False, True])
    assert [error.index for error in extractor.bad_images_] == [0, 2, 4]
    assert (extractor.store_info_.n_hits, extractor.store_info_.n_misses) == (1, 1)
    assert n_claims() == 0


def test_an_error_leaves_no_claims_behind():
    images = [png(picture) for picture in pictures(200)]
    images[190] = images[190][:60]
    with pytest.raises(ImageReadError, match="image 190"):
        PretrainedFeatureExtractor(batch_size=4).fit(images).transform(images)
    assert n_claims() == 0
    assert n_computed() > 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_call_loses_one_batch_at_most(monkeypatch, error):
    images, stack, n_blocks = pictures(300), _embed.stack, []

    def interrupted(arrays):
        n_blocks.append(len(arrays))
        if len(n_blocks) == 12:
            raise error("stopped by the test")
        return stack(arrays)

    monkeypatch.setattr(_embed, "stack", interrupted)
    with pytest.raises(error):
        PretrainedFeatureExtractor(batch_size=16).fit(images).transform(images)
    assert n_claims() == 0
    n_kept = n_computed()
    assert n_kept > 0
    monkeypatch.setattr(_embed, "stack", stack)
    assert misses(images) == 300 - n_kept


@pytest.mark.parametrize("overlap", [1.0, 0.5])
def test_threads_compute_each_image_once(overlap):
    n_threads, n_images = 4, 120
    step = int(n_images * (1 - overlap))
    parts = [pictures(n_images, first=number * step) for number in range(n_threads)]
    extractor = PretrainedFeatureExtractor(batch_size=8).fit(parts[0])
    plain = [PretrainedFeatureExtractor(cache=False).fit_transform(part) for part in parts]
    with ThreadPoolExecutor(n_threads) as pool:
        found = list(pool.map(lambda part: clone(extractor).fit(part).transform(part), parts))
    np.testing.assert_array_equal(found, plain)
    assert n_computed() == n_images + (n_threads - 1) * step
    assert n_claims() == 0


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 300])
def test_processes_compute_each_image_once(fresh_store, start, finish, step):
    processes = [start("embed", fresh_store, i * step, i * step + 600, "wait") for i in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sum(int(finish(process)) for process in processes) == n_computed() == 600 + step
    assert n_claims() == 0


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_grid_search_computes_each_image_once(fresh_store, n_jobs):
    images, labels = pictures(60), np.arange(60) % 3
    model = make_pipeline(PretrainedFeatureExtractor(cache=fresh_store), LogisticRegression(max_iter=1000))
    search = GridSearchCV(model, {"logisticregression__C": [0.01, 1.0]}, cv=3, n_jobs=n_jobs, error_score="raise")
    search.fit(images, labels)
    assert n_computed() == 60
    cross_val_score(model, images, labels, cv=4, n_jobs=n_jobs, error_score="raise")
    assert n_computed() == 60


@pytest.mark.slow
def test_another_process_computes_nothing(fresh_store, script, start, finish):
    script.embed(str(fresh_store), 0, 30)
    assert finish(start("embed", fresh_store, 0, 30)) == "0"


@pytest.mark.slow
@posix_only
def test_claims_end_with_the_process_that_was_killed(fresh_store, script, start):
    process = start("stall", fresh_store, 0, 50)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    script.embed(str(fresh_store), 0, 50)
    assert time.monotonic() - began < 3


@pytest.mark.slow
@posix_only
def test_patience_with_a_stopped_process_ends(fresh_store, script, start, monkeypatch, capsys):
    monkeypatch.setattr(_cache_look_up, "_PATIENCE_SECONDS", 0.3)
    process = start("stall", fresh_store, 0, 50)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(signal.SIGSTOP)
    script.embed(str(fresh_store), 0, 80)
    assert capsys.readouterr().out.split() == ["ready", "80"]
    process.send_signal(signal.SIGKILL)


def test_pickles_are_small_with_the_store_in_use():
    images = pictures(5)
    extractor = PretrainedFeatureExtractor().fit(images)
    found = extractor.transform(images)
    content = pickle.dumps(extractor)
    assert len(content) < 8000
    other = pickle.loads(content)
    np.testing.assert_array_equal(other.transform(images), found)
    assert other.store_info_.n_hits == 5


def test_hits_whatever_does_not_change_a_vector(tmp_path):
    images = pictures(20)
    extractor = PretrainedFeatureExtractor().fit(images)
    found = extractor.transform(images)
    for parameters in ({"batch_size": 3}, {"n_jobs": 2}, {"verbose": 1}, {"pooling": extractor.backbone_.own_pooling}):
        assert misses(images, **parameters) == 0
    assert misses(list(images)) == misses([Image.fromarray(image) for image in images]) == 0
    assert clone(extractor).set_output(transform="pandas").fit_transform(images).to_numpy().tolist() == found.tolist()
    np.testing.assert_array_equal(clone(extractor).fit_transform(images[::-1]), found[::-1])
    encoded, paths = [png(image) for image in images], [tmp_path / f"{i}.png" for i in range(20)]
    for path, content in zip(paths, encoded, strict=True):
        path.write_bytes(content)
    assert misses(encoded) == 20
    assert misses(paths) == misses(list(map(str, paths))) == misses(encoded) == 0
    assert n_computed() == 40


def test_few_images_of_a_model_read_from_a_file_are_looked_up_and_not_kept():
    X = pictures(40)
    extractor = PretrainedFeatureExtractor().fit(X)
    expected = PretrainedFeatureExtractor(cache=False).fit_transform(X)
    served = pickle.loads(pickle.dumps(extractor))
    for start in (0, 1, 20):  # a request each
        np.testing.assert_array_equal(served.transform(X[start : start + 20]), expected[start : start + 20])
    assert (n_computed(), n_claims()) == (0, 0)
    assert served.store_info_.n_misses == 60
    np.testing.assert_array_equal(served.transform(X), expected)  # many at once may come again
    assert n_computed() == 40
    np.testing.assert_array_equal(served.transform(X[:1]), expected[:1])
    assert served.store_info_.n_hits == 1


def test_an_estimator_keeps_few_images_at_a_time_up_to_a_number(monkeypatch):
    monkeypatch.setattr(_cache_look_up, "_MOST_IN_FEWS", 10)
    X = pictures(50)
    extractor = PretrainedFeatureExtractor().fit(X)
    for i in range(15):
        extractor.transform(X[i : i + 1])
    assert n_computed() == 10
    extractor.transform(X)
    assert n_computed() == 50


@pytest.mark.parametrize("n_folds", [3, 12])
def test_folds_of_few_images_still_go_through_the_network_once(n_folds):
    X, y = pictures(12), np.arange(12) % 2
    model = make_pipeline(PretrainedFeatureExtractor(), LogisticRegression())
    cross_val_score(
        model, X, y, cv=[(np.delete(np.arange(12), part), part) for part in np.split(np.arange(12), n_folds)]
    )
    assert n_computed() == 12
