"""Estimators whose store has folders of segments behind it: what is found there is not computed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from sktl import PretrainedFeatureExtractor
from sktl.datasets import make_fractals
from sktl.store import export_vectors, open_store

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def images():
    return make_fractals(10, n_classes=2, random_state=0)[0]


def exported(images, folder):
    """Return the vectors of images, which are in segments from then on."""
    vectors = PretrainedFeatureExtractor(cache=folder / "made").fit_transform(images)
    export_vectors(open_store(folder / "made"), folder / "shared")
    return vectors


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ([], "list that begins otherwise"),
        ([None, "a"], "list that begins otherwise"),
        ([3], "list that begins otherwise"),
        ([["a"], "b"], "list that begins otherwise"),
        ([True, None], "Got None in its place instead"),
        ([True, True], "Got True in its place instead"),
        (["a", ""], "Got '' in its place instead"),
        (["", "a"], "Got an empty path instead"),
        ("s3://bucket/x", r"Got the URL 's3://bucket/x' instead\. Where there are segments, write cache=\[True, URL\]"),
        (["memory://a", "b"], "Got the URL 'memory://a' instead"),
        ([True, "nonsense://a"], "Protocol not known: nonsense"),
    ],
)
def test_what_a_list_cannot_be(cache, message, images):
    with pytest.raises(ValueError, match=message):
        PretrainedFeatureExtractor(cache=cache).fit(images)


def test_a_list_is_a_parameter_like_any_other(images, tmp_path):
    cache = [str(tmp_path / "own"), str(tmp_path)]
    extractor = PretrainedFeatureExtractor(cache=cache)
    assert clone(extractor).get_params()["cache"] == cache
    assert "own" in repr(extractor)
    assert extractor.fit(images).cache is cache


@pytest.mark.usefixtures("fresh_store")
def test_without_pyarrow_a_store_works_and_segments_are_refused(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    PretrainedFeatureExtractor().fit_transform(images)
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", str(tmp_path / "not yet opened"))
    with pytest.raises(ImportError, match=r"pip install 'sktl\[segments\]'"):
        PretrainedFeatureExtractor().fit(images)


@pytest.mark.usefixtures("fresh_store")
def test_vectors_come_from_whichever_tier_has_them(images, tmp_path):
    vectors = exported(images[:6], tmp_path)
    write_nothing = tmp_path / "shared"
    before = sorted(write_nothing.rglob("*"))
    extractor = PretrainedFeatureExtractor(cache=[True, tmp_path / "shared"]).fit(images)
    np.testing.assert_array_equal(extractor.transform(images)[:6], vectors)
    info = extractor.store_info_
    assert (info.n_hits, info.n_misses, info.segments) == (6, 4, {str(tmp_path / "shared"): 6})
    assert info.seconds_saved > 0
    np.testing.assert_array_equal(extractor.transform(images)[:6], vectors)
    assert (info.n_hits, info.n_misses, info.segments) == (16, 4, {str(tmp_path / "shared"): 12})
    assert open_store().usage().n_vectors == 4  # what segments have is not kept once more
    assert sorted(write_nothing.rglob("*")) == before


def test_without_a_store_of_its_own_an_estimator_looks_up_and_keeps_nothing(images, tmp_path):
    vectors = exported(images[:6], tmp_path)
    extractor = PretrainedFeatureExtractor(cache=[False, tmp_path / "shared"]).fit(images)
    for n_misses in (4, 8):
        np.testing.assert_array_equal(extractor.transform(images)[:6], vectors)
        assert extractor.store_info_.n_misses == n_misses
    assert extractor.store_info_.path is None


@pytest.mark.usefixtures("fresh_store")
def test_an_info_without_segments_says_so(images):
    extractor = PretrainedFeatureExtractor().fit(images)
    extractor.transform(images)
    assert extractor.store_info_.segments is None
    del extractor.store_info_.__dict__["segments"]  # as pickled before there were any
    assert extractor.store_info_.segments is None


def test_what_others_have_written_meanwhile_is_found_by_the_next_call(images, tmp_path):
    exported(images[:6], tmp_path)
    extractor = PretrainedFeatureExtractor(cache=[False, tmp_path / "shared"]).fit(images)
    extractor.transform(images)
    exported(images, tmp_path)
    extractor.transform(images)
    assert (extractor.store_info_.n_hits, extractor.store_info_.n_misses) == (16, 4)


PROGRAM = """
import os, sys
import numpy as np
from sktl import PretrainedFeatureExtractor
number, folder, images, names = int(sys.argv[1]), *sys.argv[2:]
X = np.load(images)
PretrainedFeatureExtractor(cache=[False, folder]).fit_transform(X[:1])  # imports what others may not read
if number:
    os.setgroups([])
    os.setgid(number)
    os.setuid(number)
a, b = map(int, names.split("-"))
extractor = PretrainedFeatureExtractor(cache=[True, folder]).fit(X)
vectors = extractor.transform(X[a:b])
print(extractor.store_info_.n_misses, vectors.tobytes().hex()[:64], sum(extractor.store_info_.segments.values()))
if not number:
    from sktl.store import export_vectors, open_store
    export_vectors(open_store(True), folder)
"""


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="becoming another user takes a superuser")
@pytest.mark.slow
def test_two_users_with_homes_of_their_own_compute_each_image_once(images, request):
    """One of them may only read the folder."""
    tmp_path = Path(tempfile.mkdtemp())  # pytest's own are for its user alone
    request.addfinalizer(lambda: shutil.rmtree(tmp_path))
    tmp_path.chmod(0o755)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "images.npy").chmod(0o644)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)

    def work(user, which):
        home = tmp_path / f"home of {user}"
        home.mkdir(exist_ok=True)
        os.chown(home, user, user)
        names = ("SKTL_CACHE_DIR", "SKTL_CACHE_SEGMENTS", "XDG_CACHE_HOME")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        command = [sys.executable, "-W", "error::UserWarning:sktl.store", "-c", PROGRAM, str(user)]
        done = subprocess.run(
            [*command, str(tmp_path / "shared"), str(tmp_path / "images.npy"), which],
            env={**environment, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "segments" not in done.stderr
        n_misses, vectors, n_hits = done.stdout.split()
        return int(n_misses), vectors, int(n_hits)

    first = work(0, "0-6")
    second = work(65534, "0-10")
    assert (first[0], second[0], second[2]) == (6, 4, 6)
    assert first[1] == second[1]
    assert work(65534, "0-10")[0] == 0
    left = [path.name for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert [name for name in left if not name.endswith(".parquet")] == []  # no locks
    assert {path.stat().st_uid for path in (tmp_path / "shared").rglob("*")} == {0}
