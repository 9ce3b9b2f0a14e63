"""Where in a recorded network of the user's own the features end and the classifier begins."""

import torch
from torch import nn

from sktl.stages._calls import RecordingError, Value
from sktl.stages._segments import Calls, n_layers_in

__all__ = ["classifier_position", "opened_to_last_layer", "output_of"]

# What may follow a classifier, unlike the other activations.
_SCORES = (nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin, nn.Sigmoid, nn.MultiheadAttention)
_ACTIVATIONS = tuple(getattr(nn.modules.activation, name) for name in nn.modules.activation.__all__)
_ACTIVATION_NAMES = {kind.__name__.lower() for kind in _ACTIVATIONS if kind not in _SCORES} | {"relu_", "normalize"}

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def output_of(calls):
    """Return the number of the value that a recorded network returns; None where it is no tensor of its own."""
    output = calls.recording.output
    return output.number if isinstance(output, Value) else None


def opened_to_last_layer(recorder, calls, opened=("",)):
    """Open modules until the last layer that runs stands alone; return what is open, and the Calls."""
    opened = frozenset(opened)
    while True:
        last = _last_layer(calls)
        call = None if last is None else calls.of_images[last]
        if call is None or call.kind != "module" or _is_single_layer(calls.part(call.target)):
            return opened, calls
        try:
            calls = Calls(calls.network, recorder.record(opened | {call.target}))
        except RecordingError:
            return opened, calls
        opened = opened | {call.target}


def _is_single_layer(module):
    """Whether a module is a layer of torch, or a kind of one; others may do several things."""
    of_torch = any(
        kind.__module__.startswith("torch.nn.modules.") for kind in type(module).__mro__ if kind is not nn.Module
    )
    return of_torch and not list(module.children())


def classifier_position(calls):
    """Return before which call the features end, which is the end where there is no classifier.

    A classifier is the last layer, if nothing but scores comes out: neither norms with weights nor activations follow
    a linear one. What it is handed are the features.

    Raises
    ------
    RecordingError
        If there seems to be a classifier, and what it is handed is not a single tensor.
    """
    end, last = len(calls.of_images), _last_layer(calls)
    if last is None or len(calls.shape(output_of(calls))) != 2:
        return end
    result, after = calls.shape(calls.of_images[last].outputs[0]), calls.of_images[last + 1 :]
    if any(_is_norm(calls, call) for call in after):
        return end
    is_convolution = len(result) == 4
    if is_convolution and not _is_pointwise(calls, last):
        return end
    if not is_convolution and any(_is_activation(calls, call) for call in after):
        return end
    if last in calls.places:
        return last
    # After a residual connection there are still maps or tokens, which the network pools later on.
    joined = next(number for position, number in calls.places.items() if position > last)
    if len(result) == 2 or len(calls.shape(joined)) == 2:
        raise RecordingError("several layers give its scores together, so that its features are not one tensor")
    return end


def _last_layer(calls):
    """Return the position of the last call that uses a matrix or kernels."""
    positions = (i for i in reversed(range(len(calls.of_images))) if any(n_layers_in(p) for _, p in _parts(calls, i)))
    return next(positions, None)


def _parts(calls, position):
    return [part for call in calls.with_parameters(position, position + 1) for part in calls.parts_of(call)]


def _is_norm(calls, call):
    """Whether a call is a norm with weights, rather than a bias or a scale of scores."""
    if call.kind == "module":
        module = calls.part(call.target)
        is_norm = isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()
        return is_norm and any(parameter.numel() > 1 for parameter in module.parameters())
    name = call.target if isinstance(call.target, str) else call.target.__name__
    return name.endswith("_norm") and any(isinstance(part, nn.Parameter) for _, part in calls.parts_of(call))


def _is_pointwise(calls, position):
    kernels = [
        tensor
        for _, part in _parts(calls, position)
        for tensor in ([part] if isinstance(part, torch.Tensor) else part.parameters())
        if tensor.ndim == 4
    ]
    return all(kernel.shape[2:] == (1, 1) for kernel in kernels)


def _is_activation(calls, call):
    if call.kind == "module":
        modules = calls.part(call.target).modules()
        return any(isinstance(module, _ACTIVATIONS) and not isinstance(module, _SCORES) for module in modules)
    name = call.target if isinstance(call.target, str) else call.target.__name__
    return name in _ACTIVATION_NAMES
