"""The range of an estimator is what its user states, else what the images show."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.feature_extraction import PixelFeatures
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


TWELVE_BIT = np.random.default_rng(0).integers(0, 4096, (6, 7)).astype(np.uint16)


def encoded(image, form="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def png_of_16_bit_colour():
    rows = b"".join(b"\0" + row.tobytes() for row in np.stack([TWELVE_BIT] * 3, axis=2).astype(">u2"))
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 7, 6, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(rows), b"IEND")
    framed = (struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


WIDE = {
    "png": encoded(Image.fromarray(TWELVE_BIT)),
    "tiff": encoded(Image.fromarray(TWELVE_BIT), "TIFF"),
    "tiff of 32 bits": encoded(Image.fromarray(TWELVE_BIT.astype(np.int32)), "TIFF"),
    "tiff of floats": encoded(Image.fromarray(TWELVE_BIT.astype(np.float32)), "TIFF"),
    "pil": Image.fromarray(TWELVE_BIT),
    "pil, other order": Image.frombytes("I;16B", (7, 6), TWELVE_BIT.astype(">u2").tobytes()),
    "pil of 32 bits": Image.fromarray(TWELVE_BIT.astype(np.int32) * 1000 - 70_000),
    "pil of floats": Image.fromarray(TWELVE_BIT.astype(np.float32) / 3),
}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("limits", [(0, 4095), (100, 2000), (0.5, 70_000)])
def test_files_and_pil_images_of_more_than_8_bits_follow_a_stated_range_as_arrays_do(name, limits, tmp_path):
    item, pixels = WIDE[name], TWELVE_BIT.astype(np.float64)
    if not isinstance(item, bytes):
        pixels = np.asarray(item).astype(np.float64)
    else:
        (tmp_path / "file").write_bytes(item)
    expected = as_images([pixels]).with_value_range(limits)[0]
    for each in (item, str(tmp_path / "file")) if isinstance(item, bytes) else (item,):
        images = as_images([each]).with_value_range(limits)
        np.testing.assert_array_equal(images[0], expected)
        np.testing.assert_allclose(images[0][..., 1], (pixels - limits[0]) / (limits[1] - limits[0]), rtol=1e-5)


@pytest.mark.parametrize("name", ["png", "tiff", "pil", "pil, other order"])
def test_without_a_stated_range_16_bits_are_0_to_65535(name):
    for images in (as_images([WIDE[name]]), as_images([WIDE[name]]).with_value_range((0, 4095), learned=True)):
        assert images[0].dtype == np.uint8
        np.testing.assert_array_equal(images[0][..., 0], np.rint(TWELVE_BIT / 257))


def test_ranges_of_one_file_have_digests_of_their_own_and_8_bits_only_one():
    deep, flat = as_images([WIDE["png"]]), as_images([encoded(Image.new("RGB", (4, 5)))])
    others = [(0, 4095), (0, 4096), (1, 4095)]
    assert len({deep.digest(0), *(deep.with_value_range(each).digest(0) for each in others)}) == 4
    assert deep.with_value_range((0, 4095), learned=True).digest(0) == deep.digest(0)
    assert {flat.with_value_range(each).digest(0) for each in others} == {flat.digest(0)}
    broken = as_images([WIDE["png"][:30]]).with_value_range((0, 1))
    assert broken.digest(0) == as_images([WIDE["png"][:30]]).digest(0)


def test_colour_of_which_pillow_drops_half_the_bits_is_refused_where_they_matter():
    data = png_of_16_bit_colour()
    for images in (as_images([data]), as_images([data]).with_value_range((0, 65535))):
        np.testing.assert_array_equal(images[0][..., 2], TWELVE_BIT >> 8)
    with Image.open(io.BytesIO(data)) as opened:
        for item in (data, opened):
            with pytest.raises(ImageReadError, match="16-bit colour instead, of which Pillow keeps the upper 8 bits"):
                as_images([item]).with_value_range((0, 4095))[0]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_stated_range_without_effect_is_said(form):
    image = Image.new("RGB", (8, 8), "orange")
    for item in (image, encoded(image, form)):
        with pytest.warns(UserWarning, match=r"value_range=\(0, 4095\) has no effect on .* 8 bits, such as image 0: "):
            assert fit_value_range(as_images([item]), (0, 4095)) == (0, 4095)
        fit_value_range(as_images([item]), (0, 255))  # and it need not have one
    for item in (WIDE["png"], WIDE["pil"], TWELVE_BIT, "missing.png"):
        fit_value_range(as_images([item]), (0, 4095))


def test_features_of_files_are_those_of_their_arrays_under_a_stated_range():
    files, arrays = [WIDE["png"], WIDE["tiff"]], np.stack([TWELVE_BIT] * 2)
    features = [PixelFeatures(size=4, value_range=(0, 4095)).fit_transform(X) for X in (files, arrays)]
    np.testing.assert_array_equal(*features)
    assert features[0].max() > 0.5
