"""Device and precision: from the words a user writes to what torch computes with."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = ("auto", *_DTYPES)


@dataclass(frozen=True)
class Placement:
    """Where to compute, and the precision of matrix products and convolutions."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self):
        """Return the context in which the network runs."""
        if self.dtype is torch.float32:
            return nullcontext()
        # No cache: all threads have one, and a thread would read casts that the stream of another has yet to make.
        return torch.autocast(self.device.type, dtype=self.dtype, cache_enabled=False)


def resolve_placement(device="auto", precision="auto"):
    """Turn `device` and `precision` into torch objects; "auto" takes an accelerator, and a precision that suits it."""
    device = _resolve_device(device)
    if precision == "auto":
        # Tensor cores for bfloat16 came with compute capability 8.0.
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        precision = "bfloat16" if fast else "float32"
    return Placement(device, _DTYPES[precision])


def _resolve_device(device):
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda', 'cuda:1', 'mps' or a torch.device. Got {device!r} instead."
        ) from error
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (resolved.index or 0) >= here.get(resolved.type, 0):
        raise ValueError(
            f"device must exist on this machine. Got {device!r} instead, but torch sees {here['cuda']} CUDA device(s). "
            "Use device='auto' to take an accelerator only where there is one."
        )
    if resolved.type == "cuda" and resolved.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return resolved
