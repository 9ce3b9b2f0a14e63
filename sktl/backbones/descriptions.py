"""A network known by name in plain Python, for a file with its tensors, and its record again from both."""

from pathlib import PurePosixPath, PureWindowsPath

import torch

from sktl.backbones._backbone import make_backbone
from sktl.backbones.sources._bundled import BUNDLED, LABEL
from sktl.stages.pooling import pool
from sktl.stages.torchvision_stages import has_transformed_input

__all__ = ["describe_network", "file_name", "never_saw_photographs", "record_of_chain"]


def describe_network(backbone):
    """Tell a network in plain Python, as far as it takes to build it again and to say where it comes from."""
    built_from = {} if backbone.configuration is None else {"configuration": backbone.configuration}
    return {
        **built_from,
        "name": backbone.name,
        "weights": file_name(backbone.weights),
        "source": backbone.source,
        "license": backbone.license,
        "digest": backbone.digest,
        "stages": list(backbone.stage_names),
        "image_size": backbone.preprocessing.crop_size,
        "transform_input": has_transformed_input(backbone.stages),
    }


def file_name(weights):
    """Leave out in which folder a file of weights lay: descriptions travel, and folders carry names of people."""
    return weights and PureWindowsPath(PurePosixPath(weights).name).name


def never_saw_photographs(name, weights):
    """Tell whether a record of this name and these weights is that of a bundled network with its own weights."""
    return name in BUNDLED and weights == LABEL


def record_of_chain(described, chain, preprocessing):
    """Make the record of a described network from a chain with its tensors, from which its digest is computed anew."""
    with torch.no_grad():
        image = torch.zeros(1, 3, preprocessing.crop_size, preprocessing.crop_size)
        n_features = pool(chain.stages.eval()(image), "auto", chain.own_pooling).shape[1]
    facts = {name: described[name] for name in ("weights", "source", "license")}
    return make_backbone(
        described["name"],
        chain,
        n_features=n_features,
        preprocessing=preprocessing,
        categories=None,
        configuration=described.get("configuration"),
        **facts,
    )
