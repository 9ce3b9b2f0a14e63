"""Weights must be finite numbers: the check that every file and network goes through."""

import torch

from sktl.exceptions import WeightsError

__all__ = ["check_finite", "names_of_nonfinite"]


def names_of_nonfinite(tensors):
    """List the names of those tensors of a dictionary that hold NaN or infinity."""
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]


def check_finite(tensors, name):
    """Refuse NaN and infinity in the named tensors of a network."""
    broken = names_of_nonfinite(tensors)
    if broken:
        raise WeightsError(
            f"weights must be finite numbers. Got NaN or infinity in {len(broken)} tensors of {name} ({broken[0]!r}) "
            "instead: the file may be damaged, or the training that wrote it has diverged. Take another one."
        )
