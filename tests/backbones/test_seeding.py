import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import sktl.backbones
from sktl.backbones.seeding import GLOBAL_RNG_LOCK, seeded, seeded_without_lock


def test_the_same_seed_gives_the_same_numbers():
    with seeded(3):
        first = torch.rand(4), np.random.rand(4)  # noqa: NPY002
    with seeded(3):
        second = torch.rand(4), np.random.rand(4)  # noqa: NPY002
    assert torch.equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_global_states_are_left_as_found():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with seeded(3):
        torch.rand(4)
        np.random.rand(4)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_threads_do_not_draw_from_each_other():
    def draw(seed):
        with seeded(seed):
            return torch.cat([torch.rand(1000) for _ in range(5)])

    state = torch.get_rng_state()
    expected = [draw(seed) for seed in range(16)]
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(draw, range(16)))
    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_numpy_seeds_beyond_32_bits_are_allowed():
    with seeded(2**40):
        torch.rand(1)


def test_pythons_generator_is_seeded_and_left_as_found_where_that_is_asked_for():
    state = random.getstate()
    drawn = []
    for _ in range(2):
        with seeded_without_lock(3, python=True):
            drawn.append(random.random())
    assert drawn[0] == drawn[1]
    assert random.getstate() == state
    with seeded(3):
        random.random()
    assert random.getstate() != state


def test_the_lock_is_found_under_its_former_name():
    assert sktl.backbones.GLOBAL_RANDOMNESS is sktl.backbones.GLOBAL_RNG_LOCK is GLOBAL_RNG_LOCK
    with pytest.raises(AttributeError, match=r"module 'sktl\.backbones' has no attribute 'GLOBAL_NOTHING'"):
        sktl.backbones.GLOBAL_NOTHING  # noqa: B018
