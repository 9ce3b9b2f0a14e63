"""Inference engines, torch or ONNX Runtime: the function that runs a frozen network on one block of images."""

import copy
from threading import Lock
from weakref import WeakKeyDictionary

import torch

from sktl._forking import free_after_fork
from sktl.inference._folding import FastChain, pooled_outputs
from sktl.inference._onnx import check_onnx, onnx_function

ENGINES = ("torch", "onnxruntime")

# Fast copies of frozen chains: one for all clones of an estimator, gone with the backbone.
_chains: "WeakKeyDictionary" = WeakKeyDictionary()
_making = free_after_fork(Lock())


def check_engine(engine, placement):
    """Refuse an engine that is unknown, not installed, or cannot compute on this device in this precision."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {ENGINES}. Got {engine!r} instead.")
    if engine == "onnxruntime":
        check_onnx(placement)


def frozen_function(backbone, cuts, pooling, preprocessing, placement, *, engine="torch"):
    """Return the function from prepared images to pooled outputs of a frozen network."""
    if engine == "onnxruntime":
        return onnx_function(backbone, cuts, pooling, preprocessing, placement)
    stages = _fast_stages(backbone, max(cuts), preprocessing.crop_size, placement)

    def function(batch):
        images = preprocessing.normalize(batch).contiguous(memory_format=torch.channels_last)
        return pooled_outputs(stages, images, cuts, pooling, backbone.own_pooling)

    return function


def _fast_stages(backbone, n_stages, image_size, placement):
    # In half precision norms are folded on the CPU alone, where all else that is done to the layers outweighs it: it
    # rounds differently when the norm's factors are in the weights.
    fold = placement.dtype is torch.float32
    with _making:
        chains = _chains.setdefault(backbone, {})
        on_cpu = placement.device.type == "cpu"
        pack = placement.dtype if on_cpu and placement.dtype is not torch.float16 else None
        key = (fold, pack, image_size)
        if key not in chains:
            chains[key] = FastChain(backbone.stages, image_size, fold, pack)
        stages = chains[key].below(n_stages)
        if on_cpu:
            return stages
        moved = chains.setdefault((placement.device, fold, image_size), [])
        moved.extend(copy.deepcopy(stage).to(placement.device) for stage in stages[len(moved) :])
        return moved[:n_stages]
