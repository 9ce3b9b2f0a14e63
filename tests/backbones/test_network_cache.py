from concurrent.futures import ThreadPoolExecutor
from threading import RLock
from time import sleep

import pytest

from sktl.backbones._network_cache import NetworkCache


def test_a_value_is_made_once():
    cache = NetworkCache(2, RLock())
    made = []
    assert cache.get("a", lambda: made.append(1) or "value") == "value"
    assert cache.get("a", lambda: made.append(1) or "other") == "value"
    assert len(made) == 1


def test_the_least_recently_used_value_goes_first():
    cache = NetworkCache(2, RLock())
    for key in "ab":
        cache.get(key, lambda key=key: key)
    cache.get("a", lambda: "again")
    cache.get("c", lambda: "c")
    assert len(cache) == 2
    assert cache.get("a", lambda: "made anew") == "a"
    assert cache.get("b", lambda: "made anew") == "made anew"
    cache.clear()
    assert len(cache) == 0


def test_an_error_is_not_kept():
    cache = NetworkCache(2, RLock())
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 / 0)
    assert cache.get("a", lambda: "value") == "value"


def test_threads_that_ask_at_once_share_one_value():
    cache = NetworkCache(2, RLock())
    made = []

    def make():
        sleep(0.01)
        made.append(1)
        return object()

    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda _: cache.get("a", make), range(16)))
    assert len(made) == 1
    assert all(value is values[0] for value in values)


def test_making_may_hold_the_same_lock_from_either_side():
    lock = RLock()
    cache = NetworkCache(8, lock)

    def inside(key):
        with lock:
            sleep(0.001)
            return cache.get(key, lambda: key)

    def outside(key):
        return cache.get(key, lambda: inside(-key - 1) and key)

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(function, key) for key in range(1, 9) for function in (inside, outside)]
        for future in futures:
            future.result(timeout=10)
