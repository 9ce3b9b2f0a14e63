"""Tasks on any executor: how many are on their way, which is done first, and what is said when workers are lost."""

import os
import sys
import warnings
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from importlib import import_module
from itertools import islice
from queue import Empty, SimpleQueue

__all__ = ["ThisProcess", "as_completed", "call", "client_of", "lost_worker_errors", "n_workers", "why_lost"]

_AHEAD = 2  # tasks for each worker: while it is at one, the next one is on its way
_PATIENCE_SECONDS = 60  # without a result, before it is asked whether there is anybody to wait for


class ThisProcess(Executor):
    """The executor that there is without any: what is submitted is done at once."""

    def submit(self, function, /, *args, **kwargs):
        """Call a function; what it raises is raised here."""
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def call(place, *arguments):
    """Call a function given by its module and name, so that a task which only passes through a process loads nothing.

    dask's scheduler unpickles every task; a function itself would have it load torch: hundreds of megabytes.
    """
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)(*arguments)


def client_of(executor):
    """Return the client of dask whose cluster an executor stands for; None of other executors."""
    return getattr(executor, "_client", None)


def n_workers(executor):
    """Return how many tasks an executor runs at a time, as far as it tells: of a cluster, at the moment."""
    if isinstance(executor, ThisProcess):
        return 1
    if client_of(executor) is not None:
        return sum(client_of(executor).nthreads().values())
    return getattr(executor, "_max_workers", None) or getattr(executor, "num_workers", None) or os.cpu_count() or 1


def as_completed(executor, submit, tasks, max_in_flight=None):
    """Submit tasks, so many at a time; yield each with its result when it is done: none waits for a slow one before it.

    Those that are still to be done when the caller goes no further are cancelled.
    """
    done: SimpleQueue = SimpleQueue()
    waiting, pending = iter(tasks), {}
    try:
        while True:
            for task in islice(waiting, max(_limit(executor, max_in_flight) - len(pending), 0)):
                pending[task] = submit(task)
                pending[task].add_done_callback(lambda future, task=task: done.put(task))
            if not pending:
                return
            task = _first(done, executor)
            yield task, pending.pop(task).result()
    finally:
        for future in pending.values():
            future.cancel()


def _limit(executor, max_in_flight):
    """Return how many tasks may be with an executor now; it may have got more workers, or lost some."""
    if isinstance(executor, ThisProcess):
        return 1
    return max_in_flight or _AHEAD * max(n_workers(executor), 1)


def _first(done, executor):
    """Wait for a task to be done; say where a cluster has nobody to do it, since that may be on purpose or not."""
    while True:
        try:
            return done.get(timeout=_PATIENCE_SECONDS)
        except Empty:
            if n_workers(executor) == 0:
                warnings.warn(
                    "executor should have workers. Got a cluster without any instead: what is left to do waits until "
                    "one joins. Start one, or interrupt: what is done is not lost.",
                    stacklevel=5,  # the caller of embed_images
                )


def lost_worker_errors():
    """Return the classes of errors by which executors, and joblib, say that workers have died."""
    distributed = sys.modules.get("distributed")
    of_dask = () if distributed is None else (distributed.KilledWorker, distributed.CancelledError)
    return BrokenExecutor, CancelledError, *of_dask


def why_lost(error):
    """Say what has most often happened when such an error is raised."""
    if isinstance(error, CancelledError):
        return "the cluster is gone, or the executor was shut down"
    return "a worker was killed, most often since memory ran out"
