import numpy as np
import pytest

from sktl.images.pixels import as_bytes


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_become_the_nearest_byte_and_stay_between_black_and_white(kind):
    picture = np.array([[-0.5, 0, 0.4 / 255, 0.6 / 255, 0.5, 254.6 / 255, 1, 7]], dtype=kind)
    bytes_ = as_bytes(picture)
    assert bytes_.dtype == np.uint8
    assert bytes_.tolist() == [[0, 0, 0, 1, 128, 255, 255, 255]]


def test_bytes_stay_as_they_are():
    picture = np.arange(12, dtype=np.uint8)
    assert as_bytes(picture) is picture
