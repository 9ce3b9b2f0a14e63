"""Files of weights: read without running code from them, and copied into a network only where they fit."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from warnings import warn

import torch
from safetensors.torch import load_file

from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

__all__ = ["LoadReport", "WEIGHT_SUFFIXES", "existing_file", "load_tensors", "read_tensors"]

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".th", ".ckpt", ".tar")
# Under these keys training scripts keep the tensors, next to epoch and optimizer.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# What data-parallel, compiled and Lightning modules put in front of every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_N_NAMES_SHOWN = 3


@dataclass(frozen=True)
class LoadReport:
    """What of a file went into a network.

    Parameters
    ----------
    loaded : int
        Number of tensors copied from the file.
    missing, unexpected, mismatched : tuple of str
        Names that only the network has, that only the file has, and that both have in different shapes.
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
            (self.mismatched, "of another shape"),
        ]
        parts = [f"{len(names)} {what} ({_some(names)})" for names, what in groups if names]
        return f"{self.loaded} tensors fit" + "".join(f", {part}" for part in parts)


def existing_file(path):
    """Return a path made absolute, or say that there is no such file.

    Parameters
    ----------
    path : str or Path
        A file of weights; ``~`` is expanded.

    Returns
    -------
    Path
        The absolute path.

    Raises
    ------
    WeightsNotFoundError
        If there is nothing at the path; names a similar file beside it.
    WeightsError
        If the path is a folder.
    """
    file = Path(path).expanduser().resolve()
    if file.is_dir():
        raise WeightsError(f"weights must be a file. Got the folder {str(file)!r} instead: name a file in it.")
    if not file.exists():
        names = [sibling.name for sibling in file.parent.iterdir()] if file.parent.is_dir() else []
        close = get_close_matches(file.name, names, n=1)
        hint = f" Did you mean {str(file.parent / close[0])!r}?" if close else " Check the path, or pass another one."
        raise WeightsNotFoundError(f"weights must be an existing file. Found nothing at {str(file)!r} instead.{hint}")
    return file


def read_tensors(path):
    """Read the named tensors of a file.

    Files ending in ``.safetensors`` are read as such, all others with ``torch.load(weights_only=True)``, which
    refuses whatever would run code. A checkpoint is unwrapped (``"state_dict"``, ``"model"``), and prefixes such as
    ``"module."`` are taken off.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU, in the file's own precision.

    Raises
    ------
    WeightsError
        If the file is empty, damaged, of another kind, or holds objects other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise WeightsError(_why_unreadable(path, error)) from error
    return tensors_in(content, path)


def _why_unreadable(path, error):
    if path.stat().st_size == 0:
        return f"{str(path)!r} must hold weights. Got an empty file instead: copy or download it again."
    if "weights_only" in str(error) or "Unsupported" in str(error):
        return (
            f"{str(path)!r} must hold tensors only. Got Python objects instead, and reading those would run code from "
            "the file. Where you trust it, save its tensors: torch.save(model.state_dict(), path)."
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{str(path)!r} must be a file written by torch.save or safetensors. It cannot be read ({reason}): it may be "
        "truncated or of another kind. Copy or download it again."
    )


def tensors_in(content, path):
    """Return the named tensors of what a file of weights held, unwrapped.

    Parameters
    ----------
    content : object
        What was read.
    path : Path
        Where from, for messages.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    WeightsError
        If there is no dictionary of tensors in it.
    """
    while isinstance(content, dict):
        wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if wrapper is None:
            break
        content = content[wrapper]
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
    # A plain loop over prefixes: one checkpoint may carry several, one inside the other.
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in content):
            content = {key.removeprefix(prefix): value for key, value in content.items()}
    return dict(content)


def load_tensors(network, tensors, *, name, origin, match="exact", ignored=()):
    """Copy tensors into a network, converting half precision to float32.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    tensors : dict of str to torch.Tensor
        What a file held.
    name, origin : str
        Of the network and of the file, for messages.
    match : {"exact", "partial"}, default="exact"
        Whether everything must fit, or as much as does is taken, with a warning.
    ignored : sequence of str, default=()
        Children of the network that the file may have and the network lacks, such as auxiliary heads.

    Returns
    -------
    LoadReport
        What fitted.

    Raises
    ------
    WeightsMismatchError
        If the names or shapes differ, or with ``match="partial"`` if nothing fits at all.
    """
    tensors = {key: value for key, value in tensors.items() if key.split(".", 1)[0] not in ignored}
    own = network.state_dict()
    misshapen = [key for key in own if key in tensors and tensors[key].shape != own[key].shape]
    fitting = {key: value for key, value in tensors.items() if key not in misshapen}
    # torch decides what is missing: it knows that old files lack the counters of batch norm.
    keys = network.load_state_dict(fitting, strict=False)
    report = LoadReport(
        loaded=len(fitting) - len(keys.unexpected_keys),
        missing=tuple(key for key in keys.missing_keys if key not in misshapen),
        unexpected=tuple(keys.unexpected_keys),
        mismatched=tuple(
            f"{key}: {tuple(tensors[key].shape)} in the file, {tuple(own[key].shape)} in the network"
            for key in misshapen
        ),
    )
    if report.is_complete:
        return report
    if match == "exact" or not report.loaded:
        advice = "Choose the architecture the file was made for"
        advice += ", or pass match='partial' to take what fits." if report.loaded else "."
        raise WeightsMismatchError(f"the weights {origin!r} must fit {name}. Got {report} instead. {advice}")
    warn(f"the weights {origin!r} fit {name} in part only: {report}. The rest keeps its random values.", stacklevel=2)
    return report


def _some(names):
    shown = ", ".join(repr(name) for name in names[:_N_NAMES_SHOWN])
    return shown + (", …" if len(names) > _N_NAMES_SHOWN else "")
