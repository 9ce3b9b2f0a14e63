"""Files of weights: read without running code from them, and copied into a network only where they fit."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from warnings import warn

import torch
from safetensors.torch import load_file

from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

__all__ = [
    "LoadReport",
    "WEIGHT_SUFFIXES",
    "existing_file",
    "load_tensors",
    "read_tensors",
    "tensors_in",
]

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".th", ".ckpt", ".tar")
# Under these keys training scripts keep the tensors, next to epoch and optimizer.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MAX_WRAPPERS = 3  # one inside the other; a dictionary may hold itself
# What data-parallel, compiled and Lightning modules put in front of every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_N_NAMES_SHOWN = 3
# How torch names an object that it refuses to make. It takes any "c" for the start of a name, in a text file too.
_OBJECT_REFUSED = re.compile(
    r"unsupported (global|class):?( GLOBAL)? [\w.<>-]+( was| whose|$)", re.IGNORECASE | re.MULTILINE
)
_UNPICKLER = "WeightsUnpickler error:"


@dataclass(frozen=True)
class LoadReport:
    """What of a file went into a network.

    Parameters
    ----------
    loaded : int
        Number of tensors copied from the file.
    missing, unexpected, mismatched : tuple of str
        Names that only the network has, that only the file has, and that both have in different shapes, or as numbers
        of different kinds, integers say where the network has floats.
    """

    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @property
    def is_complete(self):
        """Whether file and network agree in every name and shape."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self):
        groups = [
            (self.missing, "missing from the file"),
            (self.unexpected, "unknown to the network"),
            (self.mismatched, "of another shape or kind"),
        ]
        parts = [f"{len(names)} {what} ({_some(names)})" for names, what in groups if names]
        return f"{self.loaded} tensors fit" + "".join(f", {part}" for part in parts)


def existing_file(path):
    """Return a path made absolute, or say that there is no such file."""
    file = Path(path).expanduser().resolve()
    if file.is_dir():
        raise WeightsError(f"weights must be a file. Got the folder {str(file)!r} instead: name a file in it.")
    if not file.exists():
        names = [sibling.name for sibling in file.parent.iterdir()] if file.parent.is_dir() else []
        close = get_close_matches(file.name, names, n=1)
        hint = f" Did you mean {str(file.parent / close[0])!r}?" if close else " Check the path, or pass another one."
        raise WeightsNotFoundError(f"weights must be an existing file. Found nothing at {str(file)!r} instead.{hint}")
    return file


def read_tensors(path, own_names=()):
    """Read the named tensors of a file.

    Files ending in ``.safetensors`` are read as such, all others with ``torch.load(weights_only=True)``, which
    refuses whatever would run code. A checkpoint is unwrapped (``"state_dict"``, ``"model"``), and prefixes such as
    ``"module."`` are taken off where the network has no such names itself.
    """
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise WeightsError(_why_unreadable(path, error)) from error
    return tensors_in(content, path, own_names)


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


def tensors_in(content, path, own_names=()):
    """Return the named tensors of what a file of weights held, unwrapped."""
    for _ in range(_MAX_WRAPPERS):
        wrappers = _WRAPPERS if isinstance(content, dict) else ()
        content = next((content[key] for key in wrappers if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content:
        raise WeightsError(
            f"{str(path)!r} must hold a dictionary of named tensors. Got {type(content).__name__} instead: save it "
            "with torch.save(model.state_dict(), path)."
        )
    strangers = [
        key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))
    ]
    if strangers:
        raise WeightsError(
            f"{str(path)!r} must hold named tensors and nothing else. Got other values at {_some(strangers)} instead: "
            "save it with torch.save(model.state_dict(), path)."
        )
    for key, tensor in content.items():
        _check_is_plain(tensor, key, path)
    own_names = tuple(own_names)
    # A plain loop over prefixes: one checkpoint may carry several, one inside the other.
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in content) and not any(name.startswith(prefix) for name in own_names):
            content = {key.removeprefix(prefix): value for key, value in content.items()}
    return dict(content)


def _check_is_plain(tensor, key, path):
    """Refuse what cannot be copied into a network, and shapes that the numbers in the file do not fill.

    A view that repeats one number takes no room in the file and any amount in a network that follows its shape.
    """
    kind = None
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = f"a tensor of layout {tensor.layout}"
    elif tensor.is_quantized:
        kind = f"a quantized tensor ({tensor.dtype})"
    elif tensor.device.type != "cpu":
        kind = f"a tensor without numbers, of device {tensor.device.type!r},"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        n_held = tensor.untyped_storage().nbytes() // tensor.element_size()
        kind = f"shape {tuple(tensor.shape)} for {n_held} stored numbers"
    if kind is not None:
        raise WeightsError(
            f"{str(path)!r} must hold plain tensors with all of their numbers. Got {kind} at {key!r} instead: make "
            "them dense and whole (tensor.to_dense(), .dequantize(), .clone()), and save those."
        )


def load_tensors(network, tensors, *, name, origin, match="exact", ignored=()):
    """Copy tensors into a network, converting half precision to float32."""
    tensors = {key: value for key, value in tensors.items() if key.split(".", 1)[0] not in ignored}
    own = network.state_dict()
    misfits = {key: _misfit(tensors[key], own[key]) for key in own if key in tensors}
    misfits = {key: why for key, why in misfits.items() if why is not None}
    fitting = {key: value for key, value in tensors.items() if key not in misfits}
    # torch decides what is missing: it knows that old files lack the counters of batch norm.
    keys = network.load_state_dict(fitting, strict=False)
    report = LoadReport(
        loaded=len(fitting) - len(keys.unexpected_keys),
        missing=tuple(key for key in keys.missing_keys if key not in misfits),
        unexpected=tuple(keys.unexpected_keys),
        mismatched=tuple(f"{key}: {why}" for key, why in misfits.items()),
    )
    if report.is_complete:
        return report
    if match == "exact" or not report.loaded:
        advice = "Choose the architecture the file was made for"
        advice += ", or pass match='partial' to take what fits." if report.loaded else "."
        raise WeightsMismatchError(f"the weights {origin!r} must fit {name}. Got {report} instead. {advice}")
    warn(f"the weights {origin!r} fit {name} in part only: {report}. The rest keeps its random values.", stacklevel=2)
    return report


def _misfit(tensor, own):
    """Say in what a tensor of a file differs from the network's own; None if it can be copied.

    Any precision goes into any other, but integers would become floats, and complex numbers lose a part, silently.
    """
    if tensor.shape != own.shape:
        return f"{tuple(tensor.shape)} in the file, {tuple(own.shape)} in the network"
    if (tensor.is_floating_point(), tensor.is_complex()) != (own.is_floating_point(), own.is_complex()):
        return f"{tensor.dtype} in the file, {own.dtype} in the network"
    return None


def _some(names):
    shown = ", ".join(repr(name) for name in names[:_N_NAMES_SHOWN])
    return shown + (", …" if len(names) > _N_NAMES_SHOWN else "")
