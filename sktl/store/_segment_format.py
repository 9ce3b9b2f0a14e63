"""The format of a segment: a Parquet file whose columns are one piece each, so that single rows can be read.

Any reader of Parquet reads it. Nothing is compressed, there is one group of rows and one page a column: the values of a
column are then the last bytes of its piece of the file. Keys come last, beside the footer, and are found in one go.
What a file says of itself is compared with its size before anything is read or allocated.
"""

import json
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from sktl._optional import import_optional
from sktl.store._database import checksum_of

__all__ = ["CHECKSUM_SIZE", "DIGEST_SIZE", "Layout", "UnreadableSegmentError", "encode", "layout", "layouts"]

_VERSION = 1
DIGEST_SIZE, CHECKSUM_SIZE = 16, 8  # bytes
_MAX_BYTES = 1 << 30  # of vectors: a page holds less than 2 GiB
_MAX_ROWS = 1 << 22  # the keys of one segment are in memory together
_TAIL = 1 << 16  # bytes at the end of a file that hold its footer
_OPENED_TOGETHER = 64
_LABEL = b"sktl"  # of what the footer says about a segment
_LONGEST_DESCRIPTION = 4096
# What reading numbers and names out of anything may raise.
_MALFORMED = (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)
_TYPES = {"image": ("FIXED_LEN_BYTE_ARRAY", DIGEST_SIZE), "checksum": ("FIXED_LEN_BYTE_ARRAY", CHECKSUM_SIZE)}


class UnreadableSegmentError(ValueError):
    """A file is no segment, or none of those that are looked for."""


@dataclass(frozen=True)
class Layout:
    """Where in a file what is: a row of each column has a fixed size."""

    size: int  # of the file
    n_rows: int
    digest: bytes  # of the key
    description: str  # of the key
    n_bytes: int  # of a vector
    seconds: float  # that all vectors took to compute
    images: int  # where the column of digests starts
    checksums: int
    vectors: int


def encode(key, vectors, seconds=0.0):
    """Return name and content of the segment that holds vectors, given as {digest: ndarray of float32}."""
    pyarrow = import_optional("pyarrow", extra="segments", caller="Writing segments")
    digests = sorted(vectors)
    if not digests or {len(digest) for digest in digests} != {DIGEST_SIZE}:
        raise ValueError(f"vectors must be one or more, by digests of {DIGEST_SIZE} bytes. Got others instead.")
    if len(digests) * key.n_bytes > _MAX_BYTES or len(digests) > _MAX_ROWS:
        raise ValueError(
            f"vectors of one segment must be {_MAX_ROWS} at most, of {_MAX_BYTES} bytes at most. Got {len(digests)} of "
            f"{len(digests) * key.n_bytes} bytes instead. Write them in several segments."
        )
    blobs = [np.ascontiguousarray(vectors[digest], dtype="<f4").tobytes() for digest in digests]
    if {len(blob) for blob in blobs} != {key.n_bytes}:
        raise ValueError(f"vectors must have {key.n_bytes} bytes each, as the key says. Got others instead.")
    checksums = [checksum_of(key, digest, blob) for digest, blob in zip(digests, blobs, strict=True)]
    columns = {"vector": b"".join(blobs), "checksum": b"".join(checksums), "image": b"".join(digests)}
    content = _parquet(pyarrow, key, columns, len(digests), seconds)
    name = sha256(key.digest + columns["image"] + columns["checksum"]).hexdigest()[:32]
    return f"{name}.parquet", content


def layout(tail, size):
    """Return where things are in a file of some size, of which the last bytes are given.

    Raises
    ------
    UnreadableSegmentError
        If it is no segment.
    """
    parquet = import_optional("pyarrow.parquet", extra="segments", caller="Reading segments")
    pyarrow = import_optional("pyarrow", extra="segments", caller="Reading segments")
    try:
        footer = parquet.read_metadata(pyarrow.BufferReader(tail))
        about = _about(footer)
        width, described = int(about["width"]), str(about["description"])[:_LONGEST_DESCRIPTION]
        found = {
            "size": size,
            "n_rows": int(footer.num_rows),
            "digest": bytes.fromhex(about["key"]),
            "description": described,
        }
        seconds = float(about["seconds"])
        found |= {"n_bytes": 4 * width, "seconds": seconds if 0 <= seconds < np.inf else 0.0}
        pieces = [footer.row_group(0).column(i) for i in range(footer.num_columns)]
        if footer.num_row_groups != 1 or width < 1 or not 1 <= found["n_rows"] <= _MAX_ROWS or len(pieces) != 3:
            raise UnreadableSegmentError("its rows are not in one group of three columns")
        sizes = {"vector": 4 * width, "checksum": CHECKSUM_SIZE, "image": DIGEST_SIZE}
        end = size - footer.serialized_size - 8
        starts = [
            _start(piece, name, sizes[name], found["n_rows"], end) for piece, name in zip(pieces, sizes, strict=True)
        ]
        return Layout(**found, vectors=starts[0], checksums=starts[1], images=starts[2])
    except UnreadableSegmentError:
        raise
    except (pyarrow.ArrowException, *_MALFORMED) as error:
        raise UnreadableSegmentError("it is no segment, or not all of one") from error


