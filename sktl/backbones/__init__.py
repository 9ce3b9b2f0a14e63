"""Pretrained networks, each as one record: an ordered list of stages with the preprocessing of its weights."""

from sktl.backbones._backbone import Backbone, tensor_digest
from sktl.backbones._loading import list_backbones, load_backbone
from sktl.backbones._pooling import POOLINGS, pool
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones._seeding import GLOBAL_RANDOMNESS, seeded

__all__ = [
    "GLOBAL_RANDOMNESS",
    "POOLINGS",
    "Backbone",
    "Preprocessing",
    "list_backbones",
    "load_backbone",
    "pool",
    "seeded",
    "tensor_digest",
]
