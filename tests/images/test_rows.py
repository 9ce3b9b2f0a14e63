"""Rows of numbers as pictures."""

import numpy as np
import pytest

from sktl.images import rows_as_images


@pytest.mark.parametrize("side", [1, 2, 8, 28])
def test_square_rows_are_grey_squares(side):
    rows = np.random.default_rng(0).random((3, side * side))
    images = rows_as_images(rows)
    assert len(images) == 3
    expected = rows[1].reshape(side, side).astype(np.float32)
    for channel in range(3):
        np.testing.assert_array_equal(images[1][..., channel], expected)


@pytest.mark.parametrize("n_features", [2, 3, 5, 12, 27, 60])
def test_other_rows_are_strips(n_features):
    assert rows_as_images(np.zeros((2, n_features)))[0].shape == (1, n_features, 3)


@pytest.mark.parametrize("side", [4, 5, 32, 224])
def test_rows_that_may_be_colour_are_ambiguous(side):
    with pytest.raises(ValueError, match=rf"image_shape=\({side}, {side}, 3\)"):
        rows_as_images(np.zeros((1, 3 * side * side)))


@pytest.mark.parametrize("shape", [(4, 15), (4, 5, 3), (1, 60), (60, 1, 1), (5, 3, 4), [4, 15], np.array([4, 15])])
def test_a_stated_shape_is_followed(shape):
    rows = np.random.default_rng(0).integers(0, 255, (2, 60)).astype(np.uint8)
    pixels = rows[1].reshape(tuple(shape))
    picture = rows_as_images(rows, image_shape=shape)[1]
    assert picture.shape == (*pixels.shape[:2], 3)
    if pixels.shape[-1:] == (3,):
        np.testing.assert_array_equal(picture, pixels)


def test_colour_rows_are_read_when_the_shape_is_stated():
    rows = np.arange(2 * 3072).reshape(2, 3072)
    np.testing.assert_array_equal(rows_as_images(rows, image_shape=(32, 32, 3))[1], rows[1].reshape(32, 32, 3))


@pytest.mark.parametrize("shape", [(4, 4), (61, 1), (10**10, 10**10), (4, 5, 4)])
def test_a_shape_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match="must multiply to the number of features, 60"):
        rows_as_images(np.zeros((2, 60)), image_shape=shape)


@pytest.mark.parametrize(
    "shape", [60, (60,), (4, 5, 3, 1), (-4, -15), (4.0, 15), (True, 60), (6, 5, 2), "ab", (3, 4, 5)]
)
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width\)"):
        rows_as_images(np.zeros((2, 60)), image_shape=shape)


def test_the_rows_are_not_copied():
    rows = np.zeros((2, 16))
    images = rows_as_images(rows)
    rows[1] = 1
    assert images[1].min() == 1
