"""Cache key: everything besides the image that a stored vector depends on."""

from dataclasses import dataclass, field
from hashlib import sha256

import PIL
import torch
import torchvision

from sktl.inference._device import bfloat16_instructions
from sktl.inference._dry_run import has_code_of_others, output_digests

# To be raised when the same key gives other bits from now on.
_VERSION = 2
_EXACT = ("none", "ieee")  # torch's words for float32 that is not rounded on the way


@dataclass(frozen=True)
class CacheKey:
    """Everything that a vector depends on besides the image: `parts` of numbers and strings, its width, a text."""

    parts: tuple
    width: int
    description: str
    digest: bytes = field(init=False)

    def __post_init__(self):
        content = repr((_VERSION, self.parts, self.width, self.description))
        object.__setattr__(self, "digest", sha256(content.encode()).digest())

    @property
    def n_bytes(self):
        """Size of a vector of float32."""
        return 4 * self.width


def cache_key_of(backbone, cuts, pooling, preprocessing, placement, engine, rows, width):
    """Return the cache key of one call of `embed`.

    Weights, preprocessing, layers, pooling, precision and engine are in it, and everything else that may change a last
    bit: the shape of a block, the processor's or accelerator's kind, and the versions of what decodes and computes.
    """
    pooling = backbone.own_pooling if pooling == "auto" else pooling
    how = pooling if isinstance(pooling, str) else " and ".join(dict.fromkeys(pooling))
    code = output_digests(backbone, cuts, pooling, preprocessing) if has_code_of_others(backbone) else ()
    parts = (
        *(backbone.name, backbone.family, backbone.digest, code),
        *(repr(preprocessing), cuts, pooling, str(placement.dtype), engine, rows),
        *(torch.__version__, torchvision.__version__, PIL.__version__, _kind_of(placement.device), _version_of(engine)),
        *_form_of_half(placement),
    )
    layers = "+".join(backbone.stage_names[cut - 1] for cut in cuts)
    description = f"{backbone.name} ({backbone.weights or 'random weights'}), {layers}, {how}, " + (
        f"{preprocessing.crop_size} pixels, {str(placement.dtype).removeprefix('torch.')}, {placement.device.type}"
    )
    return CacheKey(parts, width, description)


def _kind_of(device):
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} {_rounding(torch.backends.cuda.matmul)}"
    kind = f"{device.type} {torch.backends.cpu.get_cpu_capability()} {_rounding(torch.backends.mkldnn.matmul)}"
    own = torch.backends.mkldnn.conv.fp32_precision
    return kind if own in _EXACT else f"{kind}, convolutions {own}"


def _rounding(products):
    """Say how far products of float32 may be rounded: torch has an older setting, which fails beside the newer ones."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return products.fp32_precision


def _form_of_half(placement):
    """Return what more the bits of bfloat16 depend on: on the CPU layers are packed, and instructions round by kind."""
    if placement.dtype is not torch.bfloat16 or placement.device.type != "cpu":
        return ()
    return "packed, with sums", bfloat16_instructions()


def _version_of(engine):
    if engine == "torch":
        return ""
    import onnxruntime

    return onnxruntime.__version__
