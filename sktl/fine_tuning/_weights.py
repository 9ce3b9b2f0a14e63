"""The weights of a fitted network in a file that holds numbers and names, and no code."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from sktl._atomic_files import replacing
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

# Names listed in an error.
_LISTED = 5


def save_weights(network, path, *, backbone, encoding):
    """Write all parameters and buffers of a network."""
    path = Path(path)
    # Cloned, since safetensors refuses tensors that share memory, such as tied layers of a head.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    metadata = {
        "backbone": backbone.name,
        "backbone_digest": backbone.digest,
        "license": backbone.license,
        "encoding": json.dumps(encoding),
    }
    with replacing(path) as unfinished:
        save_file(state, unfinished, metadata=metadata)


def load_weights(network, path, *, check):
    """Replace all parameters and buffers of a network, or none."""
    path = Path(path)
    if not path.is_file():
        raise WeightsNotFoundError(f"path must name a file written by save_weights. Got {str(path)!r} instead.")
    try:
        loaded = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"path must name a complete safetensors file. Got {str(path)!r} instead: {error}") from error
    own = network.state_dict()
    problems = [
        *(f"{name} is missing" for name in own.keys() - loaded.keys()),
        *(f"{name} is unexpected" for name in loaded.keys() - own.keys()),
        *(
            f"{name} has shape {tuple(loaded[name].shape)}, the network {tuple(own[name].shape)}"
            for name in own.keys() & loaded.keys()
            if own[name].shape != loaded[name].shape
        ),
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:_LISTED])
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise WeightsMismatchError(
            f"the weights in {str(path)!r} must fit the fitted network. Got {len(problems)} difference(s) instead: "
            f"{shown}{more}. Fit with the same backbone, head and classes first."
        )
    if "encoding" not in metadata:
        raise WeightsMismatchError(f"path must name a file written by save_weights. Got {str(path)!r} instead.")
    encoding = json.loads(metadata["encoding"])
    check(encoding)
    network.load_state_dict(loaded)
    return encoding
