"""A CUDA device where there is none: it computes on the CPU, and refuses to be mixed with it.

What forgets to move a tensor, or takes one for an array, fails here as it would there. Streams, copies and precision
are not what they are there: `install` replaces them by nothing. It changes torch for the whole process.
"""

import functools

import torch
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
_ATEN = torch.ops.aten
# What takes tensors of the CPU beside its own.
_MIXES = {_ATEN.copy_.default, _ATEN.index.Tensor, _ATEN.index_put_.default, _ATEN._index_put_impl_.default}
_FACTORIES = ("tensor", "as_tensor", "zeros", "ones", "empty", "full", "arange", "rand", "randn", "randint", "randperm")


class PretendedTensor(torch.Tensor):
    """A tensor of the device; `inner` holds its numbers. To torch's own code it is one of the meta device."""

    @staticmethod
    def __new__(cls, inner):
        """Wrap a tensor of the CPU."""
        facts = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.size(), **facts, device="meta")
        wrapper.inner = inner
        return wrapper

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self):
        return f"PretendedTensor{tuple(self.inner.shape)}"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copied = PretendedTensor(self.inner.clone())
            is_parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(copied, self.requires_grad) if is_parameter else copied
        return memo[id(self)]

    def numpy(self, *, force=False):
        """Refuse, as a tensor of a device does."""
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return self.inner.numpy()

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        """Compute on the CPU, unless tensors of both are mixed."""
        options = dict(options or {})
        tensors = [each for each in tree_leaves((arguments, options)) if isinstance(each, torch.Tensor)]
        own = [each for each in tensors if isinstance(each, cls)]
        if function not in _MIXES and any(not isinstance(each, cls) and each.ndim for each in tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device: {function} got some of the CPU.")
        place = options.get("device")
        stays = isinstance(arguments[0], cls) if function is _ATEN.copy_.default else _is_there(place, default=True)
        if place is not None:
            options["device"] = torch.device("cpu")
        inner = [
            tree_map(lambda each: each.inner if isinstance(each, cls) else each, part) for part in (arguments, options)
        ]
        with torch.no_grad():
            output = function(*inner[0], **inner[1])
        known = {id(each.inner): each for each in own}  # what was changed in place is itself

        def wrapped(part):
            if not isinstance(part, torch.Tensor) or not stays:
                return part
            return known.get(id(part)) if id(part) in known else cls(part)

        with torch.inference_mode(False):  # a wrapper made in that mode could not be sliced
            return tree_map(wrapped, output)


def _is_there(place, *, default=False):
    return default if place is None else torch.device(place).type in ("cuda", "meta")


def install():
    """Make torch believe in the device, for the rest of the process."""
    torch.Tensor.to = _moving(torch.Tensor.to)
    torch.Tensor.pin_memory = lambda self: self
    for name in _FACTORIES:
        setattr(torch, name, _making(getattr(torch, name)))
    torch.optim.Optimizer._accelerator_graph_capture_health_check = lambda self: None
    pretended = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda *_: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_capability": lambda *_: (7, 0),  # without bfloat16, which nothing here would compute with
        "get_device_name": lambda *_: "pretended device",
        "mem_get_info": lambda *_: (2**33, 2**33),
        "Stream": _Stream,
        "current_stream": _Stream,
        "set_stream": lambda stream: None,
        "empty_cache": lambda: None,
        "init": lambda: None,
        "default_generators": (torch.Generator(),),
    }
    for name, value in pretended.items():
        setattr(torch.cuda, name, value)


class _Stream:
    def __init__(self, device):
        self.device = device

    def wait_stream(self, other):
        """Wait for nothing."""


def _making(factory):
    @functools.wraps(factory)
    def make(*arguments, device=None, **options):
        if device is not None and torch.device(device).type == "cuda":
            return PretendedTensor(factory(*arguments, **options))
        return factory(*arguments, **options) if device is None else factory(*arguments, device=device, **options)

    return make


def _moving(to):
    """Return `Tensor.to`, which also goes to the device."""

    def move(self, *arguments, copy=False, **options):
        if arguments and isinstance(arguments[0], PretendedTensor):
            arguments = (DEVICE, arguments[0].dtype)
        copied = {"copy": True} if copy else {}
        device, dtype, _, layout = torch._C._nn._parse_to(*arguments, **options)
        if device is None or device.type != "cuda":
            return to(self, *arguments, **copied, **options)
        kept = {"dtype": dtype, "memory_format": layout, **copied}
        kept = {name: value for name, value in kept.items() if value is not None}
        if isinstance(self, PretendedTensor):
            return to(self, **{"dtype": self.dtype, **kept}) if kept else self
        return PretendedTensor(to(self.detach(), **{"dtype": self.dtype, **kept, "copy": True}))

    return move
