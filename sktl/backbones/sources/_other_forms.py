"""Networks in other forms than a module that computes in floats: taken out of their wrapper, or refused by name.

A module in a wrapper is the network. What was scripted, exported or quantized, or comes from another library, cannot be
copied, cut into stages or trained, and every one of them would fail somewhere else with an error of its own.
"""

from copy import deepcopy

import torch
from torch import nn

__all__ = ["in_plain_form"]

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.optim.swa_utils.AveragedModel)
_LOAD_INSTEAD = "Build the network in torch, and pass its weights as weights=."
# First parts of the module that a class comes from: those of classes and functions that people pass, and what they are.
_OF_OTHER_LIBRARIES = {
    "torch.export": ("a program of torch.export", "Pass the module that was exported."),
    "torch.onnx": ("a program of torch.onnx", "Pass the module that was exported."),
    "torch.jit": ("a TorchScript function", "Pass the module that was scripted."),
    "onnx": ("a network in ONNX", "Pass the module that was exported. " + _LOAD_INSTEAD),
    "onnx_ml_pb2": ("a network in ONNX", "Pass the module that was exported. " + _LOAD_INSTEAD),
    "onnxruntime": ("a session of ONNX Runtime", "Pass the module that was exported; engine='onnxruntime' runs it."),
    "openvino": ("a network of OpenVINO", _LOAD_INSTEAD),
    "tensorflow": ("a network of TensorFlow", _LOAD_INSTEAD),
    "keras": ("a network of Keras", _LOAD_INSTEAD),
    "tf_keras": ("a network of Keras", _LOAD_INSTEAD),
    "flax": ("a network of Flax", _LOAD_INSTEAD),
    "jax": ("a function of JAX", _LOAD_INSTEAD),
    "skorch": ("a net of skorch", "Pass the module inside: net.module_."),
}
_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torchao", "bitsandbytes")


def in_plain_form(backbone):
    """Return what was passed as `backbone`, a module without wrappers; raise if it is a network in another form."""
    if not isinstance(backbone, nn.Module):
        _refuse_other_library(backbone)
        return backbone
    while (inner := _inside(backbone)) is not None:
        backbone = inner
    _refuse_other_form(backbone)
    return _without_inner_wrappers(backbone)


def _inside(module):
    """Return the network inside of a wrapper, None for other modules."""
    if isinstance(module, _WRAPPERS):
        return module.module
    compiled = getattr(module, "_orig_mod", None)
    return compiled if isinstance(compiled, nn.Module) and _comes_from(module, "torch._dynamo") else None


def _without_inner_wrappers(module):
    """Return a copy without wrappers around parts; the module itself where there are none."""
    wrapped = [part for part in module.modules() if _inside(part) is not None]
    memo: dict = {}
    for part in reversed(wrapped):  # the inner ones first
        memo[id(part)] = deepcopy(_inside(part), memo)
    return deepcopy(module, memo) if wrapped else module


def _comes_from(thing, *origins):
    """Return the first of some modules that a class of an object comes from, None if there is none."""
    places = [kind.__module__ or "" for kind in type(thing).__mro__]
    return next((each for each in origins if any(f"{place}.".startswith(f"{each}.") for place in places)), None)


def _refuse_other_library(backbone):
    origin = _comes_from(backbone, *_OF_OTHER_LIBRARIES)
    if origin is not None:
        kind, advice = _OF_OTHER_LIBRARIES[origin]
        _refuse(kind, advice)
    if isinstance(backbone, dict) and any(isinstance(value, torch.Tensor) for value in backbone.values()):
        _refuse("a dictionary of tensors", "Build the network, and fill it with module.load_state_dict(tensors).")


def _refuse_other_form(module):
    for path, part in module.named_modules():
        where = f" at {path!r}" if path else ""
        if isinstance(part, torch.jit.ScriptModule):
            _refuse(f"a TorchScript module{where}", "Pass the module that was scripted or traced.")
        if _comes_from(part, "torch.export") is not None:
            _refuse(f"a program of torch.export{where}", "Pass the module that was exported.")
        tensors = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        if _comes_from(part, *_QUANTIZED) or any(
            each.is_quantized or _comes_from(each, *_QUANTIZED) for each in tensors
        ):
            _refuse(f"quantized weights{where}", "Pass the network as it was before.")


def _refuse(kind, advice):
    raise TypeError(
        "backbone must be a name, a torch.nn.Module that computes in floats, a function that makes one, or a Backbone. "
        f"Got {kind} instead. {advice}"
    )
