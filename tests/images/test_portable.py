"""What goes to another process makes the same picture, and the same digest, there."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.images._portable import portable

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def file(format, pixels=PIXELS, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def turned(format):
    exif = Image.Exif()
    exif[0x0112] = 6
    return Image.open(io.BytesIO(file(format, exif=exif)))


DEEP = RNG.integers(0, 4000, (6, 9), dtype=np.uint16)
ITEMS = {
    "bytes": lambda: file("PNG"),
    "bytearray": lambda: bytearray(file("PNG")),
    "memoryview": lambda: memoryview(file("JPEG")),
    "open file": lambda: io.BytesIO(file("PNG")),
    "record of bytes": lambda: {"bytes": file("PNG"), "path": "a.png"},
    "PIL image": lambda: Image.fromarray(PIXELS),
    "PIL image of a file": lambda: Image.open(io.BytesIO(file("PNG"))),
    "turned JPEG": lambda: turned("JPEG"),
    "turned TIFF": lambda: turned("TIFF"),
    "grey PIL image": lambda: Image.fromarray(PIXELS[..., 0]),
    "PIL image of 16 bits": lambda: Image.fromarray(DEEP),
    "palette": lambda: Image.fromarray(PIXELS).convert("P"),
    "array": lambda: PIXELS,
    "grey array": lambda: PIXELS[..., 0],
    "channels first": lambda: PIXELS.transpose(2, 0, 1),
    "floats": lambda: PIXELS / 255,
    "16 bits": lambda: DEEP,
    "bool": lambda: PIXELS[..., 0] > 100,
    "tensor": lambda: torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()),
    "tensor of which both layouts fit": lambda: torch.arange(3 * 6 * 4, dtype=torch.uint8).reshape(3, 6, 4),
    "bfloat16": lambda: torch.rand(3, 6, 9).to(torch.bfloat16),
}


@pytest.mark.parametrize("value_range", [None, (0, 4000)], ids=["no range", "12 bits"])
@pytest.mark.parametrize("name", ITEMS)
def test_an_item_is_the_same_image_in_another_process(name, value_range):
    here = as_images([ITEMS[name]()]).with_value_range(value_range)
    there = as_images([pickle.loads(pickle.dumps(here.item(0)))]).with_value_range(value_range)
    assert np.array_equal(here[0], there[0])
    assert here.digest(0) == there.digest(0)


def test_a_path_becomes_absolute_and_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = as_images(["a.png", "https://x.org/b.png", "data:image/png;base64,AAAA", tmp_path / "c.png"])
    items = [images.item(i) for i in range(4)]
    assert items == [
        str(tmp_path / "a.png"),
        "https://x.org/b.png",
        "data:image/png;base64,AAAA",
        str(tmp_path / "c.png"),
    ]
    assert portable({"bytes": None, "path": "a.png"}) == str(tmp_path / "a.png")


def test_a_slice_of_a_tensor_leaves_the_others_behind():
    item = as_images(torch.zeros(500, 3, 16, 16)).item(3)
    assert len(pickle.dumps(item)) < 5000


def test_a_range_stated_for_colours_of_16_bits_is_refused_here_as_there():
    deep = Image.open(io.BytesIO(_sixteen_bit_colour()))
    with pytest.raises(ImageReadError, match="16"):
        as_images([deep]).with_value_range((0, 4000)).item(0)


def test_what_is_made_on_access_is_checked_by_the_range_of_the_first():
    class Pictures:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return np.full((4, 5), (0.5, 200.0)[i])

    images = as_images(Pictures()).with_value_range((0, 1), learned=True)
    assert images.item(0).shape == (4, 5, 1)
    with pytest.raises(ImageReadError, match="image 1: numbers must lie in"):
        images.item(1)


def test_an_error_made_elsewhere_is_named_as_here(tmp_path):
    error = as_images(["a.png", "b.png"]).subset([1]).read_error(0, "it is torn")
    assert (error.index, error.path, error.reason) == (1, "b.png", "it is torn")
    assert str(pickle.loads(pickle.dumps(error))) == "image 1 ('b.png'): it is torn"


def _sixteen_bit_colour():
    """A PNG of one pixel in 16-bit colours, which Pillow reads and does not write."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(7))) + chunk(b"IEND", b"")
