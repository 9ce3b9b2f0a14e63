"""One item, of any kind."""

import io
import os
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.images import read_image


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path, picture):
    path = tmp_path / "cat.png"
    path.write_bytes(png(picture))
    return path


@given(hnp.arrays(np.uint8, st.tuples(st.integers(5, 9), st.integers(5, 9), st.sampled_from([3, 4]))))
def test_array_pil_image_and_bytes_are_one_picture(pixels):
    expected = read_image(pixels)
    for item in (Image.fromarray(pixels), png(pixels), bytearray(png(pixels)), memoryview(png(pixels))):
        np.testing.assert_array_equal(read_image(item), expected)


def test_str_path_and_numpy_string_are_read(path, picture):
    for item in (str(path), path, np.str_(path)):
        np.testing.assert_array_equal(read_image(item), picture)


def test_a_file_is_closed_after_reading(path):
    read_image(path)
    os.remove(path)  # fails on some systems while a file is open, and a forgotten one warns here
    with pytest.raises(ImageReadError, match=r"does not exist"):
        read_image(path)


@pytest.mark.parametrize("item", [None, float("nan"), pd.NA, pd.NaT, 3, 2.5, [[1, 2]], {"a": 1}, object()])
def test_junk_and_missing_values_are_errors_of_one_picture(item):
    with pytest.raises(ImageReadError, match=r"image 5: .*must be a path") as caught:
        read_image(item, index=5)
    assert caught.value.index == 5


def test_missing_values_are_called_so():
    for item in (None, float("nan")):
        with pytest.raises(ImageReadError, match="a missing value"):
            read_image(item)


def test_the_error_carries_index_and_path_and_survives_pickling(tmp_path):
    missing = tmp_path / "no.png"
    with pytest.raises(ImageReadError) as caught:
        read_image(missing, index=7)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.index, error.path) == (7, str(missing))
    assert str(error).startswith(f"image 7 ({str(missing)!r}): the file does not exist")


def test_a_folder_an_empty_file_and_a_text_are_named(tmp_path):
    with pytest.raises(ImageReadError, match="load_image_folder"):
        read_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageReadError, match=r"empty\.png.*0 bytes"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageReadError, match=r"text\.png.*must be an image"):
        read_image(tmp_path / "text.png")


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 5000, "", "cat.png/dog.png"])
def test_an_impossible_path_is_an_image_read_error(path):
    with pytest.raises(ImageReadError):
        read_image(path)


@pytest.fixture
def huge(tmp_path):
    """Make files of 3 GB that take no room, with some bytes at the beginning."""

    def make(start):
        path = tmp_path / "huge.jpg"
        with open(path, "wb") as file:
            file.write(start)
            file.truncate(3 * 2**30)
        if getattr(path.stat(), "st_blocks", 2**30) > 1000:
            pytest.skip("this file system has no sparse files")
        return path

    return make


@pytest.mark.parametrize(
    ("start", "message"), [(b"", "must be an image in a format"), (b"\xff\xd8\xff", "at most .* bytes")]
)
def test_a_huge_file_is_refused_before_it_is_read(huge, start, message):
    path = huge(start)
    tracemalloc.start()
    try:
        with pytest.raises(ImageReadError, match=rf"huge\.jpg.*{message}"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_largest_file_follows_the_limit_of_pixels(path, picture, monkeypatch):
    content = path.read_bytes()
    path.write_bytes(content + bytes(2**26 + 8 * 50 - len(content)))  # what follows the end of a PNG does not matter
    for limit, is_read in ((50, True), (49, False), (None, True)):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        if is_read:
            np.testing.assert_array_equal(read_image(path), picture)
        else:
            with pytest.raises(ImageReadError, match=r"raise PIL\.Image\.MAX_IMAGE_PIXELS"):
                read_image(path)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp", "jp2", "ppm", "ico", "qoi", "avif"])
def test_the_first_bytes_of_every_format_are_known(tmp_path, picture, ending):
    path = tmp_path / f"picture.{ending}"
    sizes = {"sizes": [picture.shape[1::-1]]} if ending == "ico" else {}  # before Pillow 13 none below 16 pixels
    try:
        Image.fromarray(picture).save(path, **sizes)
    except (ValueError, OSError, KeyError):
        pytest.skip("this Pillow does not write the format")
    np.testing.assert_array_equal(read_image(path), read_image(path.read_bytes()))


def test_a_closed_pil_image_is_an_image_read_error(path):
    image = Image.open(path)
    image.close()
    with pytest.raises(ImageReadError, match=r"cat\.png"):
        read_image(image)


def test_a_pipe_socket_or_device_is_refused_rather_than_waited_for(special_file):
    for item in (special_file, str(special_file)):
        with pytest.raises(ImageReadError, match=r"must name a regular file\. Got a pipe, socket or device instead"):
            read_image(item)
