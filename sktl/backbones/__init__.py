"""Pretrained networks, each as one record: an ordered list of stages with the preprocessing of its weights."""

from sktl.backbones._backbone import Backbone, tensor_digest
from sktl.backbones._loading import load_backbone
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.listing import list_backbones
from sktl.backbones.seeding import GLOBAL_RNG_LOCK, seeded
from sktl.stages.pooling import POOLINGS, pool

__all__ = [
    "GLOBAL_RNG_LOCK",
    "POOLINGS",
    "Backbone",
    "Preprocessing",
    "list_backbones",
    "load_backbone",
    "pool",
    "seeded",
    "tensor_digest",
]


def __getattr__(name):
    if name == "GLOBAL_RANDOMNESS":  # the former name of the lock
        return GLOBAL_RNG_LOCK
    raise AttributeError(f"module 'sktl.backbones' has no attribute {name!r}")
