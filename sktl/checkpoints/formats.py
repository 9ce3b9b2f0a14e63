"""The formats of files of weights: what can be read without running code, and every other by its name.

What a file unpacks to is bounded before it is unpacked, and of the shards of an index none is looked for elsewhere.
"""

import json
import re
from contextlib import suppress
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import PurePosixPath, PureWindowsPath
from zipfile import ZIP_STORED, ZipFile

import torch
from safetensors.torch import load_file

from sktl.exceptions import WeightsError, WeightsNotFoundError

__all__ = ["INDEX_SUFFIX", "files_of", "read_content"]

INDEX_SUFFIX = ".index.json"
_MAX_INDEX = 64 << 20  # bytes; ten thousand names take one million
_MAX_HEADER = 100 << 20  # bytes, of safetensors
# Of the network's own size: a model, its average and two moments of an optimizer, in double precision, twice over.
_MAX_TIMES_OWN, _SLACK = 16, 64 << 20
_MAX_TIMES_PACKED = 20  # weights hardly shrink; moments of an optimizer that are zero do
_MAX_PICKLE = 16 << 20  # bytes of names and places, of which one makes up to a hundred in memory; ten million in a list
# Makes as many bytes as a number says, which stands in the file in place of them.
_FROM_A_NUMBER = b"bytearray"
_TOO_MUCH = (
    "{!r} must hold tensors and little else. Got {} instead, which can fill the memory. Save its tensors alone: "
    "torch.save(model.state_dict(), path)."
)
_MAX_LOCAL_HEADER = 1 << 18  # bytes, two texts of 65535 among them
_TORCH_FLOOR = 2, 10  # before, a file made up for it can overwrite memory (CVE-2026-24747)
_SAVE_TENSORS = "save its tensors: torch.save({}.state_dict(), 'weights.pth')."
_TORCHSCRIPT = "a TorchScript archive", "Where you trust it, " + _SAVE_TENSORS.format("torch.jit.load(path)")
_EXPORTED = "a program of torch.export", "Where you trust it, " + _SAVE_TENSORS.format("torch.export.load(path)")
_ONNX = "a network in ONNX", "Pass weights that torch.save or safetensors has written: those it was exported from."
_OTHER_LIBRARY = "Convert its weights to safetensors under the names of the network in torch."
_BY_SUFFIX = {
    ".onnx": _ONNX,
    ".ort": _ONNX,
    ".pb": ("a network of TensorFlow", _OTHER_LIBRARY),
    ".index": ("a checkpoint of TensorFlow", _OTHER_LIBRARY),
    ".msgpack": ("weights of Flax", _OTHER_LIBRARY),
    ".mlmodel": ("a network of Core ML", _OTHER_LIBRARY),
}
_KERAS = ("weights of Keras (HDF5)", _OTHER_LIBRARY)
# Position in the file and what stands there.
_BY_START = {
    (0, b"\x89HDF\r\n\x1a\n"): _KERAS,
    (4, b"TFL3"): ("a network of TensorFlow Lite", _OTHER_LIBRARY),
    (0, b"GGUF"): ("quantized weights in GGUF", _OTHER_LIBRARY),
    (0, b"\x93NUMPY"): ("one array of numpy", _OTHER_LIBRARY),
}
# How torch names an object that it refuses to make. It takes any "c" for the start of a name, in a text file too.
_OBJECT_REFUSED = re.compile(
    r"unsupported (global|class):?( GLOBAL)? [\w.<>-]+( was| whose|$)", re.IGNORECASE | re.MULTILINE
)
_UNPICKLER = "WeightsUnpickler error:"


def files_of(path):
    """Return a file of weights, and the shards beside it where it is their index."""
    if not path.name.endswith(INDEX_SUFFIX):
        return [path]
    return [path, *(_shard(path, name) for name in sorted(set(_weight_map(path).values())))]


def read_content(path, n_bytes=0):
    """Read what a file of weights holds, of a network that takes so many bytes itself.

    Safetensors are read as such, all else with ``torch.load(weights_only=True)``, which refuses what would run code.
    """
    most = _MAX_TIMES_OWN * n_bytes + _SLACK
    if not path.name.endswith(INDEX_SUFFIX):
        return _read_file(path, n_bytes, most)
    shards, tensors, places = {}, {}, _weight_map(path)
    most //= len(set(places.values()))  # for all of them together
    for name, shard in places.items():
        if shard not in shards:
            shards[shard] = _read_file(_shard(path, shard), n_bytes, most)
        if not isinstance(shards[shard], dict) or name not in shards[shard]:
            raise WeightsError(
                f"{str(path)!r} must say where its tensors are. Got a shard {shard!r} without {name!r} instead. Copy "
                "or download both again."
            )
        tensors[name] = shards[shard][name]
    return tensors


def _weight_map(path):
    """Return the shard of each tensor, by its name, that an index tells."""
    found = None
    if path.stat().st_size <= _MAX_INDEX:
        with suppress(ValueError, RecursionError):
            found = json.loads(path.read_bytes())
    shards = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(shard, str) for shard in shards.values()):
        raise WeightsError(
            f"{str(path)!r} must be the index of a checkpoint in several files, with a 'weight_map' of names of "
            "tensors to names of files. Got something else instead. Copy or download it again."
        )
    return shards


