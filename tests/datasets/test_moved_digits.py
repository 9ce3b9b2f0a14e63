"""Digits at random places: the same ink, anywhere on the page, and nothing that plain pixels could tell apart."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from sktl.datasets import load_moved_digits


@pytest.fixture(scope="module")
def moved():
    return load_moved_digits()


def test_each_digit_lies_whole_on_its_page(moved):
    images, y = moved
    digits = load_digits()
    assert images.shape == (1797, 16, 16)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(y, digits.target)
    for page, digit in zip(images, digits.images, strict=True):
        ink = np.rint(digit * 255 / 16)
        windows = np.lib.stride_tricks.sliding_window_view(page, (8, 8)).reshape(-1, 8, 8)
        assert (windows == ink).all((1, 2)).any()
        assert page.sum() == ink.sum()


def test_every_place_is_taken_equally_often(moved):
    images, _ = moved
    ink = images.any(0)
    assert ink[:, 2:-2].all()  # the outer columns of scikit-learn's digits are hardly ever inked
    rows = np.array([np.flatnonzero(page.any(1))[0] for page in images])  # the first row of a digit has ink in it
    counts = np.bincount(rows, minlength=9)[:9]
    assert counts.min() > 0.7 * 1797 / 9
    assert counts.max() < 1.3 * 1797 / 9


def test_a_seed_draws_the_places(moved):
    again, _ = load_moved_digits(random_state=0)
    other, _ = load_moved_digits(random_state=1)
    np.testing.assert_array_equal(moved[0], again)
    assert (moved[0] != other).any(axis=(1, 2)).mean() > 0.9


def test_pixels_alone_tell_little(moved):
    images, y = moved
    X, digits = images.reshape(len(y), -1) / 255, load_digits().data / 16
    scores = [
        LogisticRegression(max_iter=1000).fit(rows[:200], y[:200]).score(rows[200:800], y[200:800])
        for rows in (digits, X)
    ]
    assert scores[0] > 0.7
    assert scores[1] < 0.3
