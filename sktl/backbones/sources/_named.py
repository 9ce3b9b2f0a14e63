"""Networks known by name: built, filled with their weights, cut into stages."""

from math import isqrt

import torch
from torch import nn
from torchvision.models import VisionTransformer

from sktl.backbones._backbone import make_backbone
from sktl.backbones._pooling import pool
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones._seeding import seeded
from sktl.backbones._stages import Chain, auxiliary_heads, chain_of_known_family
from sktl.backbones._weight_files import check_finite, load_tensors, read_tensors
from sktl.backbones.sources._bundled import (
    EMBEDDED_LICENSE,
    EMBEDDED_SOURCE,
    IMAGE_SIZE,
    MEAN,
    STD,
    TINY_FRACTAL,
    TinyResNet,
)
from sktl.backbones.sources._torchvision import (
    build_torchvision,
    download_tensors,
    license_of,
    member_of_file,
    preprocessing_of,
    reference_member,
    source_of,
)

__all__ = ["TINY_PREPROCESSING", "load_named"]

TINY_PREPROCESSING = Preprocessing(crop_size=IMAGE_SIZE, mean=MEAN, std=STD)
_N_IMAGENET_CLASSES = 1000


def load_named(name, weights, *, match, preprocessing, seed, reload):
    """Load a network known by name."""
    tensors, member = _tensors(name, weights)
    with seeded(seed):
        network = _build_fitting(name, tensors, member)
    report = None
    if tensors is not None:
        origin = weights.description if weights.path is None else str(weights.path)
        ignored = auxiliary_heads(network)
        report = load_tensors(network, tensors, name=name, origin=origin, match=match, ignored=ignored)
    chain = chain_of_known_family(network)
    n_features, n_classes = _widths(chain.head)
    if report is not None and not _head_is_loaded(network, chain.head, report):
        chain = Chain(chain.stages, None, chain.family, chain.own_pooling)
    if member is not None and member.meta["categories"] is None:
        chain, n_features = _without_classifier(chain)
    if chain.head is not None:
        check_finite(chain.head, f"the head of {name}")
    return make_backbone(
        name,
        chain,
        n_features=n_features,
        preprocessing=preprocessing or _preprocessing(name, network, member),
        categories=_categories(name, member, n_classes) if report is not None and chain.head is not None else None,
        load_report=report if match == "partial" else None,
        reload=reload,
        **_provenance(weights, member),
    )


def _tensors(name, weights):
    """Return the tensors, None for random weights, and torchvision's name for them, None for those of others."""
    if weights.kind == "random":
        return None, None
    if weights.kind == "torchvision":
        return download_tensors(name, weights.member), weights.member
    tensors = read_tensors(weights.path)
    return tensors, None if name == TINY_FRACTAL else member_of_file(name, weights.path)


def _build_fitting(name, tensors, member):
    """Build a network with as many classes, and for vision transformers as many patches, as the file has."""
    sizes = {}
    if name != TINY_FRACTAL:
        reference = member or reference_member(name)
        sizes = {"image_size": reference.meta["min_size"][0], "transform_input": member is not None}
    network = _build(name, **sizes)
    found = {} if tensors is None else _sizes_in(network, tensors)
    if not found:
        return network
    return _build(name, **{**sizes, **found})


def _build(name, **sizes):
    return TinyResNet(**sizes) if name == TINY_FRACTAL else build_torchvision(name, **sizes)


def _sizes_in(network, tensors):
    """Return what must be different about a network to fit the tensors of a file."""
    found = {}
    layer = _layers(chain_of_known_family(network).head)[-1]
    weight_name = next(name for name, parameter in network.named_parameters() if parameter is layer.weight)
    weight = tensors.get(weight_name)
    if weight is not None and weight.ndim == layer.weight.ndim and len(weight) != len(layer.weight):
        found["n_classes"] = len(weight)
    positions = tensors.get("encoder.pos_embedding")
    if isinstance(network, VisionTransformer) and positions is not None and positions.ndim == 3:
        image_size = network.patch_size * isqrt(positions.shape[1] - 1)
        if image_size not in (0, network.image_size):
            found["image_size"] = image_size
    return found


def _layers(head):
    return [part for part in head.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


def _widths(head):
    """Return the number of features that a head takes, and of classes that it gives."""
    first, last = _layers(head)[0], _layers(head)[-1]
    return first.weight.shape[1], last.weight.shape[0]


def _head_is_loaded(network, head, report):
    absent = {*report.missing, *(entry.split(":")[0] for entry in report.mismatched)}
    own = {id(parameter) for parameter in head.parameters()}
    return not any(id(parameter) in own and name in absent for name, parameter in network.named_parameters())


def _without_classifier(chain):
    """Drop the fully connected layers of weights that have none worth the name (vgg16's IMAGENET1K_FEATURES)."""
    stages = chain.stages[:-1]
    with torch.no_grad():
        n_features = pool(stages.eval()(torch.zeros(1, 3, 64, 64))).shape[1]
    return Chain(stages, None, chain.family), n_features


def _preprocessing(name, network, member):
    if name == TINY_FRACTAL:
        return TINY_PREPROCESSING
    preprocessing = preprocessing_of(member or reference_member(name))
    return preprocessing.resized(getattr(network, "image_size", preprocessing.crop_size))


def _categories(name, member, n_classes):
    if name == TINY_FRACTAL or n_classes != _N_IMAGENET_CLASSES:
        return None
    return tuple((member or reference_member(name)).meta["categories"])


def _provenance(weights, member):
    if weights.kind == "random":
        source, licence = "nothing: random weights", "not applicable: random weights"
    elif weights.kind == "embedded":
        source, licence = EMBEDDED_SOURCE, EMBEDDED_LICENSE
    elif member is None:
        source = licence = "unknown"
    else:
        source, licence = source_of(member), license_of(member)
    shown = "embedded" if weights.kind == "embedded" else weights.description
    return {"weights": shown, "source": source, "license": licence}
