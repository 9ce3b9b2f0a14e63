"""Tasks on executors: a bounded number on their way, whoever is done first, and an end where workers are lost."""

import os
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Timer
from types import SimpleNamespace

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sktl import _executors
from sktl._executors import ThisProcess, as_completed, lost_worker_errors, n_workers, why_lost


class Waiting(Executor):
    """An executor that does nothing by itself."""

    def __init__(self, **attributes):
        self.futures = {}
        vars(self).update(attributes)

    def submit(self, task):
        self.futures[task] = Future()
        return self.futures[task]

    def undone(self):
        return [task for task, future in self.futures.items() if not future.done()]


def cluster_of(*threads):
    return Waiting(_client=SimpleNamespace(nthreads=lambda: dict(enumerate(threads))))


@pytest.fixture
def in_reverse(monkeypatch):
    """Have the last task be done whenever one is waited for; return the executor, and how many there were each time."""
    executor, counts = cluster_of(1, 1), []

    class Queue(_executors.SimpleQueue):
        def get(self, **options):
            counts.append(len(executor.undone()))
            task = executor.undone()[-1]
            executor.futures[task].set_result(10 * task)
            return super().get(**options)

    monkeypatch.setattr(_executors, "SimpleQueue", Queue)
    return executor, counts


@pytest.mark.parametrize(
    ("executor", "expected"),
    [
        (ThisProcess(), 1),
        (ThreadPoolExecutor(3), 3),
        (Waiting(num_workers=4), 4),  # as those of mpi4py
        (cluster_of(2, 3), 5),
        (cluster_of(), 0),
        (Waiting(), os.cpu_count()),
    ],
)
def test_number_of_tasks_that_run_at_a_time(executor, expected):
    assert n_workers(executor) == expected


@pytest.mark.parametrize(("max_in_flight", "most"), [(None, 4), (1, 1), (3, 3), (20, 9)])
def test_so_many_tasks_are_on_their_way_and_the_first_that_is_done_comes_first(in_reverse, max_in_flight, most):
    executor, counts = in_reverse
    found = list(as_completed(executor, executor.submit, range(9), max_in_flight))
    assert sorted(found) == [(task, 10 * task) for task in range(9)]
    assert counts == [most] * (9 - most) + list(range(most, 0, -1))
    assert found[-1][0] == (8 if most == 1 else 0)  # a slow one holds up no other


@pytest.mark.parametrize(("how", "cancelled"), [("closed", [0, 1, 2]), ("failed", [0, 2])])
def test_what_waits_is_cancelled_when_the_caller_goes_no_further(in_reverse, how, cancelled):
    executor, _ = in_reverse
    results = as_completed(executor, executor.submit, range(9))
    assert next(results) == (3, 30)
    if how == "closed":
        results.close()
    else:
        executor.futures[1].set_exception(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            list(results)
    assert [task for task, future in executor.futures.items() if future.cancelled()] == cancelled


def test_in_this_process_a_task_begins_when_the_one_before_is_taken():
    done = []
    results = as_completed(ThisProcess(), lambda task: ThisProcess().submit(done.append, task), "abc")
    for number, (task, result) in enumerate(results, start=1):
        assert (task, result) == ("abc"[number - 1], None)
        assert done == list("abc"[:number])


def test_a_cluster_that_has_no_workers_is_waited_for_and_mentioned(monkeypatch):
    monkeypatch.setattr(_executors, "_PATIENCE_SECONDS", 0.01)
    executor = cluster_of()

    def submit(task):
        future = executor.submit(task)
        Timer(0.2, future.set_result, [task]).start()
        return future

    with pytest.warns(UserWarning, match="Got a cluster without any instead: what is left to do waits until one joins"):
        assert list(as_completed(executor, submit, [7])) == [(7, 7)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenProcessPool("gone"), "a worker was killed"),
        (TerminatedWorkerError("gone"), "a worker was killed"),  # of joblib
        (CancelledError(), "the cluster is gone, or the executor was shut down"),
    ],
)
def test_errors_of_lost_workers(error, words):
    assert isinstance(error, lost_worker_errors())
    assert why_lost(error).startswith(words)


def test_errors_of_lost_workers_of_dask():
    distributed = pytest.importorskip("distributed")
    killed = distributed.KilledWorker("task", SimpleNamespace(address="tcp://a"), 3)
    assert isinstance(killed, lost_worker_errors())
    assert why_lost(killed).startswith("a worker was killed")
    assert issubclass(distributed.CancelledError, lost_worker_errors())
