"""The nearest neighbour's answer equals scikit-learn's, image by image, whatever is tied, empty or large."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneGroupOut, LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sktl.transferability import _nearest_neighbour, nearest_neighbour_score

ONE = {"n_neighbors": 1, "metric": "cosine", "algorithm": "brute"}


def some_data(n=36, n_features=12, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=n)
    return generator.normal(size=(n, n_features)) + labels[:, None], labels


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("block", [2**23, 130, 1])  # at once, in blocks of two rows, one by one
def test_accuracy_is_that_of_scikit_learn_leaving_out_each_image_in_turn(kind, block, monkeypatch):
    monkeypatch.setattr(_nearest_neighbour, "BLOCK", block)
    features, labels = some_data()
    told = cross_val_predict(KNeighborsClassifier(**ONE), features.astype(kind), labels, cv=LeaveOneOut())
    names = np.array(["a", "b", "c"])[labels]
    assert nearest_neighbour_score(features.astype(kind), names) == pytest.approx(np.mean(told == labels))


@pytest.mark.parametrize("n_targets", [1, 2])
def test_r2_is_that_of_scikit_learn(n_targets):
    features, _ = some_data()
    numbers = features[:, :n_targets] ** 2 + 0.3
    numbers = numbers[:, 0] if n_targets == 1 else numbers
    told = cross_val_predict(KNeighborsRegressor(**ONE), features, numbers, cv=LeaveOneOut())
    assert nearest_neighbour_score(features, numbers) == pytest.approx(r2_score(numbers, told))


def test_images_of_one_group_are_no_neighbours():
    features, labels = some_data()
    groups = np.repeat(np.arange(12), 3)
    told = cross_val_predict(KNeighborsClassifier(**ONE), features, labels, cv=LeaveOneGroupOut(), groups=groups)
    assert nearest_neighbour_score(features, labels, groups=groups) == pytest.approx(np.mean(told == labels))
    copies = np.vstack([features] * 2)
    twice, which = np.tile(labels, 2), np.tile(np.arange(36), 2)
    assert nearest_neighbour_score(copies, twice) == 1
    alone = nearest_neighbour_score(features, labels)
    assert nearest_neighbour_score(copies, twice, groups=which) == pytest.approx(alone)


def test_images_equally_near_count_by_equal_shares():
    features = [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    # Each of the first three has the two others at distance 0; the last two have each other.
    assert nearest_neighbour_score(features, ["a", "a", "b", "c", "b"]) == pytest.approx((0.5 + 0.5 + 0 + 0 + 0) / 5)
    expected = r2_score([0.5, 1, 4, 2, 2], [2.5, 2.25, 0.75, 2, 2])
    assert nearest_neighbour_score(features, [0.5, 1, 4, 2, 2]) == pytest.approx(expected)


def test_zeros_are_equally_far_from_all_others():
    assert nearest_neighbour_score(np.zeros((4, 2)), [0, 0, 0, 1]) == pytest.approx((2 / 3 * 3 + 0) / 4)
    # A vector of zeros at distance 1 is nearer than one in the opposite direction, at distance 2.
    assert nearest_neighbour_score([[1.0], [-1.0], [0.0]], ["a", "b", "a"]) == pytest.approx((1 + 0 + 0.5) / 3)


@settings(max_examples=25, deadline=None)
@given(
    features=arrays(np.int8, st.tuples(st.integers(3, 12), st.integers(1, 4)), elements=st.integers(-2, 2)),
    magnitude=st.sampled_from([1e-200, 1.0, 1e200]),
    data=st.data(),
)
def test_neither_order_nor_scale_of_the_vectors_matters(features, magnitude, data):
    n = len(features)
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n).filter(lambda y: len(set(y)) > 1)))
    order = np.array(data.draw(st.permutations(range(n))))
    expected = nearest_neighbour_score(features.astype(float), labels)
    assert 0 <= expected <= 1
    lengths = np.random.default_rng(0).uniform(0.5, 2, size=(n, 1))
    assert nearest_neighbour_score(features * lengths * magnitude, labels) == pytest.approx(expected)
    assert nearest_neighbour_score(features[order].astype(float), labels[order]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (["a", "a", "a"], None, "at least two classes"),
        (["a", "b", "a"], [1, 1, 1], "at least two different groups"),
        (["a", "b", "a"], [1, 2], "inconsistent numbers of samples"),
        ([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]], None, "at least two different numbers"),
    ],
)
def test_what_cannot_be_scored_is_named(y, groups, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbour_score([[1.0], [2.0], [3.0]], y, groups=groups)
