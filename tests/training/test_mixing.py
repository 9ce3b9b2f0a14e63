"""Mixing follows the papers, and weights count as copies."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sktl.training._mixing import _partners, mix


def global_states():
    return torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002


def batch(n=8, shape=(2, 6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.eye(n)  # a target says which rows went in, and with which share
    return torch.rand((n, *shape), generator=generator), targets, torch.ones(n)


def shares(targets):
    """Share of the own row and number of the partner, for each mixed row."""
    own = targets.diagonal()
    return own, (targets - torch.diag(own)).argmax(1)


def test_nothing_is_mixed_when_both_are_off():
    inputs, targets, weights = batch()
    for mixed, plain in zip(mix(inputs, targets, weights, 0, 0, np.random.default_rng(0)), batch(), strict=True):
        assert torch.equal(mixed, plain)


@pytest.mark.parametrize("shape", [(2, 6, 5), (7, 4), (9,)])
def test_mixup_takes_the_same_share_of_inputs_and_targets(shape):
    inputs, targets, weights = batch(shape=shape)
    for seed in range(20):
        mixed, shared, same = mix(inputs, targets, weights, 0.4, 0, np.random.default_rng(seed))
        assert_allclose(shared.sum(1), 1, atol=1e-6)
        # targets are unit vectors, so what they became are the coefficients
        assert_allclose(mixed, torch.tensordot(shared, inputs, dims=1), atol=1e-6)
        assert torch.equal(same, weights)
        own, _ = shares(shared)
        assert len({round(value, 5) for value in own.tolist()} - {1.0}) <= 1  # one share for the batch


def test_shares_follow_the_beta_distribution():
    inputs, targets, weights = batch(2, (1,))
    for alpha in (0.2, 1.0, 4.0):
        rng = np.random.default_rng(0)
        drawn = np.array([float(mix(inputs, targets, weights, alpha, 0, rng)[1][0, 0]) for _ in range(800)])
        drawn = drawn[drawn < 1]  # without those whose partner is the row itself
        assert abs(drawn.mean() - 0.5) < 0.06
        assert abs(drawn.var() - 1 / (4 * (2 * alpha + 1))) < 0.03


@pytest.mark.parametrize("shape", [(2, 12, 10), (1, 2, 2), (3, 7, 7)])
def test_cutmix_pastes_one_box_and_its_share_is_the_area(shape):
    inputs, targets, weights = batch(shape=shape)
    areas = set()
    for seed in range(40):
        mixed, shared, _ = mix(inputs, targets, weights, 0, 1.0, np.random.default_rng(seed))
        own, partners = shares(shared)
        for row in range(len(inputs)):
            if own[row] == 1:
                assert torch.equal(mixed[row], inputs[row])
                continue
            foreign = (mixed[row] != inputs[row]).all(0)
            assert torch.equal(foreign, (mixed[row] != inputs[row]).any(0))
            assert torch.equal(mixed[row][:, foreign], inputs[partners[row]][:, foreign])
            lines, columns = foreign.any(1).nonzero(), foreign.any(0).nonzero()
            box = (lines.max() - lines.min() + 1) * (columns.max() - columns.min() + 1)
            assert box == foreign.sum()
            assert float(1 - own[row]) == pytest.approx(float(foreign.float().mean()), abs=1e-6)
            areas.add(int(box))
    assert len(areas) > 1


def test_with_both_on_each_has_half_of_the_batches():
    inputs, targets, weights = batch(4, (1, 8, 8))
    rng, cut = np.random.default_rng(0), 0
    for _ in range(300):
        mixed, _, _ = mix(inputs, targets, weights, 0.8, 1.0, rng)
        cut += bool(torch.isin(mixed, inputs).all())
    assert 110 < cut < 190


def test_one_generator_one_result_and_the_arguments_stay():
    inputs, targets, weights = batch()
    before, states = inputs.clone(), global_states()
    for arguments in ((1.0, 0), (0, 1.0), (1.0, 1.0)):
        first, second = (mix(inputs, targets, weights, *arguments, np.random.default_rng(4)) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(inputs, before)
    assert global_states() == states


def test_bytes_become_floats_from_0_to_1():
    inputs = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    for arguments in ((0, 0), (1.0, 0), (0, 1.0)):
        mixed, _, _ = mix(inputs, torch.eye(2), torch.ones(2), *arguments, np.random.default_rng(0))
        assert_allclose(mixed, torch.ones(2, 3, 4, 4), atol=1e-6)


def test_numbers_are_mixed_like_shares():
    inputs, numbers = torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0], [20.0]])
    mixed, targets, _ = mix(inputs, numbers, torch.ones(2), 1.0, 0, np.random.default_rng(1))
    assert_allclose(targets, 10 + 10 * mixed, rtol=1e-6)


def mean_terms(multiplicity, weights, alpha, n_draws=4000):
    """Weighted mean of the coefficients with which each row goes into each, summed over copies."""
    rows = np.repeat(np.arange(3), multiplicity)
    weights = torch.as_tensor(weights, dtype=torch.float32)
    sums, rng = np.zeros((3, 3)), np.random.default_rng(0)
    for _ in range(n_draws):
        _, shared, returned = mix(torch.zeros(len(rows), 1), torch.eye(3)[rows], weights, alpha, 0, rng)
        terms = shared.numpy() ** 2 * returned.numpy()[:, None]  # a loss that is not linear shows the pairs
        np.add.at(sums, rows, terms)
    return sums / n_draws


def test_a_weight_counts_as_copies_on_average():
    copied = mean_terms([1, 2, 3], np.ones(6), 1.0)
    weighted = mean_terms([1, 1, 1], [1, 2, 3], 1.0)
    assert_allclose(weighted, copied, atol=0.05)


def test_a_row_of_weight_zero_is_nobodys_partner():
    inputs, targets, weights = batch(4)
    weights[1] = 0
    for seed in range(50):
        _, shared, same = mix(inputs, targets, weights, 1.0, 0, np.random.default_rng(seed))
        assert shared[[0, 2, 3], 1].max() == 0
        assert torch.equal(same, weights)
    mix(inputs, targets, torch.zeros(4), 1.0, 0, np.random.default_rng(0))


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.integers(0, 1000))
def test_partners_are_drawn_as_evenly_as_the_weights_allow(weights, seed):
    weights = np.array(weights)
    counts = np.bincount(_partners(weights, np.random.default_rng(seed)), minlength=len(weights))
    expected = weights / weights.sum() * len(weights)
    assert (np.abs(counts - expected) < 1 + 1e-9).all()
    equal = _partners(np.ones(len(weights)), np.random.default_rng(seed))
    assert_array_equal(np.sort(equal), np.arange(len(weights)))


@pytest.mark.parametrize("shape", [(7, 4), (9,), (3, 1, 5), (3, 1, 1)])
def test_cutmix_needs_height_and_width(shape):
    with pytest.raises(ValueError, match=r"cutmix must be 0 where .* instead\. Use mixup"):
        mix(*batch(shape=shape), 0.2, 1.0, np.random.default_rng(0))
