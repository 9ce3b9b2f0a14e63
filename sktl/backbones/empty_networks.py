"""Networks known by name, built without numbers: those come from a file."""

import torch
from torch.overrides import TorchFunctionMode

from sktl.backbones._loading import list_backbones
from sktl.backbones._seeding import seeded
from sktl.backbones._stages import Chain, chain_of_known_family
from sktl.backbones.sources._bundled import TINY_FRACTAL, TinyResNet
from sktl.backbones.sources._torchvision import build_torchvision

__all__ = ["empty_chain"]


def empty_chain(described):
    """Build the stages of a network, with shapes and names and, for most, no numbers."""
    name, image_size = described["name"], described["image_size"]
    if name not in list_backbones():
        raise ValueError(f"backbone must be a name from list_backbones(). Got {name!r} instead.")
    with seeded(0), _LargeTensorsOnMeta():
        chain = _new_chain(name, image_size, described["transform_input"])
    # Weights without a classifier worth the name have no stage of hidden layers either.
    stages = chain.stages[: len(described["stages"])]
    if [stage for stage, _ in stages.named_children()] != described["stages"]:
        raise ValueError(f"the stages of {name} must be those of this sktl. Got {described['stages']} instead.")
    return Chain(stages, None, chain.family, chain.own_pooling)


class _LargeTensorsOnMeta(TorchFunctionMode):
    """Make the tensors that modules fill themselves without memory, and all others as ever.

    With everything on the meta device, regnets could not be built: they count their blocks with tensors.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def _new_chain(name, image_size, transform_input):
    if name == TINY_FRACTAL:
        return chain_of_known_family(TinyResNet(n_classes=1))
    sizes = {"n_classes": 1, "image_size": image_size, "transform_input": transform_input}
    return chain_of_known_family(build_torchvision(name, **sizes))
