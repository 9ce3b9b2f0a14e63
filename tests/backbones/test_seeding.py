from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from sktl.backbones.seeding import seeded


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
