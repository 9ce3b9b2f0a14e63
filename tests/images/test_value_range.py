"""The range of an estimator is what its user states, else what the images show."""

import numpy as np
import pytest

from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.images.value_range import fit_value_range

FLOATS = np.linspace(-2, 6, 32).reshape(2, 4, 4)


def test_a_stated_range_is_kept_as_it_was_written():
    assert repr(fit_value_range(as_images(FLOATS), [0, 255])) == "(0, 255)"


@pytest.mark.parametrize("images", [[FLOATS[0], FLOATS[1]], FLOATS.astype(np.uint8)])
@pytest.mark.parametrize("stated", [(1, 0), (0, np.inf), 255, (1, 2, 3)])
def test_a_stated_range_is_checked_whatever_the_images(images, stated):
    with pytest.raises(ValueError, match="value_range must be two finite numbers"):
        fit_value_range(as_images(images), stated)


def test_without_one_the_images_are_asked():
    assert fit_value_range(as_images(FLOATS)) == (-2.0, 6.0)
    assert fit_value_range(as_images(FLOATS.astype(np.uint8))) is None


def test_images_further_apart_than_a_number_can_say_are_refused():
    with pytest.raises(ValueError, match="value_range must be two finite numbers"):
        fit_value_range(as_images(FLOATS / 6 * 1.7e308))


def test_an_image_that_cannot_be_read_is_an_error_or_has_no_say():
    images = as_images([FLOATS[0], np.full((4, 4), np.nan)])
    with pytest.raises(ImageReadError, match="image 1"):
        fit_value_range(images)
    assert fit_value_range(images, on_error="nan") == (-2.0, FLOATS[0].max())