def _shard(path, name):
    """Return the path of a shard, which must be a file in the folder of the index."""
    if name in ("", ".", "..") or PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
        raise WeightsError(
            f"{str(path)!r} must name files in its own folder. Got {name!r} instead, which is not opened. Download the "
            "index again from where you trust it."
        )
    shard = path.with_name(name)
    if not shard.is_file():
        raise WeightsNotFoundError(
            f"{str(path)!r} needs all of its shards in its folder. Found no file {name!r} there instead. Copy or "
            "download it, too."
        )
    return shard


def _read_file(path, n_bytes, most):
    with path.open("rb") as file:
        start = file.read(16)
    is_zip = start.startswith(b"PK\x03\x04")
    if not is_zip and (path.suffix == ".safetensors" or _is_safetensors(path, start)):
        read = load_file
    else:
        if not is_zip:
            _refuse_other_format(path, start)
        read = partial(_load_with_torch, n_bytes=n_bytes, most=most if is_zip else None)
    try:
        return read(path)
    except WeightsError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise WeightsError(_why_unreadable(path, error)) from error


def _load_with_torch(path, n_bytes, most):
    with path.open("rb") as file:  # by its name torch would take a file for another kind
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            if most is None:
                _check_pickle(path, content, 0, len(content))
            else:
                _check_archive(path, content, n_bytes, most)
        _check_torch(path)
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_torch(path):
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < _TORCH_FLOOR:
        raise WeightsError(
            f"torch must be 2.10 or later to read {str(path)!r}. Got torch {torch.__version__} instead, in which files "
            "can overwrite memory and run code (CVE-2026-24747). Upgrade torch, or pass safetensors."
        )


def _is_safetensors(path, start):
    """Whether a file begins like safetensors: the length of a header, and a brace."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and length <= min(_MAX_HEADER, path.stat().st_size - 8)


def _check_archive(path, content, n_bytes, most):
    """Refuse archives of other kinds, and those that unpack to far more than the network that they are for."""
    with ZipFile(path) as archive:
        entries = archive.infolist()
        _check_kind(path, {(entry.filename.partition("/")[2] or entry.filename).lower() for entry in entries})
        unpacked, packed = sum(entry.file_size for entry in entries), len(content)
        if unpacked > max(packed, min(most, _MAX_TIMES_PACKED * packed + _SLACK)):
            raise WeightsError(
                f"{str(path)!r} must be as large as what it holds, as torch.save writes it. Got {_size(packed)} that "
                f"unpack to {_size(unpacked)} instead, for a network of {_size(n_bytes)}. "
                "Save it again with torch.save."
            )
        for entry in entries:
            if not entry.filename.lower().endswith(".pkl"):  # torch finds entries whatever their case
                continue
            if entry.file_size > _MAX_PICKLE:
                raise WeightsError(_TOO_MUCH.format(str(path), f"{_size(entry.file_size)} of other objects"))
            if entry.compress_type == ZIP_STORED:  # torch may leave checksums out, which zipfile would ask for
                start = entry.header_offset
                _check_pickle(path, content, start, start + entry.file_size + _MAX_LOCAL_HEADER)
            else:
                _check_pickle(path, archive.read(entry), 0, entry.file_size)


def _check_kind(path, names):
    """Refuse archives of other kinds, by the names of what is in them."""
    if "constants.pkl" in names and "data.pkl" in names:
        _refuse(path, *_TORCHSCRIPT)
    if names & {"archive_format", "serialized_exported_program.json", "models/model.json"}:
        _refuse(path, *_EXPORTED)
    if "model.weights.h5" in names:
        _refuse(path, "a network of Keras", _OTHER_LIBRARY)
    if names and all(name.endswith(".npy") for name in names):
        _refuse(path, "arrays of numpy", _OTHER_LIBRARY)


def _check_pickle(path, content, start, end):
    if content.find(_FROM_A_NUMBER, start, end) >= 0:
        raise WeightsError(_TOO_MUCH.format(str(path), "a bytearray"))


def _size(n_bytes):
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:,.1f} GB"


def _refuse_other_format(path, start):
    for (position, mark), known in _BY_START.items():
        if start[position:].startswith(mark):
            _refuse(path, *known)
    if not start.startswith((b"PK", b"\x80")) and path.suffix.lower() in _BY_SUFFIX:
        _refuse(path, *_BY_SUFFIX[path.suffix.lower()])


def _refuse(path, kind, advice):
    raise WeightsError(
        f"{str(path)!r} must be a file written by torch.save or safetensors. Got {kind} instead. {advice}"
    )


def _why_unreadable(path, error):
    if path.stat().st_size == 0:
        return f"{str(path)!r} must hold weights. Got an empty file instead: copy or download it again."
    if _OBJECT_REFUSED.search(str(error)):
        return (
            f"{str(path)!r} must hold tensors only. Got Python objects instead, and reading those would run code from "
            "the file. Where you trust it, save its tensors: torch.save(model.state_dict(), path)."
        )
    # Torch goes on with advice, to trust the file for instance: the first sentence of what it found is enough.
    reason = str(error).rpartition(_UNPICKLER)[2].strip() or type(error).__name__
    reason = reason.splitlines()[0].split(". ")[0].rstrip(".")
    return (
        f"{str(path)!r} must be a file written by torch.save or safetensors. It cannot be read ({reason}): it may be "
        "truncated or of another kind. Copy or download it again."
    )
