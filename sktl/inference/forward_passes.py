"""Counting of forward passes: how many images went through a network, or through a part of one, while code ran.

Whatever runs a network adds to the counter of its thread; whoever wants to know opens a counter around the work.
Other processes count by themselves.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from sktl._forking import free_after_fork

__all__ = ["ForwardPasses", "counted_forward_passes", "current_counter"]

_current: ContextVar = ContextVar("current", default=None)
_open: set = set()
_lock = free_after_fork(Lock())


class ForwardPasses:
    """The number of forward passes of images; None once that cannot be known."""

    def __init__(self):
        self.n_images: int | None = 0

    def add(self, n_images):
        """Count images that went through a network; from any thread."""
        with _lock:
            if self.n_images is not None:
                self.n_images += n_images


class _Unassigned:
    """What counts for a thread in which no counter was opened: its images may belong to any that is open elsewhere."""

    def add(self, n_images):
        with _lock:
            for counter in _open:
                counter.n_images = None


_unassigned = _Unassigned()


def current_counter():
    """Return the counter of this thread, for work in the threads that it starts as well."""
    return _current.get() or _unassigned


@contextmanager
def counted_forward_passes():
    """Count the forward passes of this thread, and those inside of another counter for this one alone."""
    counter = ForwardPasses()
    token = _current.set(counter)
    with _lock:
        _open.add(counter)
    try:
        yield counter
    finally:
        with _lock:
            _open.remove(counter)
        _current.reset(token)
