"""Networks of transformers that the user brings as modules, or that a function or a written configuration gives."""

from dataclasses import replace

from sktl.backbones._backbone import tensor_digest
from sktl.backbones.seeding import seeded
from sktl.backbones.sources._image_processors import usual_processor
from sktl.backbones.sources._transformers import (
    build,
    chain_of,
    checked_class,
    network_of,
    without_pooler,
)
from sktl.backbones.sources._transformers_record import record_of
from sktl.backbones.sources._weights import RANDOM
from sktl.checkpoints.weight_files import load_tensors
from sktl.stages.module_stages import copy_for_inference

__all__ = ["load_own_transformers", "redrawn"]


def load_own_transformers(module, weights, *, draw, seed, match, preprocessing, reload):
    """Load a network from a module of transformers, which is copied and left as it is.

    Its weights are drawn as transformers draws them. It does not say how its pictures were prepared: what transformers
    usually does for the architecture is taken, at the size that the network was built for.
    """
    network_class, configuration = checked_class(type(module), module.config)
    name, report = network_class.__name__, None
    with seeded(seed):
        network = build(network_class, configuration) if draw else without_pooler(copy_for_inference(module))
    if weights.path is not None:
        tensors = weights.read(network.state_dict())
        report = load_tensors(network, tensors, name=name, origin=weights.origin, match=match)
    return record_of(
        name,
        network,
        configuration,
        usual_processor(configuration),
        preprocessing=preprocessing,
        names_classes=not draw,
        load_report=report if match == "partial" else None,
        reload=reload,
        **weights.provenance(),
    )


def redrawn(backbone, seed):
    """Return the record of the same network with random weights, drawn as transformers draws them, without a head."""
    with seeded(seed):
        network, flipped = network_of(backbone.configuration)
    stages = chain_of(network, backbone.preprocessing.crop_size, flipped=flipped).stages.requires_grad_(False)
    digest = tensor_digest(backbone.name, stages=stages)
    facts = {"digest": digest, "load_report": None, "reload": None, **RANDOM.provenance()}
    return replace(backbone, stages=stages, head=None, **facts)
