"""A pickled backbone finds its weights again by their digest: at the same path, or wherever such a file lies now."""

import os
import warnings
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch

from sktl.checkpoints.matching import PART_MARK
from sktl.checkpoints.weight_files import WEIGHT_SUFFIXES
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

__all__ = ["load_again"]


def load_again(reload, digest):
    """Load a backbone as it was loaded before, and insist on the same weights."""
    try:
        backbone = reload()
    except WeightsNotFoundError as error:
        problem = error
    else:
        if backbone.digest == digest:
            return backbone
        problem = WeightsMismatchError(
            f"the weights of {backbone.name} ({backbone.weights or 'random'}) must be those that were pickled, with "
            f"digest {digest[:12]}…. Got digest {backbone.digest[:12]}… instead: the file has been replaced, or random "
            "weights come out differently in this version of torch. Put the former file back, or fit again."
        )
    weights = reload.keywords.get("weights")
    if not isinstance(weights, str) or not _is_a_file(weights):  # a name, or random numbers
        raise problem
    own_folders, others = _folders()
    path, mark, part = weights.partition(PART_MARK)
    for candidate in _candidates(PureWindowsPath(PurePosixPath(path).name).name, own_folders, others):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that fit in part, and are not the one
            try:
                backbone = reload(weights=f"{candidate}{mark}{part}")
            except WeightsError:
                continue
        if backbone.digest == digest:
            return backbone
    places = ", ".join(repr(str(folder)) for folder in (*own_folders, *others))
    raise type(problem)(
        f"{problem} No file with the digest {digest[:12]}… that this pickle asks for was found in {places} either: put "
        "it there, or name its folder in the environment variable SKTL_WEIGHTS_DIR."
    )


def _is_a_file(weights):
    """Whether a pickle names a file, in the form of this system or of another one."""
    return PurePosixPath(weights).is_absolute() or PureWindowsPath(weights).is_absolute()


def _folders():
    """Return the folders that the user has named for weights, and those where a file of the same name may be meant.

    Where a pickle itself lies, reading it does not tell.
    """
    named = [Path(folder) for folder in os.environ.get("SKTL_WEIGHTS_DIR", "").split(os.pathsep) if folder]
    return named, [Path.cwd(), Path(torch.hub.get_dir(), "checkpoints")]


def _candidates(name, own_folders, others):
    """Yield files of weights, those of the same name first."""
    yield from (folder / name for folder in (*own_folders, *others) if (folder / name).is_file())
    for folder in own_folders:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        yield from (file for file in files if file.name != name and file.suffix in WEIGHT_SUFFIXES and file.is_file())
