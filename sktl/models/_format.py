"""Models in one safetensors file: tensors, and a record of what they are as JSON in its header. No code, no pickle.

A file may come from anybody, so nothing in it is believed: the record is checked field by field, no name in it is ever
opened as a file or imported, and tensors are read only where name, shape and type are those that the record leads to
expect.
"""

import json
from math import isfinite

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sktl._atomic_files import replacing
from sktl._text import printable
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

__all__ = ["MAX_IMAGE_SIZE", "METHODS", "check_tensors", "read_record", "read_tensors", "write_model"]

MAX_IMAGE_SIZE = 2048  # pixels, of a model file: one that asked for more could fill the memory with a single image
METHODS = ("fine_tuned", "frozen")
_KEY, _FORMAT, _VERSION = "sktl", "sktl model", 1
_MAX_RECORD = 16 << 20  # characters; a thousand classes take some ten thousand
_LISTED, _LONGEST = 3, 200


def write_model(path, record, tensors):
    """Write a model; a former file is replaced in one step."""
    record = {"format": _FORMAT, "version": _VERSION, **record}
    check_record(record)
    # Cloned, since safetensors refuses tensors that share memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as unfinished:
        save_file(tensors, unfinished, metadata={_KEY: json.dumps(record)})
    return path.stat().st_size


def read_record(path):
    """Read what a model is, and check it."""
    if not path.is_file():
        fuller = path.with_name(f"{path.name}.safetensors")
        hint = f" Did you mean {str(fuller)!r}?" if fuller.is_file() else ""
        raise WeightsNotFoundError(
            f"MODEL must be a file written by sktl train. Found none at {str(path)!r} instead.{hint}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"MODEL must be a safetensors file written by sktl train. {str(path)!r} cannot be read as one ({error}): "
            "it is damaged or of another kind. Copy it again, or train it again."
        ) from error
    if text is None:
        raise WeightsError(
            f"MODEL must be a file written by sktl train. {str(path)!r} holds tensors, but no record of a model."
        )
    try:
        if len(text) > _MAX_RECORD:
            raise ValueError(f"its record has {len(text)} characters")
        record = json.loads(text)
        check_record(record)
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"MODEL must be a whole file written by sktl train. {str(path)!r} is not: {error}."
        ) from None
    return record


def check_record(record):
    """Check every field that predictions depend on."""
    _check(record, "its record", isinstance(record, dict), "a dictionary")
    if record.get("format") != _FORMAT:
        raise ValueError(f"its format must be {_FORMAT!r}, and is {_shown(record.get('format'))}")
    if record.get("version") != _VERSION:
        raise ValueError(
            f"its format has the version {_shown(record.get('version'))}, and this sktl reads version {_VERSION}: "
            "another sktl has written it"
        )
    _check_fields(record, _FIELDS)
    _check_fields(record["backbone"], _BACKBONE)
    _check_fields(record["preprocessing"], _PREPROCESSING)
    _check_fields(record, _OF_METHOD[record["method"]])


def _check_fields(values, fields):
    for name, (is_right, rule) in fields.items():
        _check(values.get(name), name, is_right(values.get(name)), rule)


def _check(value, name, is_right, rule):
    if not is_right:
        raise ValueError(f"{name} must be {rule}, and is {_shown(value)}")


def _shown(value):
    text = repr(value)
    return "missing" if value is None else text if len(text) <= 60 else f"{text[:60]}…"


def _is_text(value):
    if not isinstance(value, str) or len(value) >= 1000:
        return False
    try:  # a folder may have any bytes as its name; other surrogates are no text
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _is_names(value):
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value) > 0


def _is_size(value):
    return _is_whole(value) and 1 <= value <= MAX_IMAGE_SIZE


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_three(value):
    numbers = value if isinstance(value, list) and len(value) == 3 else [None]
    return all(isinstance(number, int | float) and abs(number) < 1e6 and isfinite(number) for number in numbers)


_FIELDS = {
    "method": (lambda value: value in METHODS, f"one of {METHODS}"),
    "classes": (lambda value: _is_names(value) and len(value) > 1, "a list of two or more different names"),
    "backbone": (lambda value: isinstance(value, dict), "a dictionary"),
    "preprocessing": (lambda value: isinstance(value, dict), "a dictionary"),
}
_BACKBONE = {
    "name": (_is_text, "a name"),
    "stages": (_is_names, "a list of names"),
    "image_size": (_is_size, f"a whole number up to {MAX_IMAGE_SIZE}"),
    "transform_input": (lambda value: isinstance(value, bool), "true or false"),
    "weights": (lambda value: value is None or _is_text(value), "a text"),
    "license": (_is_text, "a text"),
    "source": (_is_text, "a text"),
    "digest": (_is_text, "a text"),
}
_PREPROCESSING = {
    "crop_size": (_is_size, f"a whole number up to {MAX_IMAGE_SIZE}"),
    "resize_size": (lambda value: _is_whole(value) and 1 <= value <= 2 * MAX_IMAGE_SIZE, f"up to {2 * MAX_IMAGE_SIZE}"),
    "interpolation": (_is_text, "a name"),
    "mean": (_is_three, "three numbers"),
    "std": (_is_three, "three numbers"),
}
_OF_METHOD = {
    "fine_tuned": {"n_frozen": (lambda value: _is_whole(value) and value >= 0, "a whole number")},
    "frozen": {"layers": (_is_names, "a list of names"), "pooling": (_is_text, "a name")},
}


def check_tensors(path, expected):
    """Compare the tensors of a file with those that its record leads to expect, without reading their numbers."""
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        described = {name: (list(part.get_shape()), part.get_dtype()) for name, part in found.items()}
    problems = [f"{name} is missing" for name in expected.keys() - described.keys()]
    problems += [f"{name} is unexpected" for name in described.keys() - expected.keys()]
    for name in expected.keys() & described.keys():
        wanted = list(expected[name].shape), _DTYPES.get(str(expected[name].dtype))
        if described[name] != wanted:
            problems.append(f"{name} is {_form(described[name])} instead of {_form(wanted)}")
    if problems:
        shown = printable("; ".join(each[:_LONGEST] for each in sorted(problems)[:_LISTED]))
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise WeightsMismatchError(
            f"MODEL must hold the tensors that its record describes. {str(path)!r} does not: {shown}{more}. "
            "Copy it again, or train it again."
        )


_DTYPES = {"torch.float32": "F32", "torch.float64": "F64", "torch.int64": "I64"}


def _form(described):
    shape, dtype = described
    return f"{dtype} of shape {tuple(shape)}"


def read_tensors(path):
    """Read all numbers of a model."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
