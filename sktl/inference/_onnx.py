"""The frozen network in ONNX Runtime: exported in memory, one session for each shape and type of the block."""

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
from sktl.inference.onnx_programs import CPU, check_onnx_installed, make_program, open_session

_CALLER = "engine='onnxruntime'"

# Protocol buffers hold less than 2 GiB; the graph itself takes its part.
_MAX_BYTES_IN_MEMORY = 1900 * 2**20
# Sessions hold weights of their own: the latest few for each backbone, gone with it.
_MAX_SESSIONS = 4
_sessions: "WeakKeyDictionary" = WeakKeyDictionary()
_making = free_after_fork(Lock())


def onnx_function(backbone, cuts, pooling, preprocessing, placement):
    """Return the function from prepared images to pooled outputs, run by ONNX Runtime."""
    provider = check_onnx(placement)

    def function(images):
        session = _session(backbone, cuts, pooling, images, preprocessing, provider)
        outputs = session.run(None, {"images": images.numpy(force=True)})
        return torch.from_numpy(outputs[0]).to(images.device)

    return function


def check_onnx(placement):
    """Raise what `onnx_function` would raise; return the provider, see `_provider`."""
    if placement.dtype is not torch.float32:
        precision = str(placement.dtype).removeprefix("torch.")
        raise ValueError(f"engine='onnxruntime' needs precision='float32'. Got {precision!r} instead.")
    check_onnx_installed(_CALLER)
    return _provider(placement.device)


def _provider(device):
    """Return the name and the options, as a hashable tuple, of what computes on a device."""
    if device.type == "cpu":
        return CPU, ()
    runtime = import_optional("onnxruntime", extra="onnx", caller=_CALLER)
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        # Without TF32, which would keep 10 bits of the 23 that are promised.
        return "CUDAExecutionProvider", (("device_id", str(device.index or 0)), ("use_tf32", "0"))
    raise ValueError(
        f"engine='onnxruntime' needs an ONNX Runtime that computes on the device. Got {str(device)!r} instead, and one "
        f"that knows {runtime.get_available_providers()}. Use device='cpu', or engine='torch'."
    )


def _session(backbone, cuts, pooling, images, preprocessing, provider):
    key = (cuts, pooling, tuple(images.shape), images.dtype, preprocessing, provider)
    with _making:
        sessions = _sessions.setdefault(backbone, OrderedDict())
        if key not in sessions:
            sessions[key] = _open_session(_export(backbone, cuts, pooling, images, preprocessing), provider)
            while len(sessions) > _MAX_SESSIONS:
                sessions.popitem(last=False)
        sessions.move_to_end(key)
        return sessions[key]


class _Pooled(nn.Module):
    """Normalisation, chain and pooling as one module, which is what can be exported."""

    def __init__(self, stages, cuts, pooling, own_pooling, preprocessing):
        super().__init__()
        self.stages = stages
        self.normalize = preprocessing.normalize
        self.arguments = (cuts, pooling, own_pooling)

    def forward(self, images):
        return pooled_outputs(self.stages, self.normalize(images), *self.arguments)


def _export(backbone, cuts, pooling, images, preprocessing):
    # A copy, since the exporter hooks into modules that other threads may be running.
    stages = copy.deepcopy(backbone.stages[: max(cuts)])
    network = _Pooled(stages, cuts, pooling, backbone.own_pooling, preprocessing).eval()
    needs = (_CALLER, backbone.name, "Use engine='torch', which runs every network.")
    return make_program(network, torch.zeros(images.shape, dtype=images.dtype), needs=needs)


def _open_session(program, provider):
    name, options = provider
    arguments = {"caller": _CALLER, "provider": name, "options": options}
    weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    if weights <= _MAX_BYTES_IN_MEMORY:
        session = open_session(program.model_proto.SerializeToString(), **arguments)
    else:
        with tempfile.TemporaryDirectory(prefix="sktl-onnx-") as folder:
            path = Path(folder) / "network.onnx"
            program.save(path, external_data=True)
            session = open_session(path, **arguments)
    if session.get_providers()[0] != name:
        raise ValueError(
            f"engine='onnxruntime' needs {name} to start. It did not: the libraries of CUDA that this ONNX Runtime was "
            "built for may be missing. Use engine='torch'."
        )
    return session
