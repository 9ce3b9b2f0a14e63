"""The weights of a fitted network in a file that holds numbers and names, and no code."""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

# Names listed in an error.
_LISTED = 5


def save_weights(network, path, *, backbone):
    """Write all parameters and buffers of a network.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    path : str or Path
        File to write; replaced in one step.
    backbone : Backbone
        What the network started from, recorded in the file's metadata.
    """
    path = Path(path)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"backbone": backbone.name, "backbone_digest": backbone.digest, "license": backbone.license}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(state, unfinished, metadata=metadata)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_weights(network, path):
    """Replace all parameters and buffers of a network, or none.

    Parameters
    ----------
    network : torch.nn.Module
        The network.
    path : str or Path
        File written by `save_weights`.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsError
        If the file is damaged.
    WeightsMismatchError
        If names or shapes differ.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsNotFoundError(f"path must name a file written by save_weights. Got {str(path)!r} instead.")
    try:
        loaded = load_file(path)
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
    network.load_state_dict(loaded)
