"""The leading group: equal networks end in one, whatever their number, and clearly worse ones are outside of it."""

from dataclasses import replace

import numpy as np
import pytest

from sktl.comparison import FitRecord
from sktl.transferability._leading_group import best_of, intervals_to_leader


def comparison_of(right, template, repeats=1, seed=0):
    """Make a comparison from which images each network gets right: shape (n_networks, n_repeats, n_images)."""
    n_images = right.shape[-1]
    rng, y = np.random.default_rng(seed), np.arange(n_images) % 2
    folds = [fold for _ in range(repeats) for fold in np.array_split(rng.permutation(n_images), 5)]
    runs = []
    for network, rows in enumerate(right):
        for split, fold in enumerate(folds):
            hits = rows[split // 5][fold]
            predicted = np.where(hits, y[fold], 1 - y[fold]).tolist()
            runs.append(
                FitRecord(f"net{network}", split, {"accuracy": float(hits.mean())}, 1.0, 0.1, predicted=predicted)
            )
    splits = tuple((np.setdiff1d(np.arange(n_images), fold), fold) for fold in folds)
    facts = {"transfer": {f"net{network}": True for network in range(len(right))}, "seeds": tuple(range(len(folds)))}
    return replace(template, runs=tuple(runs), splits=splits, y=y, baseline="net0", **facts)


def group_of(comparison):
    names = comparison.candidates
    leader = best_of(comparison, names)
    return [
        leader,
        *(name for name, (_, high) in intervals_to_leader(comparison, leader, names).items() if not high < 0),
    ]


@pytest.fixture(scope="module")
def template(make_ranking):
    return make_ranking({"a": (0.9, 0.1)}).comparison


def equal_networks(n_networks, n_images, rng, repeats=1, share=0.8):
    """Networks of one quality that agree about as much as networks do: some images are hard for all."""
    hardness = rng.beta(4 * share, 4 * (1 - share), n_images)
    return rng.random((n_networks, repeats, n_images)) < hardness


def test_two_networks_are_compared_with_the_plain_interval(template):
    comparison = comparison_of(equal_networks(2, 100, np.random.default_rng(0)), template)
    leader = best_of(comparison, comparison.candidates)
    (found,) = intervals_to_leader(comparison, leader, comparison.candidates).values()
    row = next(row for row in replace(comparison, baseline=leader).rows() if row.candidate != leader)
    assert found == pytest.approx((row.low, row.high))


def test_more_networks_widen_the_interval_of_the_same_two(template):
    right = equal_networks(10, 100, np.random.default_rng(0))
    comparison = comparison_of(right, template)
    two = intervals_to_leader(comparison, "net0", ["net0", "net1"])["net1"]
    ten = intervals_to_leader(comparison, "net0", comparison.candidates)["net1"]
    assert ten[0] < two[0] <= two[1] < ten[1]


def test_a_network_that_is_clearly_worse_is_outside_however_many_there_are(template):
    rng = np.random.default_rng(0)
    right = np.concatenate([equal_networks(9, 200, rng, share=0.95), equal_networks(1, 200, rng, share=0.6)])
    assert sorted(group_of(comparison_of(right, template))) == [f"net{i}" for i in range(9)]


def test_the_same_predictions_under_several_names_are_one_group(template):
    right = np.repeat(equal_networks(1, 60, np.random.default_rng(0)), 4, axis=0)
    assert group_of(comparison_of(right, template)) == ["net0", "net1", "net2", "net3"]


@pytest.mark.slow
@pytest.mark.parametrize(("n_networks", "n_images", "repeats"), [(2, 60, 1), (2, 200, 3), (10, 60, 1), (10, 200, 2)])
def test_equal_networks_end_in_one_group_in_95_of_100_cases(template, n_networks, n_images, repeats):
    rng, whole = np.random.default_rng(5), 0
    for simulation in range(500):
        right = equal_networks(n_networks, n_images, rng, repeats)
        whole += len(group_of(comparison_of(right, template, repeats, seed=simulation))) == n_networks
    assert whole >= 0.95 * 500
