"""Device and precision: from the words a user writes to what torch computes with."""

import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass

import torch

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = ("auto", *_DTYPES)
# torch's names for what multiplies bfloat16 in a CPU, the fastest first: of Intel, of Intel and AMD, of ARM.
_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")
_HINT = (
    "sktl: this CPU has instructions for bfloat16: precision='bfloat16' runs networks 1.5 to 2.4 times as fast as the "
    "default, float32. Vectors then differ by some per cent; use one precision for fitting and predicting."
)
_said = {"hint": False}  # once in a process


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


def bfloat16_instructions():
    """Return the name of what multiplies bfloat16 in this CPU; "" for nothing, None where torch cannot tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:
        return None
    here = capabilities()
    return next((name for name in _INSTRUCTIONS if here.get(name)), "")


def resolve_placement(device="auto", precision="auto", verbose=0):
    """Turn `device` and `precision` into torch objects; "auto" takes an accelerator, and a precision that suits it.

    Where the CPU would do better or worse in bfloat16, that is said: the former once, and if `verbose` is positive.
    """
    device = _resolve_device(device)
    if device.type == "cpu":
        _tell_of_bfloat16(precision, verbose)
    if precision == "auto":
        # Tensor cores for bfloat16 came with compute capability 8.0.
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        precision = "bfloat16" if fast else "float32"
    return Placement(device, _DTYPES[precision])


def _tell_of_bfloat16(precision, verbose):
    if precision == "bfloat16" and bfloat16_instructions() == "":
        warnings.warn(
            "precision should be 'float32' on this CPU, which has no instructions for bfloat16. Got 'bfloat16' "
            "instead, which is slower here. Use precision='auto', unless vectors must be those of another machine.",
            stacklevel=5,
        )
    if precision == "auto" and verbose and not _said["hint"] and bfloat16_instructions() in _INSTRUCTIONS[:2]:
        print(_HINT, file=sys.stderr)
        _said["hint"] = True


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
