"""Leaks are counted by split, and the first of them are named."""

import numpy as np

from sktl.near_duplicates import find_leaks


def test_find_leaks_takes_masks_and_names_as_many_as_asked_for():
    groups = ["a", "b", "a", "a"]
    train = np.array([True, True, False, False])
    found = find_leaks(groups, [(train, ~train)], most=1)
    assert found.counts.tolist() == [2]
    assert found.pairs == ((0, 0, 2),)
