"""Files, bytes and PIL images; plain Pillow is the oracle."""

import io
import os
import signal
import struct
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from sktl.exceptions import ImageReadError
from sktl.images import _pillow, read_image


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photo(height=24, width=30, seed=0):
    """A picture with flat areas and edges, so that every format compresses it in more than one piece."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((6, 6, 1), dtype=np.uint8)))


FILES = {
    "png": encoded(photo()),
    "png palette": encoded(photo().quantize(16)),
    "jpeg": encoded(photo(), "JPEG"),
    "jpeg progressive": encoded(photo(), "JPEG", progressive=True),
    "jpeg cmyk": encoded(photo().convert("CMYK"), "JPEG"),
    "gif": encoded(photo(), "GIF"),
    "gif animated": encoded(photo(), "GIF", save_all=True, append_images=[photo(seed=1)]),
    "bmp": encoded(photo(), "BMP"),
    "tiff": encoded(photo(), "TIFF"),
    "tiff lzw": encoded(photo(), "TIFF", compression="tiff_lzw"),
    "webp": encoded(photo(), "WEBP"),
    "webp lossless": encoded(photo(), "WEBP", lossless=True),
    "jpeg 2000": encoded(photo(), "JPEG2000"),
    "ppm": encoded(photo(), "PPM"),
    "ico": encoded(photo(), "ICO", sizes=[(24, 24)]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_pillow_shows(name):
    with Image.open(io.BytesIO(FILES[name])) as image:
        expected = np.asarray(image.convert("RGB"))
    picture = read_image(FILES[name])
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_opaque_mode_is_what_pillow_converts_to_rgb(mode):
    image = photo().convert("RGB")
    if mode == "LAB":
        image = Image.frombytes("LAB", image.size, image.tobytes())
    else:
        image = image.convert(mode)
    np.testing.assert_array_equal(read_image(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "La", "RGBa", "PA"])
def test_transparency_is_laid_over_white(mode):
    image = photo().convert("RGBA")
    image.putalpha(Image.fromarray(np.arange(24 * 30, dtype=np.uint8).reshape(24, 30)))
    if mode in ("La", "PA"):
        image = image.convert("LA")
    image = image.convert(mode)
    straight = image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", image.size, "white"), straight)
    difference = read_image(image).astype(int) - np.asarray(expected.convert("RGB"))
    assert np.abs(difference).max() <= 1  # the two round differently


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_becomes_white(mode):
    image = Image.new("RGB", (6, 6), "black").convert(mode)
    image.paste(Image.new("RGB", (3, 6), "white").convert(mode))
    hole = image.getpixel((5, 5))
    picture = read_image(encoded(image, "PNG", transparency=hole))
    np.testing.assert_array_equal(picture, 255)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_to_eight(form):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    picture = read_image(encoded(Image.fromarray(values), form))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[..., 0], np.rint(values / 257))
    np.testing.assert_array_equal(picture, read_image(values))


def test_big_endian_sixteen_bit_is_read():
    values = np.array([[0, 257], [65535, 25700]], dtype=">u2")
    image = Image.frombytes("I;16B", (2, 2), values.tobytes())
    np.testing.assert_array_equal(read_image(image)[..., 0], [[0, 1], [255, 100]])


def test_thirty_two_bit_integers_count_as_sixteen_bit_or_are_refused():
    np.testing.assert_array_equal(read_image(Image.fromarray(np.full((2, 2), 257, np.int32))), 1)
    for value in (65536, -1):
        with pytest.raises(ImageReadError, match="0 … 65535"):
            read_image(Image.fromarray(np.full((2, 2), value, np.int32)))


def test_floating_point_pictures_are_refused_with_a_way_out():
    image = Image.fromarray(np.zeros((2, 2), np.float32))
    for item in (image, encoded(image, "TIFF")):
        with pytest.raises(ImageReadError, match=r"numpy\.asarray"):
            read_image(item)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_to_files_and_pil_images(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), form, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_image(data), expected)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(read_image(image), expected)
        np.testing.assert_array_equal(read_image(image), expected)


def test_broken_exif_does_not_hide_a_readable_picture():
    wrong = [
        b"Exif\x00\x00junk",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01",
    ]
    for form in ("JPEG", "WEBP"):
        expected = read_image(encoded(photo(), form))
        for exif in wrong:
            np.testing.assert_array_equal(read_image(encoded(photo(), form, exif=exif)), expected)


def test_a_pil_image_is_not_changed():
    image = photo().quantize(16)
    before = image.tobytes(), image.mode, dict(image.info)
    read_image(image)[:] = 0
    assert (image.tobytes(), image.mode, dict(image.info)) == before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_cut_file_is_an_error_or_the_whole_picture(name, tolerant, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data = FILES[name]
    whole = read_image(data)
    cuts = np.random.default_rng(0).integers(0, len(data), 60)
    for cut in [*cuts, *range(len(data) - 8, len(data))]:
        try:
            picture = read_image(data[:cut])
        except ImageReadError:
            continue
        np.testing.assert_array_equal(picture, whole)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is tolerant


def test_a_jpeg_2000_cut_after_its_header_is_not_black():
    data = FILES["jpeg 2000"]
    header = data.find(b"\xff\x93")  # start of data
    for cut in range(header - 20, header + 20):
        with pytest.raises(ImageReadError):
            read_image(data[:cut])


def test_a_cut_file_opened_by_the_user_is_an_error_too(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(FILES["jpeg"][:-100])) as image, pytest.raises(ImageReadError, match="cut off"):
        read_image(image)


@given(st.binary(max_size=300))
def test_junk_is_never_anything_but_an_image_read_error(junk):
    try:
        picture = read_image(junk)
    except ImageReadError:
        return
    assert picture.shape[2] == 3  # some bytes do spell a picture


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_damaged_file_is_never_anything_but_an_image_read_error(name, data):
    content = bytearray(FILES[name])
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        read_image(bytes(content))
    except ImageReadError:
        return


def test_empty_and_foreign_content_is_named():
    with pytest.raises(ImageReadError, match="0 bytes"):
        read_image(b"")
    with pytest.raises(ImageReadError, match="format that Pillow reads"):
        read_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n")


def test_an_image_without_pixels_is_an_error():
    with pytest.raises(ImageReadError, match="must have pixels"):
        read_image(Image.new("RGB", (0, 5)))


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    data = encoded(photo())
    with Image.open(io.BytesIO(data)) as image:
        n_pixels = image.width * image.height
    for limit in (n_pixels - 1, n_pixels // 3):  # Pillow itself would only warn at the first
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(ImageReadError, match=r"bomb.*raise PIL\.Image\.MAX_IMAGE_PIXELS"):
                read_image(data)
        assert not caught
    for limit in (n_pixels, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(data).shape == (24, 30, 3)


def test_a_file_that_pillow_would_only_warn_of_is_not_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 30 - 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageReadError, match="bomb"):
        read_image(FILES["png"])


def test_an_icon_that_hides_its_size_is_refused(monkeypatch):
    inside = encoded(Image.new("RGB", (100, 100)))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + inside
    assert read_image(icon).shape == (100, 100, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    with pytest.raises(ImageReadError, match="100 × 100"):
        read_image(icon)


def test_a_bomb_costs_no_memory():
    """A header that claims 60000 × 60000 pixels must be refused at once."""
    data = bytearray(FILES["png"])
    data[16:24] = struct.pack(">II", 60000, 60000)
    with pytest.raises(ImageReadError):
        read_image(bytes(data))
    with pytest.raises(ImageReadError, match="bomb"):
        read_image(b"P6 60000 60000 255\n")


def test_metadata_warnings_are_silent_and_the_filters_are_left_as_found():
    data = bytearray(encoded(photo(), "TIFF"))
    exif = Image.Exif()
    exif[0x010E] = "a description that is long enough to be stored outside of the directory"
    jpeg = bytearray(encoded(photo(), "JPEG", exif=exif))
    position = jpeg.find(b"Exif\x00\x00") + 6 + 8 + 2 + 8  # where the description is said to lie
    jpeg[position : position + 4] = b"\x00\xff\xff\x00"
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(bytes(data))
        read_image(bytes(jpeg))
    assert not caught
    assert read_image(bytes(jpeg)).shape == (24, 30, 3)  # under warnings as errors
    assert list(warnings.filters) == before


def test_a_pil_image_is_loaded_by_one_thread_only():
    class Slow(Image.Image):
        readers, clashes, loaded = 0, 0, False

        def load(self):
            if not self.loaded:
                self.clashes += self.readers > 0
                self.readers += 1
                time.sleep(0.02)
                self.readers -= 1
                self.loaded = True
            return super().load()

    image = photo()
    image.__class__ = Slow
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(read_image, [image] * 4))
    assert image.clashes == 0
    for picture in pictures:
        np.testing.assert_array_equal(picture, np.asarray(photo()))


def test_threads_read_what_one_thread_reads_and_leave_pillow_as_found(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    opened = Image.open(io.BytesIO(FILES["jpeg"]))  # one image, not yet loaded, asked for by all threads at once
    items = [*FILES.values(), opened, opened, FILES["jpeg"][:-100]] * 6

    def read(item):
        try:
            return read_image(item)
        except ImageReadError:
            return None

    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read, items))
    for item, picture in zip(items, together, strict=True):
        alone = read(item)
        assert (picture is None) == (alone is None)
        np.testing.assert_array_equal(picture, alone)
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    assert list(warnings.filters) == filters
    opened.close()


@pytest.mark.parametrize("mode", ["P", "PA", "L", "LA", "RGBA", "RGB", "I;16", "1"])
def test_a_large_picture_is_what_a_small_one_is_and_costs_at_most_twice_its_pixels(mode, monkeypatch):
    image = photo(600, 480).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), 1125).reshape(600, 480)))
    if mode == "I;16":
        image = Image.fromarray(np.arange(600 * 480, dtype=np.uint16).reshape(600, 480))
    else:
        image = image.quantize(64).convert(mode) if mode in ("P", "PA") else image.convert(mode)
    image.info |= {"transparency": {"RGB": (0, 0, 0)}.get(mode, 3)} if mode in ("P", "L", "RGB") else {}
    exif = image.getexif()
    exif[0x0112] = 6
    small = read_image(image)
    monkeypatch.setattr(_pillow, "_BLOCK", 7000)
    np.testing.assert_array_equal(read_image(image), small)
    del exif[0x0112]
    tracemalloc.start()  # Pillow's own memory, at most four bytes for each pixel, does not count
    try:
        picture = read_image(image)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * picture.nbytes
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(np.rot90(picture, -1), small)


@pytest.mark.parametrize("n_forks", [8, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_reads_pil_images_leaves_a_child_that_reads(n_forks, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data, expected = encoded(photo(240, 240), "PNG"), np.asarray(photo(240, 240))
    stop, filters = threading.Event(), list(warnings.filters)

    def read_on():
        while not stop.is_set():
            read_image(Image.open(io.BytesIO(data)))

    def child():
        if not ImageFile.LOAD_TRUNCATED_IMAGES or warnings.filters != filters:
            return 2
        signal.alarm(20)  # ends a child that waits for ever
        with ThreadPoolExecutor(1) as pool:
            same = np.array_equal(pool.submit(read_image, Image.open(io.BytesIO(data))).result(), expected)
        return 0 if same and ImageFile.LOAD_TRUNCATED_IMAGES and warnings.filters == filters else 1

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_on) for _ in range(2)]
        codes = []
        for _ in range(n_forks):
            time.sleep(0.003)
            pid = os.fork()
            if pid == 0:
                code = 3
                try:
                    code = child()
                finally:
                    os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        stop.set()
        for reader in readers:
            reader.result()
    assert codes == [0] * n_forks
    assert warnings.filters == filters
