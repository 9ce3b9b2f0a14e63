"""Ordered, bounded prefetching in a thread pool."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

from joblib import effective_n_jobs

from sktl._clusters import off_cluster


@contextmanager
def reading_threads(n_jobs, n_images=None):
    """Give the pool of threads that read and resize images, with joblib's meaning of `n_jobs`, and their number.

    One image is read by the thread that asks for it.
    """
    if n_images == 1:
        yield None, 1
        return
    with off_cluster():
        n_threads = effective_n_jobs(n_jobs)
    with stopping(ThreadPoolExecutor(n_threads, thread_name_prefix="sktl-read")) as pool:
        yield pool, n_threads


@contextmanager
def stopping(pool):
    """Give a pool of threads, and at the end wait for what runs and drop what only waits."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def prefetched(function, items, pool, n_ahead):
    """Apply a function to items in the threads of a pool, at most `n_ahead` items before the one that is taken.

    Without a pool, to each item when it is taken.
    """
    if pool is None:
        yield from map(function, items)
        return
    pending: deque = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > n_ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def batched(items, size):
    """Yield the items in lists of one size, of which only the last may be shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
