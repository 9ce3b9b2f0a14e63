"""Networks of transformers that the user brings as modules, or that a function or a written configuration gives."""

from dataclasses import replace

from sktl.backbones._backbone import make_backbone, tensor_digest
from sktl.backbones.finiteness import check_finite
from sktl.backbones.seeding import seeded
from sktl.backbones.sources._image_processors import flips_channels, preprocessing_of, usual_processor
from sktl.backbones.sources._transformers import (
    build,
    categories_of,
    chain_of,
    checked_class,
    network_of,
    without_pooler,
    written_configuration,
)
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
    check_finite(dict(network.named_parameters()), name)
    processor = usual_processor(configuration)
    flipped = processor is not None and flips_channels(processor)
    preprocessing = preprocessing or preprocessing_of(processor, configuration, name)
    chain = chain_of(network, preprocessing.crop_size, flipped=flipped)
    return make_backbone(
        name,
        chain,
        n_features=chain.n_features,
        preprocessing=preprocessing,
        categories=None if draw or chain.head is None else categories_of(configuration),
        load_report=report if match == "partial" else None,
        configuration=written_configuration(network_class, configuration, flipped=flipped),
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
