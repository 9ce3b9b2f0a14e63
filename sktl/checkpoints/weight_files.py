"""Files of weights: read without running code from them, and copied into a network only where they fit."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from warnings import warn

import torch

from sktl.checkpoints.formats import read_content
from sktl.checkpoints.matching import PART_MARK, network_tensors
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

__all__ = [
    "LoadReport",
    "WEIGHT_SUFFIXES",
    "existing_file",
    "load_tensors",
    "path_and_part",
    "read_tensors",
    "tensors_in",
]

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".th", ".ckpt", ".tar")
_N_NAMES_SHOWN = 3


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
    counters : tuple of str
        Names of single numbers that only the file has, such as ``"n_averaged"``: they count steps of a training, and
        nothing is missing without them.
    """

    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()

    @property
    def is_complete(self):
        """Whether file and network agree in every name and shape."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self):
        groups = [
            (self.missing, "missing from the file"),
            (self.unexpected, "unknown to the network"),
            (self.mismatched, "of another shape or kind"),
            (self.counters, "single numbers of a training"),
        ]
        parts = [f"{len(names)} {what} ({_some(names)})" for names, what in groups if names]
        return f"{self.loaded} tensors fit" + "".join(f", {part}" for part in parts)


def path_and_part(weights):
    """Return the path that `weights` names and, after "::", which part of the file is meant; None for no part.

    A file of that very name comes first.
    """
    text = os.fspath(weights)
    path, mark, part = text.rpartition(PART_MARK)
    return (path, part) if mark and path and part and not Path(text).expanduser().exists() else (text, None)


def existing_file(path):
    """Return a path made absolute, or say that there is no such file."""
    file = Path(path).expanduser()
    # A link keeps its name, by which the shards beside it are found.
    file = file.parent.resolve() / file.name
    if file.is_dir():
        raise WeightsError(f"weights must be a file. Got the folder {str(file)!r} instead: name a file in it.")
    if not file.exists():
        names = [sibling.name for sibling in file.parent.iterdir()] if file.parent.is_dir() else []
        close = get_close_matches(file.name, names, n=1)
        hint = f" Did you mean {str(file.parent / close[0])!r}?" if close else " Check the path, or pass another one."
        raise WeightsNotFoundError(f"weights must be an existing file. Found nothing at {str(file)!r} instead.{hint}")
    if not file.is_file():
        raise WeightsError(
            f"weights must be a regular file. Got a pipe or device at {str(file)!r} instead, of which no end is known: "
            "write what comes out of it into a file."
        )
    return file


def read_tensors(path, own=(), part=None):
    """Read the tensors of a network from a file, under the names that the network gives them.

    Parameters
    ----------
    path : Path
        The file, or the index of a checkpoint in several files.
    own : mapping of str to torch.Tensor, default=()
        The network's own tensors, which tell the dictionary, and the prefix of its names, where a file has several, and
        how much it may unpack to. Without them nothing is taken off the names.
    part : str or None, default=None
        The dictionary or prefix that is meant, where a file holds several networks.
    """
    own_tensors = own.values() if isinstance(own, Mapping) else ()
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in own_tensors)
    return tensors_in(read_content(path, n_bytes), path, own, part)


def tensors_in(content, path, own=(), part=None):
    """Return the named tensors of a network among what a file of weights held."""
    tensors = network_tensors(content, path, own, part)
    for key, tensor in tensors.items():
        _check_is_plain(tensor, key, path)
    return tensors


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
    tensors = {key: _as_counter(value) if _counts(own.get(key)) else value for key, value in tensors.items()}
    misfits = {key: _misfit(tensors[key], own[key]) for key in own if key in tensors}
    misfits = {key: why for key, why in misfits.items() if why is not None}
    counters = tuple(key for key, value in tensors.items() if key not in own and _is_single_number(value))
    fitting = {key: value for key, value in tensors.items() if key not in misfits and key not in counters}
    # torch decides what is missing: it knows that old files lack the counters of batch norm.
    keys = network.load_state_dict(fitting, strict=False)
    report = LoadReport(
        loaded=len(fitting) - len(keys.unexpected_keys),
        missing=tuple(key for key in keys.missing_keys if key not in misfits),
        unexpected=tuple(keys.unexpected_keys),
        mismatched=tuple(f"{key}: {why}" for key, why in misfits.items()),
        counters=counters,
    )
    if report.is_complete and report.loaded:
        return report
    if match == "exact" or not report.loaded:
        advice = "Choose the architecture the file was made for"
        advice += ", or pass match='partial' to take what fits." if report.loaded else "."
        raise WeightsMismatchError(f"the weights {origin!r} must fit {name}. Got {report} instead. {advice}")
    rest = "The rest keeps its random values." if report.missing or report.mismatched else "Nothing of it is missing."
    warn(f"the weights {origin!r} fit {name} in part only: {report}. {rest}", stacklevel=2)
    return report


def _counts(own):
    """Whether a tensor of a network is a counter, such as the one of batch norm."""
    return own is not None and own.ndim == 0 and not own.is_floating_point() and not own.is_complex()


def _as_counter(tensor):
    """Return the mean of a counter over the steps of a training, or a counter in half precision, as a whole number."""
    if tensor.ndim or not tensor.is_floating_point():
        return tensor
    return tensor.double().nan_to_num(0.0, 0.0, 0.0).round().long()  # half precision ends at 65504


def _is_single_number(tensor):
    return tensor.ndim == 0 or (tensor.numel() == 1 and not tensor.is_floating_point())


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
