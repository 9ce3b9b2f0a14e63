"""Model files: tensors, and a record of what they are as JSON in the header of a safetensors file. No code, no pickle.

A file may come from anybody, so nothing in it is believed: the record is checked field by field, no name in it is ever
opened as a file or imported, and tensors are read only where name, shape and type are those that the record leads to
expect. The digest over all of it finds damage, not malice.
"""

import json
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sktl._atomic_files import replacing
from sktl._text import printable
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError
from sktl.models._record import MODEL_FILE, check_record
from sktl.models._version_1 import from_version_1

__all__ = ["check_tensors", "digest_of", "forms_in", "forms_of", "read_record", "read_tensors", "write_model"]

_KEY, _FORMAT, _VERSION = "sktl", "sktl model", 2
_MAX_RECORD = 16 << 20  # characters; a thousand classes take some ten thousand
_LISTED, _LONGEST = 3, 200
_AGAIN = "Copy it again, or save the model again."
_DTYPES = {"torch.float32": "F32", "torch.float64": "F64", "torch.int64": "I64"}


def write_model(path, record, tensors):
    """Write a model; a former file is replaced in one step."""
    # Cloned, since safetensors refuses tensors that share memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    record = {"format": _FORMAT, "version": _VERSION, **record}
    text = json.dumps({**record, "digest": digest_of(record, tensors)})
    check_record(json.loads(text))
    with replacing(Path(path)) as unfinished:
        save_file(tensors, unfinished, metadata={_KEY: text})


def digest_of(record, tensors):
    """Return the SHA-256 of all that a file holds, its digest left out."""
    rest = {name: value for name, value in record.items() if name != "digest"}
    digest = sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"\0{name}\0".encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()


def read_record(path):
    """Read what a model is, and check it."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise WeightsError(f"{MODEL_FILE} Got {str(path)!r} instead, a pipe, socket or device, which may have no end.")
    if not path.is_file():
        fuller = path.with_name(f"{path.name}.safetensors")
        hint = f" Did you mean {str(fuller)!r}?" if fuller.is_file() else ""
        raise WeightsNotFoundError(f"{MODEL_FILE} Found none at {str(path)!r} instead.{hint}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{MODEL_FILE} Got {str(path)!r} instead, which cannot be read as a safetensors file ({error}): it is "
            f"damaged or of another kind. {_AGAIN}"
        ) from error
    if text is None:
        raise WeightsError(f"{MODEL_FILE} Got {str(path)!r} instead, which holds tensors, but no record of a model.")
    try:
        if len(text) > _MAX_RECORD:
            raise ValueError(f"its record has {len(text)} characters")
        record = _in_this_version(json.loads(text))
        check_record(record)
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{MODEL_FILE} Got {str(path)!r} instead, which is not a whole one: {error}. {_AGAIN}"
        ) from None
    return record


def _in_this_version(record):
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ValueError(f"its record must be that of a {_FORMAT!r}")
    if record.get("version") == 1:
        return from_version_1(record)
    if record.get("version") != _VERSION:
        raise ValueError(f"this sktl reads the versions 1 and {_VERSION} of the format: another sktl has written it")
    if not isinstance(record.get("digest"), str):
        raise ValueError("digest must be a text")
    return record


def forms_in(path):
    """Return shape and type of each tensor of a file, by name, without reading any numbers."""
    with safe_open(path, framework="pt") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()}


def forms_of(tensors):
    """Return shape and type of tensors by name, written as in a file."""
    return {name: (tuple(each.shape), _DTYPES.get(str(each.dtype))) for name, each in tensors.items()}


def check_tensors(path, expected):
    """Compare the tensors of a file with the forms that its record leads to expect."""
    found = forms_in(path)
    problems = [f"{name} is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name} is unexpected" for name in found.keys() - expected.keys()]
    problems += [
        f"{name} is {_shown(found[name])} instead of {_shown(expected[name])}"
        for name in expected.keys() & found.keys()
        if found[name] != expected[name]
    ]
    if problems:
        shown = printable("; ".join(each[:_LONGEST] for each in sorted(problems)[:_LISTED]))
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise WeightsMismatchError(
            f"{MODEL_FILE} Got {str(path)!r} instead, without the tensors that its record describes: {shown}{more}. "
            f"{_AGAIN}"
        )


def _shown(form):
    shape, dtype = form
    return f"{dtype} of shape {shape}"


def read_tensors(path, record):
    """Read all numbers of a model, and compare its digest."""
    with safe_open(path, framework="pt") as file:
        # Cloned, since they would change with the file.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if record["digest"] is not None and digest_of(record, tensors) != record["digest"]:
        raise WeightsMismatchError(
            f"{MODEL_FILE} Got {str(path)!r} instead, which is damaged: its numbers are not those that were written. "
            f"{_AGAIN}"
        )
    return tensors
