"""Torch as it is when a process starts: whatever the caller has set, networks are made, trained and run alike."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Lock

import torch

from sktl._forking import after_fork, free_after_fork

__all__ = ["torch_defaults"]

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Put the settings aside that change what torch computes with, and take them up again afterwards.

    These are the default dtype and device, inference mode, the mode of gradients, and autocast. A network that is made
    under ``torch.set_default_dtype(torch.float64)`` has other numbers, one made in inference mode can never be trained,
    and either would stay in the process for all that ask for the network later. Works as a decorator, too.

    Yields
    ------
    None
        All of the settings but the default dtype belong to the thread; that one is float32 in all threads until the
        last of them has left.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones.torch_defaults import torch_defaults
    >>> with torch.inference_mode(), torch_defaults():
    ...     torch.nn.Linear(1, 1).weight.is_inference()
    False
    """
    with ExitStack() as stack:
        stack.enter_context(_float32)
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


class _Float32:
    """Keeps the default dtype, which a process has one of, at float32 while any thread is inside."""

    def __init__(self):
        self._lock = free_after_fork(Lock())
        self._n_inside = 0
        self._found = None

    def __enter__(self):
        with self._lock:
            self._n_inside += 1
            if torch.get_default_dtype() is not torch.float32:
                self._found = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)

    def __exit__(self, *error):
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0 and self._found is not None:
                torch.set_default_dtype(self._found)
                self._found = None


_float32 = _Float32()
# OpenMP waits for ever for threads that the parent had and the forked process has not, wherever torch would share out
# the work of one operation.
after_fork(partial(torch.set_num_threads, 1))
