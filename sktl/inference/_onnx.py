"""The frozen network in ONNX Runtime: exported in memory, one session for each shape of the block."""

import copy
import tempfile
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sktl._forking import free_after_fork
from sktl._optional import import_optional
from sktl.inference._folding import pooled_outputs

# Protocol buffers hold less than 2 GiB; the graph itself takes its part.
_MAX_BYTES_IN_MEMORY = 1900 * 2**20
# Sessions hold weights of their own: the latest few for each backbone, gone with it.
_MAX_SESSIONS = 4
_sessions: "WeakKeyDictionary" = WeakKeyDictionary()
_making = free_after_fork(Lock())


def onnx_function(backbone, cuts, pooling, shape, placement):
    """Return the function from normalised images to pooled outputs, run by ONNX Runtime."""
    provider = check_onnx(placement)
    _session(backbone, cuts, pooling, shape, provider)

    def function(images):
        session = _session(backbone, cuts, pooling, tuple(images.shape), provider)
        outputs = session.run(None, {"images": images.numpy(force=True)})
        return torch.from_numpy(outputs[0]).to(images.device)

    return function


def check_onnx(placement):
    """Raise what `onnx_function` would raise; return the provider, see `_provider`."""
    if placement.dtype is not torch.float32:
        precision = str(placement.dtype).removeprefix("torch.")
        raise ValueError(f"engine='onnxruntime' needs precision='float32'. Got {precision!r} instead.")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        import_optional(name, extra="onnx", caller="engine='onnxruntime'")
    return _provider(placement.device)


def _provider(device):
    """Return the name and the options, as a hashable tuple, of what computes on a device."""
    if device.type == "cpu":
        return "CPUExecutionProvider", ()
    runtime = import_optional("onnxruntime", extra="onnx", caller="engine='onnxruntime'")
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        # Without TF32, which would keep 10 bits of the 23 that are promised.
        return "CUDAExecutionProvider", (("device_id", str(device.index or 0)), ("use_tf32", "0"))
    raise ValueError(
        f"engine='onnxruntime' needs an ONNX Runtime that computes on the device. Got {str(device)!r} instead, and one "
        f"that knows {runtime.get_available_providers()}. Use device='cpu', or engine='torch'."
    )


def _session(backbone, cuts, pooling, shape, provider):
    key = (cuts, pooling, shape, provider)
    with _making:
        sessions = _sessions.setdefault(backbone, OrderedDict())
        if key not in sessions:
            sessions[key] = _open_session(_export(backbone, cuts, pooling, shape), provider)
            while len(sessions) > _MAX_SESSIONS:
                sessions.popitem(last=False)
        sessions.move_to_end(key)
        return sessions[key]


class _Pooled(nn.Module):
    """The chain and the pooling as one module, which is what can be exported."""

    def __init__(self, stages, cuts, pooling, own_pooling):
        super().__init__()
        self.stages = stages
        self.arguments = (cuts, pooling, own_pooling)

    def forward(self, images):
        return pooled_outputs(self.stages, images, *self.arguments)


@torch.inference_mode(False)
@torch.no_grad()
def _export(backbone, cuts, pooling, shape):
    # A copy, since the exporter hooks into modules that other threads may be running.
    network = _Pooled(copy.deepcopy(backbone.stages[: max(cuts)]), cuts, pooling, backbone.own_pooling).eval()
    images = torch.zeros(shape)
    network(images)  # images that do not suit the network have an error of their own
    try:
        return torch.onnx.export(network, (images,), input_names=["images"], dynamo=True, verbose=False)
    except Exception as error:  # the exporter raises what it meets
        raise ValueError(
            f"engine='onnxruntime' needs a network that torch.onnx can export. {backbone.name} cannot be exported "
            f"({type(error).__name__}). Use engine='torch', which runs every network."
        ) from error


def _open_session(program, provider):
    runtime = import_optional("onnxruntime", extra="onnx", caller="engine='onnxruntime'")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    name, provider_options = provider
    arguments = {"sess_options": options, "providers": [(name, dict(provider_options))]}
    weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    if weights <= _MAX_BYTES_IN_MEMORY:
        session = runtime.InferenceSession(program.model_proto.SerializeToString(), **arguments)
    else:
        with tempfile.TemporaryDirectory(prefix="sktl-onnx-") as folder:
            path = Path(folder) / "network.onnx"
            program.save(path, external_data=True)
            session = runtime.InferenceSession(path, **arguments)
    if session.get_providers()[0] != name:
        raise ValueError(
            f"engine='onnxruntime' needs {name} to start. It did not: the libraries of CUDA that this ONNX Runtime was "
            "built for may be missing. Use engine='torch'."
        )
    return session
