"""Prefetching keeps its order, its bound, and its errors."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sktl.inference._prefetching import batched, prefetched, reading_threads


def test_order_is_kept_however_long_items_take():
    def slow(i):
        time.sleep(0.002 * (i % 3))
        return i * i

    with ThreadPoolExecutor(4) as pool:
        assert list(prefetched(slow, range(40), pool, 6)) == [i * i for i in range(40)]


def test_never_far_ahead():
    drawn = []

    def items():
        for i in range(50):
            drawn.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        for n_taken, _ in enumerate(prefetched(abs, items(), pool, 3)):
            assert len(drawn) <= n_taken + 4


def test_errors_are_raised_in_their_turn():
    def fail_at_three(i):
        if i == 3:
            raise KeyError(i)
        return i

    with ThreadPoolExecutor(2) as pool:
        results = prefetched(fail_at_three, range(10), pool, 4)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(KeyError):
            next(results)


def test_what_only_waits_is_dropped_after_an_error():
    begun = []

    def work(i):
        begun.append(i)
        time.sleep(0.01)

    def run():
        with reading_threads(1) as (pool, n_threads):
            assert n_threads == 1
            for _ in prefetched(work, range(100), pool, 50):
                raise RuntimeError("stopped by the test")

    n_before = threading.active_count()
    with pytest.raises(RuntimeError, match="stopped"):
        run()
    assert len(begun) < 10
    assert threading.active_count() == n_before


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (4, [4]), (9, [4, 4, 1])])
def test_batches_have_one_size_but_for_the_last(n, sizes):
    parts = list(batched(iter(range(n)), 4))
    assert [len(part) for part in parts] == sizes
    assert [item for part in parts for item in part] == list(range(n))
