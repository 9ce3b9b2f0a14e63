"""Which weights the argument `weights` means: those of a source, a local file, or random ones."""

import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from sktl._validation import did_you_mean
from sktl.checkpoints.formats import INDEX_SUFFIX, files_of
from sktl.checkpoints.matching import PART_MARK
from sktl.checkpoints.weight_files import WEIGHT_SUFFIXES, existing_file, path_and_part, read_tensors

__all__ = [
    "NEED_NO_NETWORK",
    "RANDOM",
    "Weights",
    "as_asked",
    "default_or_file",
    "looks_like_a_path",
    "weights_of_file",
]

# How an error ends that could not download weights.
NEED_NO_NETWORK = (
    "Backbones that need no network: 'tiny_fractal', which ships with sktl, and for photographs 'efficientnet_lite0', "
    "which the extra 'imagenet' brings."
)


@dataclass(frozen=True)
class Weights:
    """Weights that were asked for, and what is known about them before they are read."""

    description: str | None  # what to pass as `weights` to get the same ones again; None for random ones
    identity: tuple  # differs when the weights may differ
    label: str | None = None  # what a record calls them; None for `description`
    path: Path | None = None
    part: str | None = None  # of the file, where it holds several networks
    depends_on_seed: bool = False
    trained_on: str = "unknown"
    license: str = "unknown"
    has_classifier: bool = True  # whether there are numbers for the fully connected layers
    entry: Any = field(default=None, compare=False)  # what the source itself knows them by

    @property
    def is_random(self):
        """Whether the network keeps the random weights that it was built with."""
        return self.description is None

    @property
    def origin(self):
        """What messages call them: a file by its path."""
        return self.description if self.path is None or self.part else str(self.path)

    def read(self, own=()):
        """Read the tensors of the file, under the names of the network whose own tensors these are."""
        return read_tensors(self.path, own, self.part)

    def provenance(self):
        """Return what a record says about its weights."""
        return {"weights": self.label or self.description, "source": self.trained_on, "license": self.license}


RANDOM = Weights(
    None,
    ("random",),
    depends_on_seed=True,
    trained_on="nothing: random weights",
    license="not applicable: random weights",
)


def default_or_file(weights, default, *, owner, what):
    """Find what `weights` means where there are default weights, and no others by name."""
    if isinstance(weights, str) and weights == "default":
        return default
    if looks_like_a_path(weights):
        return weights_of_file(weights)
    raise ValueError(
        f"weights of {owner} must be 'default' ({what}), an existing file, or None for random ones. "
        f"Got {as_asked(weights)} instead.{did_you_mean(weights, ['default'])}"
    )


def as_asked(weights):
    """Write what was passed as `weights` for an error: names and plain values as they are, of the rest the kind."""
    if isinstance(weights, str | Enum):
        return repr(str(weights))
    is_short = weights is None or isinstance(weights, bool | int | float)
    return repr(weights) if is_short else type(weights).__name__


def weights_of_file(path):
    """Return the weights of a local file, which must exist."""
    path, part = path_and_part(path)
    file = existing_file(path)
    identity = ("file", part, *map(_identity, files_of(file)))
    return Weights(str(file) if part is None else f"{file}{PART_MARK}{part}", identity, path=file, part=part)


def _identity(file):
    facts = file.stat()
    # Size and time of writing can be put back; the number of the file and the time of its last change cannot.
    return str(file), facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_ctime_ns


def looks_like_a_path(weights):
    """Return whether `weights` names a file rather than weights of a source."""
    if isinstance(weights, os.PathLike):
        return True
    if not isinstance(weights, str) or not weights:
        return False
    name, _ = path_and_part(weights)
    path = Path(name)
    is_named_so = path.suffix in WEIGHT_SUFFIXES or name.endswith(INDEX_SUFFIX)
    return is_named_so or path.name != name or path.exists()
