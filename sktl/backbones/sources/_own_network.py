"""Networks of the user's own: copied, filled with weights, checked, cut into stages."""

import hashlib
import re
from dataclasses import replace

from torch import nn
from torchvision.models import Inception3, MaxVit, VisionTransformer

from sktl.backbones._backbone import make_backbone, tensor_digest
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.finiteness import check_finite
from sktl.backbones.seeding import seeded
from sktl.backbones.sources._own_transformers import load_own_transformers, redrawn
from sktl.backbones.sources._timm_network import (
    chain_of_timm,
    draw_anew,
    image_size_of,
    is_from_timm,
    preprocessing_of,
    provenance_of,
)
from sktl.backbones.sources._transformers import is_network
from sktl.backbones.sources._weights import RANDOM, Weights, default_or_file
from sktl.checkpoints.weight_files import load_tensors
from sktl.stages.given_stages import named_stages
from sktl.stages.module_stages import chain_of_own_module, copy_for_inference, forget_weights
from sktl.stages.torchvision_stages import auxiliary_heads

__all__ = ["find_own_weights", "load_own_network", "with_random_weights"]

# What most networks for photographs were trained with, torchvision's first ones among them.
_USUAL_SIZE, _USUAL_RESIZE = 224, 256
_OWN = Weights("default", ("own",), label="its own")


def find_own_weights(weights):
    """Find what `weights` means for a network of the user's own."""
    return default_or_file(weights, _OWN, owner="a network of your own", what="what it brings along")


def load_own_network(module, weights, *, draw, seed, match, preprocessing, stages, reload):
    """Load a network from a module, which is copied and left as it is, and draw its weights anew where that is due."""
    if stages is None and is_network(module):
        options = {"match": match, "preprocessing": preprocessing, "reload": reload}
        return load_own_transformers(module, weights, draw=draw, seed=seed, **options)
    name = type(module).__name__
    parts = None if stages is None else named_stages(module, stages)
    network = copy_for_inference(module)
    auxiliary = auxiliary_heads(network)
    report = None
    if draw:
        with seeded(seed):
            if not (is_from_timm(network) and draw_anew(network)):
                forget_weights(network, name)
    if weights.path is not None:
        tensors = weights.read(network.state_dict())
        report = load_tensors(network, tensors, name=name, origin=weights.origin, match=match, ignored=auxiliary)
    # Or else no chain would reproduce the output.
    check_finite({key: each for key, each in network.named_parameters() if key.split(".")[0] not in auxiliary}, name)
    preprocessing = preprocessing or _usual_preprocessing(network)
    if parts is None and is_from_timm(network):
        chain = chain_of_timm(network, preprocessing.crop_size)
    else:
        chain = chain_of_own_module(network, name, preprocessing.crop_size, parts)
    if weights.path is None and not draw and is_from_timm(network):
        weights = replace(weights, **_told_by_timm(network.pretrained_cfg))
    record = make_backbone(
        name,
        chain,
        n_features=chain.n_features,
        preprocessing=preprocessing,
        categories=None,
        load_report=report if match == "partial" else None,
        reload=reload,
        **weights.provenance(),
    )
    return replace(record, digest=_with_structure(record.digest, record.stages))


def _told_by_timm(config):
    """Return what a network of timm says about its weights, which may have been trained since."""
    facts = provenance_of(config).items()
    return {name: value if value == "unknown" else f"{value} (says its pretrained_cfg)" for name, value in facts}


def _with_structure(digest, stages):
    """Let layers without tensors count, such as pooling: a name of torchvision says them, a class of the user's not."""
    structure = re.sub(r" at 0x[0-9a-f]+", "", repr(stages))
    return hashlib.sha256(f"{digest}\0{structure}".encode()).hexdigest()


def with_random_weights(backbone, seed):
    """Return the record of the same network with random weights; the one passed is left as it is."""
    if backbone.configuration is not None:
        return redrawn(backbone, seed)
    network = nn.ModuleDict({"stages": backbone.stages})
    if backbone.head is not None:
        network["head"] = backbone.head
    network = copy_for_inference(network)
    with seeded(seed):
        forget_weights(network, backbone.name)
    head = dict(network).get("head")
    stages = network["stages"]
    digest = _with_structure(tensor_digest(backbone.name, stages=stages, head=head), stages)
    return replace(backbone, stages=stages, head=head, digest=digest, load_report=None, **RANDOM.provenance())


def _usual_preprocessing(network):
    if is_from_timm(network):
        return preprocessing_of(network.pretrained_cfg, type(network).__name__, image_size_of(network))
    usual = Preprocessing(crop_size=_USUAL_SIZE, resize_size=_USUAL_RESIZE)
    if isinstance(network, VisionTransformer):
        return usual.resized(network.image_size)
    if isinstance(network, MaxVit):
        return usual.resized(4 * network.blocks[0].grid_size[0])
    return usual.resized(299) if isinstance(network, Inception3) else usual
