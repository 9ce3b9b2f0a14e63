"""Where in a recorded network of the user's own the features end and the classifier begins."""

import torch
from torch import nn

from sktl.stages._calls import RecordingError, Value, leaves_of
from sktl.stages._segments import Calls, n_layers_in

__all__ = ["classifier_position", "opened_to_last_layer", "output_of"]

# What may follow a classifier, unlike the other activations.
_SCORES = (
    *(nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Softmin, nn.Sigmoid, nn.LogSigmoid, nn.Softplus),
    nn.MultiheadAttention,
)
# Of two tensors, place by place: a matrix in them mixes nothing.
_ELEMENTWISE = {"add", "sub", "rsub", "mul", "div", "true_divide", "truediv", "pow"}
_ELEMENTWISE |= {f"{prefix}{name}" for prefix in "ri" for name in ("add", "sub", "mul", "truediv", "pow")}
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
    if last is None or not _is_vector(calls.shape(output_of(calls))):
        return end
    result, after = calls.shape(calls.of_images[last].outputs[0]), calls.of_images[last + 1 :]
    if any(_is_norm(calls, call) for call in after):
        return end
    is_convolution = len(result) == 4
    is_activated = any(_is_activation(calls, call) for call in after)
    if is_convolution and not _is_pointwise(calls, last) and not _takes_all_places(calls, last):
        if not is_activated and _gives_fewer_channels(calls, last):
            raise RecordingError("its last layer, a convolution, may give scores or features")
        return end
    if not is_convolution and is_activated:
        return end
    if last in calls.places:
        return last
    # After a residual connection there are still maps or tokens, which the network pools later on.
    joined = next(number for position, number in calls.places.items() if position > last)
    if len(result) == 2 or len(calls.shape(joined)) == 2:
        raise RecordingError("several layers give its scores together, so that its features are not one tensor")
    return end


def _is_vector(shape):
    """Whether there is one row for each image, with or without sides of one pixel beside it."""
    return len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))


def _gives_fewer_channels(calls, position):
    convolutions = [part for _, part in _parts(calls, position) if isinstance(part, nn.Conv2d)]
    return any(each.out_channels < each.in_channels for each in convolutions)


def _takes_all_places(calls, position):
    """Whether a convolution is a linear layer: its kernel is as large as the maps that it takes."""
    call = calls.of_images[position]
    taken = [calls.shape(leaf.number) for leaf in leaves_of(call.arguments) if isinstance(leaf, Value)]
    sides = [part.weight.shape[2:] for _, part in _parts(calls, position) if isinstance(part, nn.Conv2d)]
    return _is_vector(calls.shape(call.outputs[0])) and sides == [shape[2:] for shape in taken]


def _last_layer(calls):
    """Return the position of the last call that uses a matrix or kernels."""
    return next((i for i in reversed(range(len(calls.of_images))) if _is_layer(calls, i)), None)


def _is_layer(calls, position):
    call = calls.of_images[position]
    if call.kind != "module" and _name(call).strip("_") in _ELEMENTWISE:
        return False
    return any(n_layers_in(part) for _, part in _parts(calls, position))


def _parts(calls, position):
    return [part for call in calls.with_parameters(position, position + 1) for part in calls.parts_of(call)]


def _is_norm(calls, call):
    """Whether a call is a norm with weights, rather than a bias or a scale of scores."""
    if call.kind == "module":
        module = calls.part(call.target)
        is_norm = isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()
        return is_norm and any(parameter.numel() > 1 for parameter in module.parameters())
    return _name(call).endswith("_norm") and any(isinstance(part, nn.Parameter) for _, part in calls.parts_of(call))


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
    return _name(call) in _ACTIVATION_NAMES


def _name(call):
    return call.target if isinstance(call.target, str) else call.target.__name__
