"""A picture of which a part is missing is an error where the format can tell; whole ones are as Pillow reads them."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from sktl.exceptions import ImageReadError
from sktl.images import read_image


def encoded(image, form="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def scene(height=90, width=120):
    """A picture with something in every block, so that none of them is a guess."""
    noise = np.random.default_rng(0).normal(128, 45, (height, width, 3))
    smooth = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3 + np.linspace(-60, 60, width)[None, :, None]
    return Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8))


SCENE = scene()
JPEGS = {
    "baseline": encoded(SCENE),
    "without subsampling": encoded(SCENE, subsampling=0),
    "optimized": encoded(SCENE, optimize=True, quality=40),
    "grey": encoded(SCENE.convert("L")),
    "cmyk": encoded(SCENE.convert("CMYK")),
    "progressive": encoded(SCENE, progressive=True),
    "progressive grey": encoded(SCENE.convert("L"), progressive=True),
    "restarts by rows": encoded(SCENE, restart_marker_rows=1),
    "restarts by blocks": encoded(SCENE, restart_marker_blocks=5),
    "progressive with restarts": encoded(SCENE, progressive=True, restart_marker_rows=1),
    "several pictures": encoded(SCENE, "MPO", save_all=True, append_images=[SCENE.rotate(90)]),
}
PNGS = {
    "png": encoded(SCENE, "PNG"),
    "png with a palette": encoded(SCENE.quantize(64), "PNG"),
    "png of 16 bits": encoded(Image.fromarray(np.arange(9000, dtype=np.uint16).reshape(90, 100)), "PNG"),
}
ICON = encoded(SCENE, "ICO", sizes=[(64, 48), (32, 24)])
ENDINGS = {
    "zeros": lambda data, cut: data[:cut] + bytes(len(data) - cut),
    "ones": lambda data, cut: data[:cut] + b"\xff" * (len(data) - cut),
    "nothing": lambda data, cut: data[:cut],
    "its last bytes": lambda data, cut: data[:cut] + data[-12:],
}


def as_pillow_shows(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_jpeg_is_not_returned_in_part(name, ending, tolerant, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data = JPEGS[name]
    if name == "several pictures":  # the end of the first is what counts
        data = data[: data.index(b"\xff\xd9\xff\xd8") + 2]
    end = b"\xff\xd9" if ending == "its last bytes" else data[-12:]
    for cut in np.linspace(300, len(data) - 40, 25).astype(int):
        with pytest.raises(ImageReadError, match=r"damaged or cut off|format that Pillow reads"):
            read_image(ENDINGS[ending](data[: -len(end)] + end, cut))


@given(name=st.sampled_from(sorted(JPEGS)), share=st.floats(0.1, 0.99), filler=st.binary(max_size=1))
@settings(max_examples=150, deadline=None)
def test_a_jpeg_cut_anywhere_and_closed_is_an_error(name, share, filler):
    data = JPEGS[name]
    start, end = data.index(b"\xff\xda"), data.index(b"\xff\xd9")
    cut = start + int(share * (end - start - 8))
    with pytest.raises(ImageReadError):
        read_image(data[:cut] + filler.replace(b"\xff", b"") + b"\xff\xd9")


@pytest.mark.parametrize("name", JPEGS)
def test_whole_jpegs_as_cameras_write_them_are_as_pillow_shows_them(name):
    data = JPEGS[name]
    end = data.index(b"\xff\xd9")
    expected = as_pillow_shows(data)
    comment = b"\xff\xfe\x00\x06\xff\xd9\x00\x00"  # with what looks like an end
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(JPEGS["grey"])) + JPEGS["grey"]
    for written in (
        data,
        data + b"what a phone leaves behind \xff\xd8\xff\xd9" * 9,
        data[:end] + b"\xff\xff\xff" + data[end:],  # fill bytes before the marker
        data[:end] + b"\x00\x12\x34" + data[end:],  # bytes too many
        data[:end] + comment + data[end:],
        data[:2] + comment + data[2:],
        data[:2] + thumbnail + data[2:],
    ):
        np.testing.assert_array_equal(read_image(written), expected)


def test_a_progressive_jpeg_without_its_last_scans_is_an_error():
    data = JPEGS["progressive"]
    scans = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    assert len(scans) == 10
    for start in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, start)
        with pytest.raises(ImageReadError, match="the data of the JPEG end before the picture does"):
            read_image(data[:tables] + b"\xff\xd9")


def test_missing_end_markers_are_errors():
    for data in JPEGS.values():
        with pytest.raises(ImageReadError):
            read_image(data[: data.index(b"\xff\xd9")])
    for data in PNGS.values():
        with pytest.raises(ImageReadError, match="the end of the PNG is missing"):
            read_image(data[:-12])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", PNGS)
def test_a_png_is_not_returned_in_part(name, ending):
    data = PNGS[name]
    for cut in np.linspace(60, len(data) - 13, 40).astype(int):
        with pytest.raises(ImageReadError):
            read_image(ENDINGS[ending](data, cut))


@pytest.mark.parametrize("name", PNGS)
def test_a_changed_bit_in_the_pixels_of_a_png_is_an_error(name):
    data = PNGS[name]
    start = data.index(b"IDAT") + 4
    for position in np.linspace(start, len(data) - 17, 60).astype(int):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(ImageReadError, match=r"a checksum of the PNG does not fit|the end of the PNG is missing"):
            read_image(bytes(changed))


def test_what_follows_the_pixels_of_a_png_may_be_odd():
    data, kind = PNGS["png"], b"tEXtby hand"
    chunk = struct.pack(">I", len(kind) - 4) + kind
    for wrong in (0, 1):
        odd = data[:-12] + chunk + struct.pack(">I", zlib.crc32(kind) ^ wrong) + data[-12:] + b"trailing"
        np.testing.assert_array_equal(read_image(odd), as_pillow_shows(data))


def test_an_animation_in_png_is_read_up_to_its_first_frame():
    data = encoded(SCENE, "PNG", save_all=True, append_images=[SCENE.rotate(90)])
    np.testing.assert_array_equal(read_image(data), np.asarray(SCENE))


def test_an_icon_is_not_returned_in_part():
    np.testing.assert_array_equal(read_image(ICON), as_pillow_shows(ICON))
    start = ICON.rindex(b"IDAT") + 10
    for cut in np.linspace(start, len(ICON) - 20, 20).astype(int):
        with pytest.raises(ImageReadError):
            read_image(ENDINGS["zeros"](ICON, cut))


@pytest.mark.parametrize("form", ["JPEG2000", "QOI"])
def test_streams_with_an_end_marker_need_it(form):
    data = encoded(SCENE, form)
    np.testing.assert_array_equal(read_image(data + b"trailing"), as_pillow_shows(data))
    for cut in np.linspace(300, len(data) - 3, 10).astype(int):
        with pytest.raises(ImageReadError, match=f"the end of the {form[:4]}.* is missing"):
            read_image(ENDINGS["zeros"](data, cut))


@pytest.mark.parametrize(
    "data", [JPEGS["baseline"], JPEGS["progressive"], PNGS["png"]], ids=["jpeg", "progressive", "png"]
)
def test_a_picture_that_the_user_has_opened_is_judged_alike_and_left_as_it_was(data):
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(read_image(image), as_pillow_shows(data))
    with Image.open(io.BytesIO(ENDINGS["its last bytes"](data, len(data) // 2))) as image:
        before = list(image.tile), image.decodermaxblock
        with pytest.raises(ImageReadError):
            read_image(image)
        assert (list(image.tile), image.decodermaxblock) == before


def test_a_draft_that_the_user_has_asked_for_is_read():
    with Image.open(io.BytesIO(JPEGS["baseline"])) as image, Image.open(io.BytesIO(JPEGS["baseline"])) as same:
        image.draft("RGB", (40, 30))
        same.draft("RGB", (40, 30))
        assert read_image(image).shape == (45, 60, 3)
        np.testing.assert_array_equal(read_image(image), np.asarray(same))


def test_real_photos_are_whole(shared_data):
    paths = (
        sorted((shared_data / "datasets").rglob("*.jpg"))[::25] + sorted((shared_data / "datasets").rglob("*.png"))[::5]
    )
    assert len(paths) > 100
    for path in paths:
        np.testing.assert_array_equal(read_image(path), as_pillow_shows(path.read_bytes()))


@pytest.mark.slow
def test_all_real_photos_are_whole(shared_data):
    paths = [path for ending in ("jpg", "png") for path in (shared_data / "datasets").rglob(f"*.{ending}")]
    assert len(paths) > 3000
    for path in paths:
        np.testing.assert_array_equal(read_image(path), as_pillow_shows(path.read_bytes()))
