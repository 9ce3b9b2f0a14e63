"""The numbers that a network gives for images must be finite."""

import torch

from sktl.exceptions import WeightsError

__all__ = ["check_finite_numbers"]


def check_finite_numbers(outputs, what, images, positions):
    """Raise if a network gives NaN or infinity for an image; row i of its outputs is that of image positions[i]."""
    broken = (~torch.isfinite(outputs).flatten(1).all(dim=1)).nonzero()[:, 0].tolist()
    if not broken:
        return
    first = positions[broken[0]]
    name = images.describe(first) if hasattr(images, "describe") else f"image {first}"
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    raise WeightsError(
        f"the {what} of the network must be finite numbers. Got NaN or infinity for {name}{more} instead: its weights "
        "or the numbers in these images are too large to compute with. Take other weights, train with a lower "
        "learning_rate, or state the value_range of the images; with precision='float16' take 'float32'."
    )
