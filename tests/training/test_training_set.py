"""Canonical form: copies merged, zero weights dropped, order forgotten; and the inner split."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sktl.images import as_images
from sktl.training._training_set import canonical, inner_split, merged_groups


def pictures(labels):
    return np.stack([np.full((4, 4, 3), label, dtype=np.uint8) for label in labels])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=20))
def test_weighted_rows_equal_repeated_rows(rows):
    shades, targets, weights = np.array(rows).T
    if not weights.any():
        return
    X = pictures(shades)
    indices, merged, place = canonical(as_images(X), targets, weights.astype(float))
    repeated = np.random.default_rng(0).permutation(np.repeat(np.arange(len(rows)), weights))
    again, counts, _ = canonical(as_images(X[repeated]), targets[repeated], np.ones(len(repeated)))
    assert_array_equal(shades[indices], shades[repeated][again])
    assert_array_equal(targets[indices], targets[repeated][again])
    assert_array_equal(merged, counts)
    assert_array_equal(place >= 0, weights > 0)
    assert_array_equal(np.c_[shades, targets][weights > 0], np.c_[shades, targets][indices][place[weights > 0]])


def test_one_image_with_two_targets_stays_two():
    indices, merged, _ = canonical(as_images(pictures([7, 7, 7])), np.array([0, 1, 1]), np.ones(3))
    assert len(indices) == 2
    assert sorted(merged) == [1, 2]


def test_the_inner_split_keeps_the_shares_of_the_classes():
    targets = np.repeat([0, 1], [80, 20])
    train, validation = inner_split(targets, True, 0.1, 0)
    assert_array_equal(np.bincount(targets[validation]), [8, 2])
    assert_array_equal(np.sort(np.r_[train, validation]), np.arange(100))


def test_the_inner_split_survives_a_class_with_one_image():
    train, validation = inner_split(np.array([0] * 9 + [1]), True, 0.2, 0)
    assert len(validation) == 2
    assert len(train) == 8


def test_too_few_images_to_split_is_an_error():
    with pytest.raises(ValueError, match="early_stopping=False"):
        inner_split(np.array([0, 1]), True, 0.5, 0)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=4, max_size=40),
    st.floats(0.05, 0.95),
    st.booleans(),
    st.integers(0, 3),
)
@example([(0, 0), (1, 0), (1, 0), (2, 0)], 0.5, False, 0)  # one or three may be set aside
def test_groups_are_never_torn_apart(rows, fraction, stratify, seed):
    groups, targets = np.array(rows).T
    if len(np.unique(groups)) < 2:
        return
    sizes = np.unique(groups, return_counts=True)[1]
    if len(rows) - max(1, round(fraction * len(rows)), sizes.max()) < 2 or fraction > 0.5:
        with suppress(ValueError):  # too few may be left to train on
            train, validation = inner_split(targets, stratify, fraction, seed, groups)
            assert not set(groups[train]) & set(groups[validation])
        return
    train, validation = inner_split(targets, stratify, fraction, seed, groups)
    assert_array_equal(np.sort(np.r_[train, validation]), np.arange(len(rows)))
    assert len(validation) > 0
    assert not set(groups[train]) & set(groups[validation])


def test_groups_of_one_size_are_set_aside_in_the_share_asked_for():
    groups = np.repeat(np.arange(20), 5)
    for fraction in (0.1, 0.2, 0.5, 0.8):
        train, validation = inner_split(np.repeat([0, 1], 50), True, fraction, 0, groups)
        assert len(validation) == 100 * fraction
        assert set(np.repeat([0, 1], 50)[train]) == {0, 1}


def test_groups_that_share_an_image_are_one():
    place = np.array([0, 1, 1, 2, 3, -1, 0])
    groups = np.array(["a", "b", "c", "c", "d", "d", "a"])
    merged = merged_groups(groups, place)
    assert merged[1] == merged[2]
    assert len({merged[0], merged[1], merged[3]}) == 3
