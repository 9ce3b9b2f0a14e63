from concurrent.futures import ThreadPoolExecutor
from threading import RLock
from time import sleep

import pytest

from sktl.backbones._network_cache import NetworkCache


def test_a_value_is_made_once():
    registry = NetworkCache(2, RLock())
    made = []
    assert registry.get("a", lambda: made.append(1) or "value") == "value"
    assert registry.get("a", lambda: made.append(1) or "other") == "value"
    assert len(made) == 1


def test_the_least_recently_used_value_goes_first():
    registry = NetworkCache(2, RLock())
    for key in "ab":
        registry.get(key, lambda key=key: key)
    registry.get("a", lambda: "again")
    registry.get("c", lambda: "c")
    assert len(registry) == 2
    assert registry.get("a", lambda: "made anew") == "a"
    assert registry.get("b", lambda: "made anew") == "made anew"
    registry.clear()
    assert len(registry) == 0


def test_an_error_is_not_kept():
    registry = NetworkCache(2, RLock())
    with pytest.raises(ZeroDivisionError):
        registry.get("a", lambda: 1 / 0)
    assert registry.get("a", lambda: "value") == "value"


def test_threads_that_ask_at_once_share_one_value():
    registry = NetworkCache(2, RLock())
    made = []

    def make():
        sleep(0.01)
        made.append(1)
        return object()

    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(lambda _: registry.get("a", make), range(16)))
    assert len(made) == 1
    assert all(value is values[0] for value in values)


def test_making_may_hold_the_same_lock_from_either_side():
    lock = RLock()
    registry = NetworkCache(8, lock)

    def inside(key):
        with lock:
            sleep(0.001)
            return registry.get(key, lambda: key)

    def outside(key):
        return registry.get(key, lambda: inside(-key - 1) and key)

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(function, key) for key in range(1, 9) for function in (inside, outside)]
        for future in futures:
            future.result(timeout=10)
