"""Networks known by name, built without numbers: those come from a file."""

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch.overrides import TorchFunctionMode

from sktl.backbones.seeding import seeded
from sktl.backbones.sources._source import Variant, source_of
from sktl.backbones.sources._transformers import chain_of, network_of

__all__ = ["empty_chain"]


def empty_chain(described):
    """Build the stages of a network, with shapes and names and, for most, no numbers of their own."""
    name = described["name"]
    if described.get("configuration") is not None:
        return _chain_of_transformers(described)
    source = source_of(name)
    if source is None:
        raise ValueError(f"backbone must be a name from list_backbones(). Got {name!r} instead.")
    variant = Variant(n_classes=1, image_size=described["image_size"], transform_input=described["transform_input"])
    with seeded(0), nullcontext() if source.is_traced else _LargeTensorsOnMeta():
        chain = source.chain(source.build(name, variant))
    # Weights without a classifier worth the name have no stage of hidden layers either.
    stages = chain.stages[: len(described["stages"])]
    if [stage for stage, _ in stages.named_children()] != described["stages"]:
        raise ValueError(f"the stages of {name} must be those of this sktl. Got {described['stages']} instead.")
    return replace(chain, stages=stages, head=None)


def _chain_of_transformers(described):
    """Build the stages of a network of transformers, with numbers that the caller replaces."""
    with seeded(0):
        network, flipped = network_of(described["configuration"])
    chain = chain_of(network, described["image_size"], flipped=flipped)
    if [stage for stage, _ in chain.stages.named_children()] != described["stages"]:
        raise ValueError(f"the stages of {described['name']} must be those of this sktl and this transformers.")
    return replace(chain, stages=chain.stages.requires_grad_(False), head=None)


class _LargeTensorsOnMeta(TorchFunctionMode):
    """Make the tensors that modules fill themselves without memory, and all others as ever.

    With everything on the meta device, regnets could not be built: they count their blocks with tensors.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)
