"""What is remembered: greedy centres, one order, and distances by the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

from sktl.anomaly_detection._memory_bank import MemoryBank, drawn_places, in_order, remember, thinned_out


def points(n, n_dimensions=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_dimensions)).astype(np.float32)


def greedily(patches, n, first):
    """The definition, in float64: each centre is the point farthest from those before it."""
    distances = cdist(patches.astype(np.float64), patches.astype(np.float64))
    centres = [first]
    while len(centres) < n:
        centres.append(int(distances[centres].min(0).argmax()))
    return centres


@pytest.mark.parametrize("seed", range(3))
def test_centres_are_those_of_the_definition(seed):
    patches = points(200, seed=seed)
    expected = greedily(patches, 30, np.random.RandomState(seed).randint(200))
    assert thinned_out(patches, 30, np.random.RandomState(seed)) == expected


def test_no_patch_is_taken_that_lies_on_another():
    patches = np.repeat(points(5), 4, axis=0)
    chosen = thinned_out(patches, 100, np.random.RandomState(0))
    assert sorted(patches[chosen].tolist()) == sorted(points(5).tolist())


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_vectors_have_one_order_and_know_the_image_that_alone_has_them(values, random):
    vectors = np.array(values, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    images = np.arange(len(values)) // 2
    found, owners = in_order(vectors, images)
    order = random.sample(range(len(values)), len(values))
    again, owners_again = in_order(vectors[order], images[order])
    assert_array_equal(found, again)
    assert_array_equal(owners, owners_again)
    assert found[:, 0].tolist() == sorted(set(values))
    for vector, owner in zip(found, owners, strict=True):
        of = set(images[(vectors == vector).all(1)].tolist())
        assert owner == (of.pop() if len(of) == 1 else -1)


def test_a_bank_is_the_same_in_any_order():
    patches, images, means = points(60), np.arange(60) // 6, points(10)
    one = remember(patches, images, means, 20, np.random.RandomState(0))
    order = np.random.default_rng(1).permutation(60)
    other = remember(patches[order], images[order], means, 20, np.random.RandomState(0))
    assert_array_equal(one.patches, other.patches)
    assert_array_equal(one.images, other.images)
    assert len(one.patches) == 20


def test_distances_are_exact_where_products_would_cancel():
    bank = MemoryBank(points(50) + 1000, np.full(50, -1), np.zeros((1, 5), np.float32))
    patches = np.concatenate([bank.patches[:3], bank.patches[3:6] + np.float32(0.5)])
    found = bank.distances(torch.from_numpy(patches)).numpy()
    assert_allclose(found, cdist(patches.astype(np.float64), bank.patches.astype(np.float64)).min(1), rtol=1e-4)
    assert (found[:3] == 0).all()


def test_an_image_that_was_remembered_is_judged_by_the_others():
    patches = points(12)
    images = np.repeat(np.arange(3), 4)
    means = np.stack([patches[images == i].mean(0) for i in range(3)])
    bank = MemoryBank(patches, images, means)
    for i in range(3):
        own = torch.from_numpy(patches[images == i])
        expected = cdist(own.numpy(), patches[images != i]).min(1)
        assert_allclose(bank.distances(own).numpy(), expected, rtol=1e-5)
        assert_allclose(bank.distances(own * (1 + 1e-7)).numpy(), expected, rtol=1e-4)
    assert_array_equal(bank.distances(torch.from_numpy(patches[:5])).numpy(), 0)  # another image, of the same patches


def test_a_single_image_is_judged_by_itself():
    patches = points(4)
    bank = MemoryBank(patches, np.zeros(4, int), patches.mean(0)[None])
    assert_array_equal(bank.distances(torch.from_numpy(patches)).numpy(), 0)


def test_the_content_of_an_image_draws_its_places():
    drawn = [drawn_places(1000, 0.3, bytes([i] * 16), 7) for i in range(50)]
    assert_allclose(np.mean(drawn), 0.3, atol=4 * np.sqrt(0.3 * 0.7 / 50_000))
    assert len({one.tobytes() for one in drawn}) == 50
    assert_array_equal(drawn_places(1000, 0.3, bytes([3] * 16), 7), drawn[3])
    assert not np.array_equal(drawn_places(1000, 0.3, bytes([3] * 16), 8), drawn[3])
    wider = drawn_places(1000, 0.6, bytes([3] * 16), 7)
    assert (wider | ~drawn[3]).all()
