"""From a fitted estimator to the record and tensors of a model file."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sktl.backbones._functional_modules import ImageNetToInception
from sktl.models._format import write_model

__all__ = ["describe_network", "save_model"]

_PACKAGES = ("sktl", "torch", "torchvision", "scikit-learn", "numpy")
_ARRAYS = {"scaler": ("mean", "scale"), "linear": ("coef", "intercept")}


def save_model(path, method, estimator, *, parameters, training):
    """Write a fitted estimator to a model file that needs nothing else."""
    own, tensors = (_fine_tuned_parts if method == "fine_tuned" else _frozen_parts)(estimator)
    network = estimator if method == "fine_tuned" else estimator[0]
    record = {
        "method": method,
        "classes": [str(name) for name in estimator.classes_],
        "backbone": describe_network(network.backbone_),
        "preprocessing": _plain(network._preprocessing()),
        **own,
        "parameters": parameters,
        "training": training,
        "versions": {package: _version(package) for package in _PACKAGES},
    }
    return write_model(path, record, tensors)


def _fine_tuned_parts(estimator):
    return {"n_frozen": estimator.module_.n_frozen}, estimator.module_.state_dict()


def _frozen_parts(pipeline):
    extractor, scaler, linear = (step for _, step in pipeline.steps)
    tensors = {f"stages.{name}": tensor for name, tensor in extractor.backbone_.stages.state_dict().items()}
    for part, own in (("scaler", scaler), ("linear", linear)):
        values = {name: getattr(own, f"{name}_") for name in _ARRAYS[part]}
        tensors |= {f"{part}.{name}": torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}
    return {"layers": extractor.layers_, "pooling": extractor.pooling}, tensors


def describe_network(backbone):
    """Tell a network in plain Python, as far as it takes to build it again and to say where it comes from."""
    weights = backbone.weights
    return {
        "name": backbone.name,
        # Not where a file of weights lay: models travel, and folders carry names of people.
        "weights": Path(weights).name if weights and Path(weights).is_absolute() else weights,
        "source": backbone.source,
        "license": backbone.license,
        "digest": backbone.digest,
        "stages": list(backbone.stage_names),
        "image_size": backbone.preprocessing.crop_size,
        "transform_input": any(isinstance(part, ImageNetToInception) for part in backbone.stages.modules()),
    }


def _plain(preprocessing):
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(preprocessing).items()}


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
