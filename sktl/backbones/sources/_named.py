"""Networks known by name: built by their source, filled with their weights, cut into stages."""

from dataclasses import replace

import torch
from torch import nn

from sktl.backbones._backbone import make_backbone
from sktl.backbones.finiteness import check_finite
from sktl.backbones.seeding import seeded
from sktl.checkpoints.weight_files import load_tensors
from sktl.stages.chain import Chain
from sktl.stages.pooling import pool

__all__ = ["load_named", "n_classes_in"]


def load_named(source, name, weights, *, seed, match, preprocessing, reload):
    """Load a network that a source knows by name."""
    if not weights.is_random:
        weights = source.recognise(name, weights)
    with seeded(seed):
        network, tensors = _build_fitting(source, name, weights)
    report = None
    if tensors is not None:
        ignored = source.auxiliary_heads(network)
        report = load_tensors(network, tensors, name=name, origin=weights.origin, match=match, ignored=ignored)
    chain = source.chain(network)
    n_features, n_classes = _widths(chain)
    if report is not None and chain.head is not None and not _head_is_loaded(network, chain.head, report):
        chain = replace(chain, head=None)
    if not weights.has_classifier:
        chain, n_features = _without_classifier(chain)
    if chain.head is not None:
        check_finite(dict(chain.head.named_parameters()), f"the head of {name}")
    knows_classes = report is not None and chain.head is not None
    return make_backbone(
        name,
        chain,
        n_features=n_features,
        preprocessing=preprocessing or source.preprocessing(name, network, weights),
        categories=source.categories(name, weights, n_classes) if knows_classes else None,
        load_report=report if match == "partial" else None,
        reload=reload,
        **weights.provenance(),
    )


def _build_fitting(source, name, weights):
    """Build a network with as many classes, and for vision transformers as many patches, as its tensors have."""
    variant = source.variant(name, weights)
    network = source.build(name, variant)
    if weights.is_random:
        return network, None
    tensors = source.tensors(name, weights, network.state_dict())
    tensors = source.adapted(name, network, weights, tensors)
    found = _sizes_in(source, network, tensors)
    return (source.build(name, replace(variant, **found)) if found else network), tensors


def _sizes_in(source, network, tensors):
    """Return what must be different about a network to fit the tensors of a file."""
    found = {
        "n_classes": source.n_classes_of(network, tensors),
        "image_size": source.image_size_of(network, tensors),
    }
    return {name: size for name, size in found.items() if size is not None}


def n_classes_in(head, network, tensors):
    """Return the number of rows of the last layer of a head in a file, None where it is the network's own or absent."""
    layer = _layers(head)[-1]
    weight_name = next(name for name, parameter in network.named_parameters() if parameter is layer.weight)
    weight = tensors.get(weight_name)
    differs = weight is not None and weight.ndim == layer.weight.ndim and len(weight) != len(layer.weight)
    return len(weight) if differs else None


def _layers(head):
    return [part for part in head.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


def _widths(chain):
    """Return the number of features that a chain gives, and of classes that its head makes of them."""
    layers = [] if chain.head is None else _layers(chain.head)
    n_classes = layers[-1].weight.shape[0] if layers else None
    return chain.n_features or layers[0].weight.shape[1], n_classes


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
