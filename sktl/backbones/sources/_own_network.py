"""Networks of the user's own, as a module or as a function that makes one: copied, checked, cut into stages."""

import hashlib
import re
from dataclasses import replace

from torch import nn
from torchvision.models import Inception3, MaxVit, VisionTransformer

from sktl.backbones._backbone import make_backbone, tensor_digest
from sktl.backbones._chain_of_module import chain_of_own_module, copy_for_inference, forget_weights, named_stages
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones._seeding import seeded
from sktl.backbones._stages import auxiliary_heads
from sktl.backbones._weight_files import check_finite, load_tensors, read_tensors
from sktl.backbones.sources._bundled import TinyResNet
from sktl.backbones.sources._named import TINY_PREPROCESSING

__all__ = ["load_made", "load_module", "with_random_weights"]

# What most networks for photographs were trained with, torchvision's first ones among them.
_USUAL_SIZE, _USUAL_RESIZE = 224, 256


def load_made(make, weights, *, match, preprocessing, seed, reload, stages=None):
    """Load a network from a function that makes it."""
    module = _make(make, seed)
    if weights.kind == "random":
        twin = _make(make, seed + 1)
        if tensor_digest("", module=module) == tensor_digest("", module=twin):
            raise ValueError(
                "weights=None needs a function that makes a network with random weights. Got the same weights twice "
                f"from {make!r} instead: leave out its own, for instance functools.partial(resnet18, weights=None)."
            )
        weights = replace(weights, kind="drawn")
    return load_module(
        module,
        weights,
        match=match,
        preprocessing=preprocessing,
        seed=seed,
        stages=stages,
        reload=reload,
    )


def _make(make, seed):
    with seeded(seed):
        module = make()
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"backbone must be a name, a torch.nn.Module, or a function that returns one. Got {make!r}, which returned "
            f"{type(module).__name__}, instead."
        )
    return module


def load_module(module, weights, *, match, preprocessing, seed, stages=None, reload=None):
    """Load a network from a module, which is copied and left as it is."""
    name = type(module).__name__
    parts = None if stages is None else named_stages(module, stages)
    network = copy_for_inference(module)
    report = None
    if weights.kind == "random":
        with seeded(seed):
            forget_weights(network, name)
    elif weights.kind == "file":
        tensors = read_tensors(weights.path, network.state_dict())
        options = {"match": match, "ignored": auxiliary_heads(network)}
        report = load_tensors(network, tensors, name=name, origin=str(weights.path), **options)
    check_finite(network, name, auxiliary_heads(network))  # or else no chain would reproduce its output
    if parts is not None:
        parts = [(stage, [_in_copy(network, part) for part in group]) for stage, group in parts]
    preprocessing = preprocessing or _usual_preprocessing(network)
    chain, n_features = chain_of_own_module(network, name, preprocessing.crop_size, parts)
    record = make_backbone(
        name,
        chain,
        n_features=n_features,
        preprocessing=preprocessing,
        categories=None,
        load_report=report if match == "partial" else None,
        reload=reload,
        **_provenance(weights),
    )
    return replace(record, digest=_with_structure(record.digest, record.stages))


def _with_structure(digest, stages):
    """Let layers without tensors count, such as pooling: a name of torchvision says them, a class of the user's not."""
    structure = re.sub(r" at 0x[0-9a-f]+", "", repr(stages))
    return hashlib.sha256(f"{digest}\0{structure}".encode()).hexdigest()


def with_random_weights(backbone, seed):
    """Return the record of the same network with random weights; the one passed is left as it is."""
    network = nn.ModuleDict({"stages": backbone.stages})
    if backbone.head is not None:
        network["head"] = backbone.head
    network = copy_for_inference(network)
    with seeded(seed):
        forget_weights(network, backbone.name)
    head = dict(network).get("head")
    stages = network["stages"]
    digest = _with_structure(tensor_digest(backbone.name, stages=stages, head=head), stages)
    return replace(
        backbone,
        stages=stages,
        head=head,
        weights=None,
        digest=digest,
        source="nothing: random weights",
        license="not applicable: random weights",
        load_report=None,
    )


def _in_copy(network, part):
    return network.get_submodule(part) if isinstance(part, str) else copy_for_inference(part)


def _usual_preprocessing(network):
    if isinstance(network, TinyResNet):
        return TINY_PREPROCESSING
    usual = Preprocessing(crop_size=_USUAL_SIZE, resize_size=_USUAL_RESIZE)
    if isinstance(network, VisionTransformer):
        return usual.resized(network.image_size)
    if isinstance(network, MaxVit):
        return usual.resized(4 * network.blocks[0].grid_size[0])
    return usual.resized(299) if isinstance(network, Inception3) else usual


def _provenance(weights):
    if weights.kind in ("random", "drawn"):
        source, licence = "nothing: random weights", "not applicable: random weights"
    else:
        source = licence = "unknown"
    shown = "its own" if weights.kind == "own" else weights.description
    return {"weights": shown, "source": source, "license": licence}