def layouts(read, sizes):
    """Yield (name, layout or error) of files of some sizes, by a function that reads ranges."""
    names = list(sizes)
    for start in range(0, len(names), _OPENED_TOGETHER):
        some = names[start : start + _OPENED_TOGETHER]
        tails = read([(name, max(sizes[name] - _TAIL, 0), sizes[name]) for name in some])
        for name, tail in zip(some, tails, strict=True):
            try:
                if tail is None:
                    raise UnreadableSegmentError("it cannot be read")
                yield name, layout(tail, sizes[name])
            except UnreadableSegmentError as error:
                yield name, error


def _parquet(pyarrow, key, columns, n_rows, seconds):
    """Return the bytes of a Parquet file."""
    parquet = import_optional("pyarrow.parquet", extra="segments", caller="Writing segments")
    about = {"format": _VERSION, "key": key.digest.hex(), "width": key.n_bytes // 4, "seconds": float(seconds)}
    about["description"] = key.description[:_LONGEST_DESCRIPTION]
    numbers = pyarrow.Array.from_buffers(
        pyarrow.float32(), n_rows * key.n_bytes // 4, [None, pyarrow.py_buffer(columns["vector"])]
    )
    arrays = [pyarrow.FixedSizeListArray.from_arrays(numbers, type=_list_of(pyarrow, key.n_bytes // 4))]
    for name, n_bytes in (("checksum", CHECKSUM_SIZE), ("image", DIGEST_SIZE)):
        kind = pyarrow.binary(n_bytes)
        arrays.append(pyarrow.Array.from_buffers(kind, n_rows, [None, pyarrow.py_buffer(columns[name])]))
    fields = [pyarrow.field(name, a.type, nullable=False) for name, a in zip(columns, arrays, strict=True)]
    schema = pyarrow.schema(fields, metadata={_LABEL: json.dumps(about)})
    sink = pyarrow.BufferOutputStream()
    options = {"row_group_size": n_rows, "data_page_size": 2**31 - 1, "data_page_version": "1.0"}
    if "max_rows_per_page" in parquet.write_table.__doc__:  # else pages are only limited in bytes
        options["max_rows_per_page"] = n_rows
    parquet.write_table(
        pyarrow.Table.from_arrays(arrays, schema=schema),
        sink,
        **options,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    content = sink.getvalue()
    _check_places(memoryview(content).cast("B"), columns)
    return content


def _list_of(pyarrow, width):
    return pyarrow.list_(pyarrow.field("element", pyarrow.float32(), nullable=False), width)


def _check_places(content, columns):
    """Check that everything is where `layout` finds it, whichever release of pyarrow has written it."""
    found = layout(content, len(content))
    starts = {"vector": found.vectors, "checksum": found.checksums, "image": found.images}
    if any(content[start : start + len(columns[name])] != columns[name] for name, start in starts.items()):
        raise RuntimeError("this release of pyarrow must write the values of a column in one piece. Take another one.")


def _about(footer):
    """Return what the footer says about a segment."""
    about = json.loads((footer.metadata or {})[_LABEL])
    if about["format"] != _VERSION:
        raise UnreadableSegmentError(f"its format is {about['format']!r:.40}, not {_VERSION}")
    return about


def _start(piece, name, n_bytes, n_rows, end):
    """Return where the values of a column start: they end where its piece of the file ends."""
    kind, length = _TYPES.get(name, ("FLOAT", None))
    n_values = n_rows * n_bytes // 4 if length is None else n_rows
    start = piece.data_page_offset + piece.total_compressed_size - n_rows * n_bytes
    sound = (
        piece.path_in_schema.partition(".")[0] == name
        and (piece.physical_type, piece.compression) == (kind, "UNCOMPRESSED")
        and not piece.has_dictionary_page
        and piece.num_values == n_values
        and 4 <= piece.data_page_offset < start
        and start + n_rows * n_bytes <= end
    )
    if not sound:
        raise UnreadableSegmentError(f"its column {name!r} is not where it should be")
    return start
