"""Seeding of the global random generators, which leaves their states as they were."""

from __future__ import annotations

import random
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
import torch

from sktl._forking import free_after_fork

__all__ = ["GLOBAL_RNG_LOCK", "seeded", "seeded_without_lock"]

# The state is one per process: two threads inside would each restore what the other has drawn. Whoever seeds torch's
# global generator holds this lock.
GLOBAL_RNG_LOCK = free_after_fork(RLock())


@contextmanager
def seeded(seed: int, device: Any = None) -> Any:
    """Draw from the global generators of torch and numpy as if just seeded, then put them back.

    Parameters
    ----------
    seed : int
        Seed within the stretch.
    device : torch.device or None, default=None
        A CUDA device, which has a generator of its own; anything else adds nothing to the CPU's.

    Yields
    ------
    None
        Other threads that enter wait.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones import seeded
    >>> with seeded(0):
    ...     first = torch.rand(2)
    >>> with seeded(0):
    ...     second = torch.rand(2)
    >>> bool((first == second).all())
    True
    """
    with GLOBAL_RNG_LOCK, seeded_without_lock(seed, device):
        yield


@contextmanager
def seeded_without_lock(seed, device=None, *, python=False):
    """Seed the global generators of torch, numpy and, if asked for, Python, and put their states back."""
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        torch.cuda.init()
        generators.append(torch.cuda.default_generators[device.index])
    # torch.manual_seed would seed every accelerator, and nothing restores those.
    states = [generator.get_state() for generator in generators]
    # The legacy generator of numpy: a network of the user's own may draw its weights there.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    for generator in generators:
        generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    if python:
        random.seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if python:
            random.setstate(python_state)
