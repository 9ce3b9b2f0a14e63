"""HEIC, AVIF and JPEG XL: read where their reader is installed, and else it is named."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, features

from sktl.exceptions import ImageReadError
from sktl.images import as_images, read_image

BOX = b"\0\0\0\x1cftyp"
HEIC = BOX + b"heic\0\0\0\0mif1heic" + bytes(200)


@pytest.fixture
def nothing_installed(monkeypatch):
    Image.init()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("HEIF", "AVIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, name, raising=False)
    monkeypatch.setattr(features, "check", lambda feature: False)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("start", "message"),
    [
        *(
            (BOX + brand, r"Got HEIC instead, .*pillow-heif.*pip install 'sktl\[heif\]'")
            for brand in (b"heic", b"mif1")
        ),
        *((BOX + brand, r"Got AVIF instead, which needs Pillow 11\.3") for brand in (b"avif", b"avis")),
        *((start, "Got JPEG XL instead, .*pillow-jxl-plugin") for start in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
        (BOX + b"isom", "must be an image in a format that Pillow reads"),  # a film
    ],
)
def test_what_reads_a_format_is_named(start, message, tmp_path):
    (tmp_path / "photo").write_bytes(start + bytes(200))
    for item in (start + bytes(200), tmp_path / "photo"):
        with pytest.raises(ImageReadError, match=message):
            read_image(item)
    with pytest.raises(ImageReadError, match=message):
        as_images([start + bytes(200)]).open(0).size()


def test_heic_is_read_where_its_reader_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(np.kron(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5, np.ones((20, 20), np.uint8)))
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(image.convert("RGB")).save(buffer, quality=95, exif=exif.tobytes())
    data = buffer.getvalue()
    picture = read_image(data)
    assert picture.shape == (160, 120, 3)
    upright = np.rot90(np.asarray(image), -1)
    assert np.abs(picture.mean(axis=2) - upright).mean() < 3  # some quality is lost
    for cut in (20, 200, len(data) // 2, len(data) - 1):
        with pytest.raises(ImageReadError, match="damaged or cut off"):
            read_image(data[:cut])


def test_a_damaged_file_of_a_format_that_is_read_is_not_said_to_need_a_reader():
    pytest.importorskip("pillow_heif")
    with pytest.raises(ImageReadError, match="damaged or cut off"):
        read_image(HEIC)


def test_the_reader_of_heic_is_imported_when_it_is_needed_and_not_before():
    pytest.importorskip("pillow_heif")
    code = (
        "import sys, sktl.images; from PIL import Image; Image.init(); assert 'HEIF' not in Image.OPEN\n"
        "assert 'pillow_heif' not in sys.modules\n"
        "try: sktl.images.read_image(b'\\0\\0\\0\\x1cftypheic' + bytes(90))\n"
        "except sktl.exceptions.ImageReadError: assert 'HEIF' in Image.OPEN\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
