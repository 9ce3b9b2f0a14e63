"""Numbers that a model computes with, and those that come out, are numbers: neither NaN nor infinite."""

import numpy as np

__all__ = ["check_numbers", "check_outputs", "trial_image"]

_LARGEST = 1e18  # float32 ends at 3e38: products of such numbers with usual ones, layer by layer, stay below


def check_numbers(tensors):
    """Refuse what is not finite, or larger than one can compute with, and scales of zero."""
    # Also not true for NaN.
    broken = [name for name, tensor in tensors.items() if not (tensor.abs() <= _LARGEST).all()]
    if broken:
        raise ValueError(f"its numbers must be finite, {_LARGEST:g} at most. Got others in {broken[0]!r} instead")
    if any(name in ("head.scale", "scaler.scale") and not tensor.all() for name, tensor in tensors.items()):
        raise ValueError("its scales must not be zero, since features are divided by them")


def trial_image(size):
    """Return an image of noise."""
    return np.random.default_rng(0).integers(256, size=(size, size, 3), dtype=np.uint8)


def check_outputs(outputs):
    """Refuse a model that makes of a trial image what is no number."""
    if not np.isfinite(outputs).all():
        raise ValueError("its predictions must be finite. Got NaN or infinity for a trial image instead")
