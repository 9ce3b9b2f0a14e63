"""When a photo was taken is read from its header, and is nothing where the file does not say."""

import os

import pytest
from PIL import Image

from sktl.images.taken import taken_at


def photo(path, time=None, camera=None):
    exif = Image.Exif()
    if camera is not None:
        exif[272] = camera
    if time is not None:
        exif.get_ifd(0x8769)[36867] = time
    Image.new("RGB", (4, 4)).save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_camera_and_minute_are_told(tmp_path, ending):
    path = photo(tmp_path / f"a.{ending}", "2026:11:29 18:42:55", "X100")
    assert taken_at(path) == ("X100", "2026:11:29 18:42")


def test_a_time_without_a_camera_is_told(tmp_path):
    assert taken_at(photo(tmp_path / "a.jpg", "2026:11:29 18:42:55")) == ("", "2026:11:29 18:42")


@pytest.mark.parametrize("time", [None, "0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday"])
def test_a_camera_without_a_clock_tells_no_time(tmp_path, time):
    assert taken_at(photo(tmp_path / "a.jpg", time, "X100")) is None


def test_what_is_no_picture_tells_nothing(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe1 damaged")
    os.mkfifo(tmp_path / "pipe.jpg")  # to wait for its end would take for ever
    assert [taken_at(tmp_path / name) for name in ("a.jpg", "pipe.jpg", "missing.jpg", "")] == [None] * 4
