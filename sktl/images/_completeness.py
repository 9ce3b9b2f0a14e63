"""Is all of a picture there? The marks that formats set at the end, and a decoder of JPEG that counts.

Pillow returns what it could decode, and for the rest of a copy that was cut off, and filled up with zeros or closed by
an end marker, grey or noise.
"""

import re
import struct
import zlib

from PIL import Image, ImageFile

from sktl.exceptions import ImageReadError

__all__ = ["load_whole"]

_DECODER = "sktl_jpeg"  # under which Pillow finds the one below
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in data that are entropy coded, FF 00 and restarts are none
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_PROGRESSIVE = 0xC2
_HUFFMAN = (0xC0, 0xC1, _PROGRESSIVE)  # baseline, extended
_SCAN, _END, _ALONE = 0xDA, 0xD9, (0x01, 0xD8)
_ALL = 2**64 - 1  # the coefficients of a block, one bit each
# No code is all ones, and libjpeg looks this many bytes ahead.
_ONES, _AHEAD = b"\xff\x00", 8
_PNG = b"\x89PNG\r\n\x1a\n"
_NEXT = "Fetch the file again, or drop it."


def load_whole(image, read):
    """Load an image, or refuse it where a part is missing; `read` returns the bytes of its file."""
    file = getattr(image, "fp", None)
    if image.format in _MISSING and file is not None and not getattr(file, "closed", False):  # not loaded yet
        missing = _MISSING[image.format](read())
        if missing is not None:
            raise ImageReadError(f"the image is damaged or cut off: {missing}. {_NEXT}")
    tiles = getattr(image, "tile", ())
    if image.format not in ("JPEG", "MPO") or len(tiles) != 1 or tiles[0][0] != "jpeg":
        image.load()
        return
    block = image.decodermaxblock
    image.tile = [(_DECODER, *tiles[0][1:])]
    image.decodermaxblock = -1  # all at once
    try:
        image.load()
    except BaseException:
        image.tile = tiles
        raise
    finally:
        image.decodermaxblock = block


class _WholeJpeg(ImageFile.PyDecoder):
    """Pillow's decoder of JPEG, for pictures of which all data are there.

    Where data are short, libjpeg makes up the rest and says so in a warning that Pillow drops. So the end marker is
    kept back, and bits that mean nothing are in its place: a decoder that still waits for data takes them for data.
    """

    def init(self, args):
        self._pillow = Image.core.jpeg_decoder(self.mode, *args)

    def setimage(self, im, extents=None):
        self._pillow.setimage(im, extents)

    def cleanup(self):
        self._pillow.cleanup()

    def decode(self, buffer):
        try:
            counted, end, n_scans = _scans(buffer)
        except (IndexError, ValueError):  # in the middle of a header
            raise _cut_off() from None
        if not counted:
            return self._pillow.decode(buffer)
        data = buffer[:end] + _AHEAD * _ONES
        n_taken, error = self._pillow.decode(data)
        if n_taken < 0:  # of one scan, all rows are there
            return n_taken, error
        if n_scans == 1 or n_taken < len(data):
            raise _cut_off()
        # Of several, no row is made before the end marker: what comes is skipped, but for a scan that is not complete.
        restart = len(_RESTART.findall(buffer, buffer.rfind(b"\xff\xda", 0, end), end)) % 8
        for some in (*[_ONES] * 5, bytes([0xFF, 0xD0 + restart]), *[_ONES] * 5):
            if self._pillow.decode(some)[0] < len(some):
                raise _cut_off()
        return self._pillow.decode(buffer[end:])


def _cut_off():
    return ImageReadError(f"the image is damaged or cut off: the data of the JPEG end before the picture does. {_NEXT}")


def _scans(data):
    """Say whether the data of a JPEG can be counted, where those of the last scan end, and how many scans there are."""
    frame, sent, n_scans, end, position = None, {}, 0, None, 2
    while (marker := _MARKER.search(data, position)) and marker[0][1] != _END:
        if n_scans and end is None:
            end = marker.start()
        kind, position = marker[0][1], marker.end()
        if kind in _ALONE:
            continue
        start, position = position, position + (data[position] << 8 | data[position + 1])
        if kind in _HUFFMAN:
            frame, sent = kind, dict.fromkeys(data[start + 8 : position : 3], 0)
        elif kind == _SCAN:
            n_scans, end = n_scans + 1, None
            first, last, bits = data[position - 3 : position]
            what = _ALL if frame != _PROGRESSIVE else 0 if bits & 15 else (2 << last) - (1 << first)
            for component in data[start + 3 : position - 3 : 2]:
                sent[component] = sent.get(component, 0) | what
    if marker is None or any(each != _ALL for each in sent.values()):
        raise _cut_off()
    return frame is not None, marker.start() if end is None else end, n_scans


def _missing_in_png(data):
    position = len(_PNG)
    try:
        while True:
            length, kind = struct.unpack_from(">I4s", data, position)
            end = position + 8 + length
            if kind == b"IEND":
                return None
            (expected,) = struct.unpack_from(">I", data, end)
            if kind == b"IDAT" and zlib.crc32(memoryview(data)[position + 4 : end]) != expected:
                return "a checksum of the PNG does not fit"
            position = end + 4
    except struct.error:
        return "the end of the PNG is missing"


def _missing_in_icon(data):
    """Look at the PNGs of an icon."""
    view = memoryview(data)
    return next(filter(None, (_missing_in_png(view[each.start() :]) for each in re.finditer(_PNG, data))), None)


def _missing_in_jpeg_2000(data):
    """Look for the end marker of the stream, without which the decoder would fill it up with black."""
    ends = b"\xff\xd9" in data[data.find(b"\xff\x4f\xff\x51") :]
    return None if ends else "the end of the JPEG 2000 stream is missing"


def _missing_in_qoi(data):
    return None if data.rfind(b"\0\0\0\0\0\0\0\1") > 0 else "the end of the QOI is missing"


_MISSING = {
    "PNG": _missing_in_png,
    "ICO": _missing_in_icon,
    "JPEG2000": _missing_in_jpeg_2000,
    "QOI": _missing_in_qoi,
}

Image.register_decoder(_DECODER, _WholeJpeg)
