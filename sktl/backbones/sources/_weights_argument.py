"""What `weights` may be: a name of torchvision's, a file, random numbers, or what a module brings along."""

import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sktl._validation import did_you_mean
from sktl.backbones._weight_files import WEIGHT_SUFFIXES, existing_file
from sktl.backbones.sources._bundled import TINY_FRACTAL
from sktl.backbones.sources._torchvision import member_named

__all__ = ["EMBEDDED_FILE", "WeightSource", "weights_of_module", "weights_of_name"]

EMBEDDED_FILE = Path(__file__).parents[1] / "weights" / "tiny_fractal.safetensors"


@dataclass(frozen=True)
class WeightSource:
    """Where weights come from.

    Parameters
    ----------
    kind : {"embedded", "torchvision", "file", "own", "random"}
        ``"own"`` are those that a module brings along.
    description : str or None
        What to pass as `weights` to get the same ones again; None for random ones.
    identity : tuple
        Differs when the weights may differ.
    path : Path or None
        The file.
    member : torchvision.models.WeightsEnum or None
        Torchvision's name for them.
    """

    kind: str
    description: str | None
    identity: tuple
    path: Path | None = None
    member: Any = field(default=None, compare=False)


_RANDOM = WeightSource("random", None, ("random",))


def weights_of_name(name, weights):
    """Find what `weights` means for a network known by name."""
    if weights is None:
        return _RANDOM
    if name == TINY_FRACTAL:
        return _of_embedded(weights)
    try:
        member = member_named(name, weights)
    except ValueError:
        if not _looks_like_a_path(weights):
            raise
        return _of_file(weights)
    return WeightSource("torchvision", str(member), ("torchvision", str(member), member.url), member=member)


def weights_of_module(weights):
    """Find what `weights` means for a network of the user's own."""
    if weights is None:
        return _RANDOM
    if isinstance(weights, str) and weights == "default":
        return WeightSource("own", "default", ("own",))
    if _looks_like_a_path(weights):
        return _of_file(weights)
    raise ValueError(
        "weights of a network of your own must be 'default' (what it brings along), an existing file, or None for "
        f"random ones. Got {_shown(weights)} instead.{did_you_mean(weights, ['default'])}"
    )


def _of_embedded(weights):
    if isinstance(weights, str) and weights == "default":
        return WeightSource("embedded", "default", ("embedded",), path=EMBEDDED_FILE)
    if _looks_like_a_path(weights):
        return _of_file(weights)
    raise ValueError(
        f"weights of {TINY_FRACTAL} must be 'default' (what ships with sktl), an existing file, or None for random "
        f"ones. Got {_shown(weights)} instead.{did_you_mean(weights, ['default'])}"
    )


def _of_file(path):
    file = existing_file(path)
    facts = file.stat()
    # Size and time of writing can be put back; the number of the file and the time of its last change cannot.
    identity = ("file", str(file), facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_ctime_ns)
    return WeightSource("file", str(file), identity, path=file)


def _looks_like_a_path(weights):
    if isinstance(weights, os.PathLike):
        return True
    if not isinstance(weights, str) or not weights:
        return False
    path = Path(weights)
    return path.suffix in WEIGHT_SUFFIXES or path.name != weights or path.exists()


def _shown(weights):
    return repr(str(weights) if isinstance(weights, Enum) else weights)
