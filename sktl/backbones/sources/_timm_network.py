"""What a network of timm says about itself: preprocessing, training data, features, and classifier."""

import sys
from math import floor

import torch
from torch import nn

from sktl.backbones._preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from sktl.stages.pooling import pool
from sktl.stages.traced_stages import agree, chain_of_features

__all__ = [
    "chain_of_timm",
    "classifier_names",
    "draw_anew",
    "image_size_of",
    "is_from_timm",
    "preprocessing_of",
    "provenance_of",
]

# What parts of the tags of weights stand for, where timm's documentation says so.
_DATA = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "inw21k": "ImageNet-21k",
    "ig1b": "Instagram-1B (hashtags)",
    "jft": "JFT-300M",
    "yfcc15m": "YFCC-15M",
    "yfcc100m": "YFCC-100M",
    "cc12m": "CC-12M",
    "sa1b": "SA-1B",
    "openai": "OpenAI's image-text pairs (CLIP)",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "laiona": "LAION-A",
    "datacomp1b": "DataComp-1B",
    "datacompxl": "DataComp-XL",
    "metaclip": "MetaCLIP's image-text pairs",
    "metaclip2": "MetaCLIP-2's image-text pairs",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "dfndr2b": "DataCompDR-2B",
    "merged2b": "Merged-2B",
    "webli": "WebLI",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "sat493m": "SAT-493M",
}


def is_from_timm(module):
    """Return whether a module is a network that timm has made, which needs no import of timm to tell."""
    own = type(module).__module__.partition(".")[0] == "timm" and hasattr(module, "forward_head")
    return own and isinstance(getattr(module, "pretrained_cfg", None), dict)


def draw_anew(network):
    """Fill a network with the weights that timm draws for a new one of its name; return whether that was possible."""
    config = network.pretrained_cfg
    options = {"img_size": image_size_of(network)} if config.get("fixed_input_size") else {}
    try:
        timm = sys.modules["timm"]  # it has made the network
        fresh = timm.create_model(config["architecture"], num_classes=network.num_classes, **options)
        network.load_state_dict(fresh.state_dict())
    except (AttributeError, KeyError, RuntimeError, TypeError):
        return False  # it was made with other options, or has been changed
    return True


def preprocessing_of(config, name, image_size=None):
    """Return what timm's ``create_transform`` does for ``resolve_data_config`` of a configuration.

    That is the size of the training, ``input_size``, and not ``test_input_size``, as timm does unless asked.
    """
    n_channels, height, width = config.get("input_size") or (3, 224, 224)
    if n_channels != 3 or height != width:
        raise ValueError(
            f"a network must take square pictures in three colours. {name} takes pictures of {height} × {width} "
            f"pixels in {n_channels} channels instead: choose another one."
        )
    preprocessing = Preprocessing(
        crop_size=height,
        resize_size=floor(height / (config.get("crop_pct") or 0.875)),
        interpolation=config.get("interpolation") or "bicubic",
        mean=config.get("mean") or IMAGENET_MEAN,
        std=config.get("std") or IMAGENET_STD,
        crop_mode=config.get("crop_mode") or "center",
    )
    return preprocessing if image_size is None else preprocessing.resized(image_size)


def provenance_of(config):
    """Return training data and licence of weights, as far as tag and configuration tell them."""
    found = dict.fromkeys(_DATA[part] for part in (config.get("tag") or "").split("_") if part in _DATA)
    return {"trained_on": ", then ".join(found) or "unknown", "license": config.get("license") or "unknown"}


def image_size_of(network):
    """Return the side of the pictures that a network was built for, which may be another than that of its weights."""
    size = getattr(network, "_traits", {}).get("img_size")
    size = size or getattr(getattr(network, "patch_embed", None), "img_size", None)
    size = size or network.pretrained_cfg.get("input_size") or 224
    return size if isinstance(size, int) else size[-1]


def classifier_names(network):
    """Return the names of the last layers that give the class scores."""
    names = network.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def chain_of_timm(network, image_size=None):
    """Cut a network of timm into stages, the last of which ends in what timm calls the features before the logits."""
    network.eval()
    image_size = image_size or image_size_of(network)
    return chain_of_features(
        network,
        _features,
        head=_classifier(network, image_size),
        family=type(network).__module__.rpartition(".")[2],
        image_size=image_size,
    )


def _features(network, images):
    return _vectors(network.forward_head(network.forward_features(images), pre_logits=True))


def _vectors(features):
    """Average maps and tokens, which a network gives whose own pooling has been taken out."""
    return features.mean(1) if features.ndim == 3 else pool(features)


def _classifier(network, image_size):
    """Return the layers that turn features into the network's output; None where there are none, or several."""
    candidates = [network.get_classifier()]
    modules = dict(network.named_modules())
    candidates += [modules[name] for name in classifier_names(network) if name in modules]
    candidates = [
        each for each in candidates if isinstance(each, nn.Module) and next(each.parameters(), None) is not None
    ]
    candidates += [_of_vectors(each) for each in candidates if isinstance(each, nn.Conv2d)]
    if not candidates:
        return None
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((1, 3, image_size, image_size), generator=generator) * 2 - 1
    with torch.no_grad():
        features, scores = _features(network, images), network(images)
        return next((each for each in candidates if _gives(each, features, scores)), None)


def _of_vectors(convolution):
    return nn.Sequential(nn.Unflatten(1, (convolution.in_channels, 1, 1)), convolution, nn.Flatten(1))


def _gives(classifier, features, scores):
    try:
        result = classifier(features)
    except (RuntimeError, ValueError, IndexError, NotImplementedError):
        return False  # of another width, or no layers to be called at all
    return isinstance(scores, torch.Tensor) and agree(result, scores)
