"""What other processes do to a store in the tests: ``python store_script.py WHAT FOLDER ARGUMENTS…``."""

import os
import random
import signal
import sys
import time
import traceback
import warnings
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sktl.store._store import EmbeddingStore

MAX_BYTES = 10**9


class Key(NamedTuple):
    """All that the store asks of a cache key."""

    digest: bytes
    description: str
    n_bytes: int


KEY = Key(b"digest of the key", "a key of the tests", 4 * 192)


def digest(number):
    return sha256(str(number).encode()).digest()[:16]


def digests(*limits):
    return [digest(number) for number in range(*limits)]


def vector(of_digest):
    """The only right vector for an image."""
    return np.frombuffer(sha256(of_digest).digest() * 6, dtype=np.uint8).astype(np.float32)


def vectors(of_digests):
    return {one: vector(one) for one in of_digests}


def open_at(folder):
    return EmbeddingStore(Path(folder), MAX_BYTES)


def compute(store, wanted):
    """Do with the store what a call of transform does, without images; return how many were found."""
    found = store.read(KEY, wanted)
    for one, stored in found.items():
        np.testing.assert_array_equal(stored, vector(one))
    rest = [one for one in wanted if one not in found]
    lease = store.begin()
    mine = store.claim(KEY, rest, lease)
    store.write(KEY, vectors(mine), lease, 0.1)
    store.release(KEY, rest, lease)
    store.end(lease)
    return len(found)


def be_killed(folder, n_rounds, seed):
    """Write in a process that is killed at a random moment, and read after each time all there is."""
    choose = random.Random(int(seed))
    for round_ in range(int(n_rounds)):
        child = os.fork()
        if not child:
            store = open_at(folder)
            for start in range(10**9):
                compute(store, digests((round_ + start) * 7 % 3000, (round_ + start) * 7 % 3000 + 40))
        time.sleep(choose.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        store = open_at(folder)
        everything = digests(4000)
        began = time.monotonic()
        compute(store, everything[:3100])
        assert time.monotonic() - began < 2
        assert len(store.read(KEY, everything)) >= 3100
        if round_ % 2:
            store.clear()
        store.close()


def work_together(folder, seconds):
    """Two processes that write and read, and two that read."""
    _side_by_side([(_work, folder, float(seconds), seed, seed < 2) for seed in range(4)])


def _work(folder, seconds, seed, writes):
    store, choose = open_at(folder), random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = choose.randrange(3000)
        if writes:
            compute(store, digests(start, start + choose.randrange(1, 200)))
        else:
            for one, stored in store.read(KEY, digests(start, start + 200)).items():
                np.testing.assert_array_equal(stored, vector(one))
    assert store._can_write
    store.close()


def create_together(folder, n_times):
    """Two processes that open a new store at the same moment."""
    for number in range(int(n_times)):
        _side_by_side([(_create, Path(folder) / str(number)) for _ in range(2)])


def _create(folder):
    store, end = open_at(folder), time.monotonic() + 20
    # The other one may still be at some of them, and `usage` may be the first to read a damaged page.
    while compute(store, digests(50)) < 50 or store.usage().n_vectors < 50:
        assert time.monotonic() < end
    assert store._can_write
    store.close()


def _use(folder):
    store = open_at(folder)
    for _ in range(3):
        compute(store, digests(50))
    assert store._can_write
    store.close()


def start_anew_together(folder, n_times):
    """Two processes that find damaged files at the same moment, before they open the store and while it is open."""
    warnings.simplefilter("ignore", UserWarning)
    for number in range(int(n_times)):
        path = Path(folder) / str(number)
        store = open_at(path)
        compute(store, digests(20))
        store.close()
        file = path / "embeddings-v1-000001.sqlite"
        file.write_bytes(b"garbage" * 10000)
        # One may find the damage late, and start anew where the other has written already: nothing wrong, only lost.
        _side_by_side([(_use, path) for _ in range(2)])
        _create(path)


def _side_by_side(calls):
    moment, children = time.time() + 0.02, []
    for function, *arguments in calls:
        children.append(os.fork())
        if not children[-1]:
            status = 1
            try:
                time.sleep(max(moment - time.time(), 0))
                function(*arguments)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert not any(statuses)


def hold(folder):
    """Keep the store open, work at it, and go on when something comes in."""
    store = open_at(folder)
    compute(store, digests(100))
    _ready()
    sys.stdin.readline()
    for _ in range(2):
        compute(store, digests(100))
    assert len(store.read(KEY, digests(100))) == 100
    store.close()


def report_imports(folder):
    """Use the store, and print which packages have been imported by then."""
    compute(open_at(folder), digests(10))
    print(*sorted({name.partition(".")[0] for name in sys.modules}))


def _ready():
    print("ready", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
