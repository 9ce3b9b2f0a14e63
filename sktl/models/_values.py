"""Parameters and labels as JSON and back: plain Python, tuples and arrays, and nothing else."""

import re
from math import isfinite

import numpy as np

__all__ = ["is_array", "is_finite", "is_text", "is_value", "is_whole", "read", "read_array", "written", "written_array"]

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|U[1-9][0-9]{0,2}|O")
_DEEPEST = 4  # of lists in lists
_LONGEST = 1000  # characters of a text


def written(value):
    """Write a parameter down; TypeError where it is not plain."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or is_finite(value):
        return value
    if isinstance(value, list):
        return [written(each) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [written(each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[written(key), written(each)] for key, each in value.items()]}
    if isinstance(value, np.ndarray):
        return {"array": written_array(value)}
    raise TypeError(f"{type(value).__name__} cannot be written")


def read(value):
    """Return the parameter that was written down."""
    if isinstance(value, list):
        return [read(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return read_array(content)
    return tuple(map(read, content)) if kind == "tuple" else {read(key): read(each) for key, each in content}


def is_value(value, depth=0):
    """Whether this is a parameter written down."""
    if value is None or isinstance(value, bool | int) or is_text(value) or is_finite(value):
        return True
    if depth == _DEEPEST:
        return False
    if isinstance(value, list):
        return all(is_value(each, depth + 1) for each in value)
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, content),) = value.items()
    if kind == "array":
        return is_array(content)
    if kind == "dict":
        return isinstance(content, list) and all(map(_is_pair, content))
    return kind == "tuple" and isinstance(content, list) and is_value(content, depth)


def _is_pair(entry):
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and not isinstance(entry[0], list | dict)
        and all(is_value(each, _DEEPEST) for each in entry)
    )


def written_array(array):
    """Write labels or names down with their type; TypeError where they are neither texts nor numbers."""
    dtype = array.dtype
    short = "O" if dtype.kind == "O" else f"{dtype.kind}{dtype.itemsize // (4 if dtype.kind == 'U' else 1)}"
    described = {"dtype": short, "values": array.tolist()}
    if not is_array(described):
        raise TypeError(f"labels of the type {dtype}")
    return described


def read_array(described):
    """Return the array that was written down."""
    return np.array(described["values"], dtype=described["dtype"])


def is_array(described):
    """Whether this is an array of one dimension written down, of texts, finite numbers, or true and false."""
    if not isinstance(described, dict) or described.keys() != {"dtype", "values"}:
        return False
    dtype, values = described["dtype"], described["values"]
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype) or not isinstance(values, list):
        return False
    return all(map(_FITS[dtype[0]](dtype), values))


def _fits_whole(dtype):
    limits = np.iinfo(dtype)
    return lambda value: is_whole(value) and limits.min <= value <= limits.max


_FITS = {
    "b": lambda dtype: lambda value: isinstance(value, bool),
    "i": _fits_whole,
    "u": _fits_whole,
    "f": lambda dtype: lambda value: isinstance(value, float) and abs(value) <= np.finfo(dtype).max,
    "U": lambda dtype: lambda value: is_text(value) and len(value) <= int(dtype[1:]),
    "O": lambda dtype: lambda value: isinstance(value, bool) or is_whole(value) or is_text(value) or is_finite(value),
}


def is_text(value):
    """Whether this is a text of reasonable length."""
    if not isinstance(value, str) or len(value) >= _LONGEST:
        return False
    try:  # a folder may have any bytes as its name; other surrogates are no text
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def is_whole(value):
    """Whether this is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value):
    """Whether this is a number with a fraction, and neither NaN nor infinite."""
    return isinstance(value, float) and isfinite(value)
