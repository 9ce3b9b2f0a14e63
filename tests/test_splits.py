"""Subsets are random, keep the shares of the classes, and are nested where that is asked for."""

import numpy as np
import pytest

from sktl._splits import nested_order, stratified_subset


@pytest.mark.parametrize(
    ("counts", "n_images", "expected"),
    [
        ([50, 50], 99, [50, 49]),
        ([10, 10, 10], 29, [10, 10, 9]),
        ([97, 2, 1], 10, [8, 1, 1]),
        ([97, 2, 1], 99, [96, 2, 1]),
        ([1, 1, 1, 1], 3, [1, 1, 1, 0]),
        ([60, 30, 10], 10, [6, 3, 1]),
    ],
)
def test_any_number_of_images_can_be_drawn_in_the_shares_of_the_classes(counts, n_images, expected):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = stratified_subset(y, n_images, seed=3)
    assert np.bincount(y[chosen], minlength=len(counts)).tolist() == expected
    assert len(np.unique(chosen)) == n_images
    np.testing.assert_array_equal(chosen, stratified_subset(y, n_images, seed=3))
    if n_images < 0.5 * len(y):
        assert chosen.tolist() != stratified_subset(y, n_images, seed=4).tolist()


@pytest.mark.parametrize("n_images", range(10, 41))
def test_drawn_numbers_are_the_shares_but_for_rounding_and_the_one_that_each_class_has(n_images):
    y = np.repeat(np.arange(4), [20, 15, 5, 1])
    drawn = np.bincount(y[stratified_subset(y, n_images, 0)], minlength=4)
    assert drawn.sum() == n_images
    assert drawn.min() >= 1
    assert np.abs(drawn - n_images * np.bincount(y) / 41).max() <= 1


def test_every_beginning_of_the_order_is_stratified_and_holds_every_class():
    classes = np.repeat([0, 1, 2, 3], [200, 60, 30, 3])
    order = nested_order(classes, 0)
    assert sorted(order) == list(range(len(classes)))
    for size in range(4, len(classes) + 1):
        counts = np.bincount(classes[order[:size]], minlength=4)
        assert counts.min() >= 1
        assert np.abs(counts - size * np.bincount(classes) / len(classes)).max() <= 2.5


def test_too_few_labels_for_all_classes_go_to_different_large_ones():
    classes = np.repeat([0, 1, 2], [5, 50, 20])
    assert classes[nested_order(classes, 3)[:2]].tolist() == [1, 2]


def test_the_seed_decides_about_the_subset():
    classes = np.repeat([0, 1], 50)
    np.testing.assert_array_equal(nested_order(classes, 1), nested_order(classes, 1))
    assert (nested_order(classes, 1) != nested_order(classes, 2)).any()
