"""Arrays of pixels in any layout and dtype."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sktl.exceptions import ImageReadError
from sktl.images import read_image

SIDES = st.integers(5, 9)  # not 1, 3 or 4, so that a shape has one meaning


@st.composite
def pictures(draw, dtypes):
    shape = draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 3, 4]))
    return draw(hnp.arrays(draw(st.sampled_from(dtypes)), shape))


@given(pictures([np.uint8, np.bool_, np.uint16, np.int64, np.int8]))
def test_channels_first_and_last_are_the_same_picture(pixels):
    expected = read_image(pixels)
    np.testing.assert_array_equal(read_image(np.moveaxis(pixels, 2, 0)), expected)
    assert expected.shape == (*pixels.shape[:2], 3)
    if pixels.shape[2] == 1:
        np.testing.assert_array_equal(read_image(pixels[..., 0]), expected)


@given(pictures([np.uint8, np.bool_, np.int64, np.int8]))
def test_a_tensor_is_the_same_picture(pixels):
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    np.testing.assert_array_equal(read_image(tensor), read_image(pixels))


def test_uint8_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_image(pixels), pixels)


def test_bool_becomes_black_and_white():
    assert read_image(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_is_rounded_to_eight(order):
    values = np.arange(65536, dtype=f"{order}u2").reshape(256, 256)
    expected = np.rint(values.astype(np.float64) * 255 / 65535)
    np.testing.assert_array_equal(read_image(values)[..., 0], expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int32, np.uint32, np.int8])
def test_floats_and_wide_integers_keep_their_values_in_float32(dtype):
    values = np.array([[0, 1], [7, 100]], dtype=dtype)
    picture = read_image(values)
    assert picture.dtype == np.float32
    np.testing.assert_array_equal(picture[..., 1], values.astype(np.float32))


def test_bfloat16_tensors_on_a_graph_are_read():
    tensor = torch.full((2, 3), 0.5, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(read_image(tensor), np.full((2, 3, 3), 0.5, dtype=np.float32))


@pytest.mark.parametrize("scale", [255, 1.0])
def test_opacity_is_laid_over_white(scale):
    rng = np.random.default_rng(0)
    pixels = rng.random((16, 16, 4))
    if scale == 255:
        pixels = (pixels * 255).astype(np.uint8)
    colour, opacity = pixels[..., :3].astype(float), pixels[..., 3:].astype(float) / scale
    exact = colour * opacity + scale * (1 - opacity)
    expected = np.rint(exact) if scale == 255 else exact
    np.testing.assert_allclose(read_image(pixels), expected, atol=1e-6)


def test_a_shape_with_two_meanings_is_channels_last_in_arrays_and_first_in_tensors():
    pixels = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    pixels[..., 3] = 255
    assert read_image(pixels).shape == (3, 4, 3)
    assert read_image(torch.from_numpy(pixels)).shape == (4, 4, 3)


def test_a_picture_is_a_contiguous_writable_copy():
    for pixels in (np.zeros((5, 5, 3), np.uint8), np.zeros((3, 5, 5), np.float32), np.zeros((5, 5), np.uint8)):
        picture = read_image(pixels)
        assert picture.flags.c_contiguous
        assert picture.flags.writeable
        picture[:] = 1
        assert not pixels.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_in_float32_is_an_error(bad):
    pixels = np.zeros((5, 5))
    pixels[2, 3] = bad
    with pytest.raises(ImageReadError, match=r"image 4: .*finite"):
        read_image(pixels, index=4)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((5, 6, 2)), "1, 3 or 4 channels"),
        (np.zeros((5, 6, 5)), "1, 3 or 4 channels"),
        (np.zeros(5), "two dimensions"),
        (np.zeros(()), "two dimensions"),
        (np.zeros((2, 5, 5, 3)), "two dimensions"),
        (np.zeros((0, 5)), "must have pixels"),
        (np.zeros((5, 0, 3)), "must have pixels"),
        (np.zeros((5, 5), dtype=complex), "dtype complex128"),
        (np.zeros((5, 5), dtype="M8[s]"), "dtype datetime64"),
        (np.full((5, 5), "a"), "dtype <U1"),
        (np.zeros((5, 5), dtype=object), "dtype object"),
        (torch.zeros((5, 5), dtype=torch.complex64), "dtype complex64"),
    ],
)
def test_what_is_no_picture_is_a_clear_error(pixels, message):
    with pytest.raises(ImageReadError, match=message):
        read_image(pixels)
