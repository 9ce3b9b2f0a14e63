"""A store with folders of segments behind it: what `cache` may be, who is asked first, and who writes where."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sktl.store import EmbeddingStore, SegmentFolder, looked_up_only, open_store, write_segment

pytest.importorskip("pyarrow")

SCRIPT = Path(__file__).with_name("store_script.py")


def folders_of(store):
    return [str(tier.folder) for tier in store.tiers]


# what cache may be


@pytest.mark.usefixtures("fresh_store")
def test_what_a_list_means(tmp_path, fresh_store, monkeypatch):
    shared, remote, named = str(tmp_path / "shared"), "memory://bucket/segments", str(tmp_path / "named")
    own = str(tmp_path / "own")
    cases = [
        ([True, shared], "", [str(fresh_store), shared]),
        ((True, Path(shared), remote), "", [str(fresh_store), shared, remote]),
        ([own, f"{remote}/"], "", [own, remote]),
        ([Path(own), shared], named, [own, shared, named]),
        ([False, shared], "", [shared]),
        ([False, shared], f"{named},", [shared, named]),
        (True, f" {named} , {remote}", [str(fresh_store), named, remote]),
        (own, named, [own, named]),
        ([True], named, [str(fresh_store), named]),
        ([True, shared, shared], shared, [str(fresh_store), shared]),
    ]
    for cache, environment, expected in cases:
        monkeypatch.setenv("SKTL_CACHE_SEGMENTS", environment)
        assert folders_of(open_store(cache)) == expected
    for cache in (False, [False]):
        assert open_store(cache) is None
    monkeypatch.setenv("SKTL_CACHE_SEGMENTS", "")
    assert isinstance(open_store([True]), EmbeddingStore)
    monkeypatch.setenv("SKTL_CACHE_SIZE", "0")
    store = open_store([True, shared])
    assert (folders_of(store), store.folder) == ([shared], None)
    assert open_store(True) is None


def test_what_a_list_cannot_be():
    with pytest.raises(ValueError, match=r"cache must be True, .* Got a list that begins otherwise"):
        open_store([])


def test_a_home_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folders_of(open_store(["~/own", "~/shared"])) == [str(tmp_path / "own"), str(tmp_path / "shared")]


# who is asked, and who writes


def test_a_store_that_is_only_looked_up_keeps_nothing(script, tmp_path):
    write_segment(tmp_path / "shared", script.KEY, script.vectors(script.digests(5)))
    with looked_up_only():
        store = open_store([tmp_path / "own", tmp_path / "shared"])
        assert script.compute(store, script.digests(9)) == 5
        assert script.compute(store, script.digests(9)) == 5
    store = open_store([tmp_path / "own", tmp_path / "shared"])
    assert script.compute(store, script.digests(9)) == 5
    assert script.compute(store, script.digests(9)) == 9


# other processes


def test_a_forked_process_looks_up_what_its_parent_has_opened(script, tmp_path):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(50)))
    segments = SegmentFolder(tmp_path)
    assert len(segments.read(script.KEY, script.digests(20))) == 20
    segments._lock.acquire()  # as if another thread were at it
    child = os.fork()
    if not child:
        os._exit(0 if len(segments.read(script.KEY, script.digests(60))) == 50 else 1)
    segments._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def be_killed_while_writing(script, folder, n_rounds, seed):
    """Kill processes that write segments, at random moments; after each, whoever reads finds right vectors alone."""
    choose, n_found = random.Random(seed), 0
    everything = script.digests(3000)
    written, write = os.pipe()
    for round_ in range(n_rounds):
        child = os.fork()
        if not child:
            for start in range(10**9):
                first = (round_ * 7 + start) * 40 % 3000
                write_segment(folder, script.KEY, script.vectors(script.digests(first, first + 40)))
                if not start:
                    os.write(write, b"1")
        os.read(written, 1)  # on a busy machine it may be long until it begins
        time.sleep(choose.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = SegmentFolder(folder).read(script.KEY, everything)
        for digest, vector in found.items():
            np.testing.assert_array_equal(vector, script.vector(digest))
        assert len(found) >= n_found  # nothing is lost
        n_found = len(found)
    os.close(written)
    os.close(write)
    return n_found


@pytest.mark.parametrize("n_rounds", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_writers_leave_nothing_that_breaks_anybody(n_rounds, script, tmp_path):
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(10)))
    assert be_killed_while_writing(script, tmp_path, n_rounds, seed=n_rounds) > 100
    # The next one that writes clears up what they have left unfinished.
    write_segment(tmp_path, script.KEY, script.vectors(script.digests(3000, 3010)))
    names = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert [name for name in names if not name.endswith(".parquet") or name.startswith(".")] == []


MILLION = """
import sys, time
import numpy as np, pyarrow.parquet
from sktl.store import SegmentFolder
sys.path.insert(0, sys.argv[2])
from store_script import KEY

def memory():
    with open("/proc/self/status") as file:
        return int(file.read().partition("VmHWM:")[2].split()[0]) / 1024

digests, before, start = [bytes([i]) * 16 for i in range(100)], memory(), time.process_time()
found = SegmentFolder(sys.argv[1]).read(KEY._replace(n_bytes=8), digests)
print(len(found), time.process_time() - start, memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="greatest memory is read as Linux tells it")
@pytest.mark.slow
def test_a_million_keys_in_a_hundred_segments_are_opened_within_a_second(script, tmp_path):
    key, rng = script.KEY._replace(n_bytes=8), np.random.default_rng(0)
    for i in range(100):
        digests = [bytes([i]) * 16, *(rng.bytes(16) for _ in range(9_999))]
        write_segment(tmp_path, key, dict(zip(digests, rng.random((10_000, 2), dtype=np.float32), strict=True)))
    command = [sys.executable, "-c", MILLION, str(tmp_path), str(SCRIPT.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    n_found, seconds, megabytes = map(float, done.stdout.split())
    assert n_found == 100
    assert seconds < 1
    assert megabytes < 200
