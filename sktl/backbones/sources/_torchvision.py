"""Torchvision's classification models: names, weights and preprocessing."""

import hashlib
import os
import re
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from http.client import HTTPException
from math import isqrt
from pathlib import Path
from urllib.parse import urlparse

import torch
from torchvision import models

from sktl._validation import did_you_mean
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.sources._source import BackboneCard, NamedSource, Variant, register
from sktl.backbones.sources._weights import NEED_NO_NETWORK, Weights, as_asked, looks_like_a_path, weights_of_file
from sktl.checkpoints.weight_files import read_tensors, tensors_in
from sktl.exceptions import WeightsError, WeightsNotFoundError
from sktl.stages.torchvision_stages import auxiliary_heads, chain_of_known_family

__all__ = ["TorchvisionSource"]

_N_IMAGENET_CLASSES = 1000
# Old files of densenet name "norm.1" what is called "norm1" today.
_OLD_DENSENET_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")


@register
class TorchvisionSource(NamedSource):
    """Torchvision's classification models, with the weights of its enums."""

    label = "torchvision"

    def names(self):
        """Return the names of the classification models."""
        return models.list_models(module=models)

    def card(self, name):
        """Return what torchvision says about the default weights, and whether their file is in torch's folder."""
        member = models.get_model_weights(name).DEFAULT
        return BackboneCard(
            name,
            self.label,
            round(member.meta["_file_size"] * 2**20),
            _preprocessing_of(member).crop_size,
            _top1_of(member),
            _license_of(member),
            is_here=_place(member).exists(),
        )

    def published_top1(self, name, weights):
        """Return what torchvision says of any of its weights."""
        return next((_top1_of(member) for member in models.get_model_weights(name) if str(member) == weights), None)

    def find_weights(self, name, weights):
        """Find a member of torchvision's enum, or a file."""
        try:
            member = _member_named(name, weights)
        except ValueError:
            if not looks_like_a_path(weights):
                raise
            return weights_of_file(weights)
        return Weights(str(member), ("torchvision", str(member), member.url), **_facts(member))

    def recognise(self, name, weights):
        """Tell what is known about a local file that is one of torchvision's."""
        member = None if weights.path is None else _member_of_file(name, weights.path)
        return weights if member is None else replace(weights, **_facts(member))

    def tensors(self, name, weights, own):
        """Return the tensors of a file, which is downloaded when it is not on this machine."""
        return _download_tensors(name, weights.entry, own) if weights.path is None else weights.read(own)

    def variant(self, name, weights):
        """Return the image size of the weights, and the normalisation that those of inception networks need."""
        image_size = _member(name, weights).meta["min_size"][0]
        return Variant(image_size=image_size, transform_input=weights.entry is not None)

    def build(self, name, variant):
        """Build one of torchvision's networks."""
        options = {} if variant.n_classes is None else {"num_classes": variant.n_classes}
        if variant.image_size is not None and name.startswith("vit_"):
            options["image_size"] = variant.image_size
        if name in ("googlenet", "inception_v3"):
            options.update(aux_logits=False, init_weights=True, transform_input=variant.transform_input)
        return models.get_model(name, weights=None, **options)

    def auxiliary_heads(self, network):
        """Return those of the inception networks."""
        return auxiliary_heads(network)

    def image_size_of(self, network, tensors):
        """Return the image size that the position embedding of a vision transformer was made for, if it is another."""
        positions = tensors.get("encoder.pos_embedding")
        if not isinstance(network, models.VisionTransformer) or positions is None or positions.ndim != 3:
            return None
        image_size = network.patch_size * isqrt(positions.shape[1] - 1)
        return None if image_size in (0, network.image_size) else image_size

    def chain(self, network):
        """Cut a network into the stages of its family."""
        return chain_of_known_family(network)

    def preprocessing(self, name, network, weights):
        """Return the preprocessing of the weights, at the image size that the network was built for."""
        preprocessing = _preprocessing_of(_member(name, weights))
        return preprocessing.resized(getattr(network, "image_size", preprocessing.crop_size))

    def categories(self, name, weights, n_classes):
        """Return the classes of ImageNet for networks that have as many."""
        return tuple(_member(name, weights).meta["categories"]) if n_classes == _N_IMAGENET_CLASSES else None


def _facts(member):
    return {
        "entry": member,
        "trained_on": _training_data_of(member),
        "license": _license_of(member),
        "has_classifier": member.meta["categories"] is not None,
    }


def _top1_of(member):
    return member.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")


def _member(name, weights):
    return weights.entry or _reference_member(name)


def _reference_member(name):
    """Return the weights whose preprocessing and categories a local file shares: IMAGENET1K_V1, or the first."""
    members = models.get_model_weights(name).__members__
    return members.get("IMAGENET1K_V1", next(iter(members.values())))


def _member_named(name, weights):
    """Return the member of torchvision's enum of weights that is meant."""
    enum = models.get_model_weights(name)
    if isinstance(weights, enum):
        return weights
    if isinstance(weights, str):
        # DEFAULT is an alias in the enum, so it is found by name, too.
        member = weights.removeprefix(f"{enum.__name__}.")
        member = "DEFAULT" if member == "default" else member
        if member in enum.__members__:
            return enum[member]
    own = ["default", *(member.name for member in enum)]
    asked = str(weights).rpartition(".")[2]
    raise ValueError(
        f"weights of {name} must be one of {own}, an existing file, or None for random ones. "
        f"Got {as_asked(weights)} instead.{did_you_mean(asked, own) or did_you_mean(asked.upper(), own)}"
    )


def _member_of_file(name, path):
    """Return the weights of torchvision that a local file is, recognised by its name and the hash in it; or None."""
    if path.name not in {_file_name(member) for member in models.get_model_weights(name)}:
        return None
    member = next(member for member in models.get_model_weights(name) if _file_name(member) == path.name)
    expected = _HASH_IN_NAME.search(path.name)
    if expected is None:
        return None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256") if sys.version_info >= (3, 11) else hashlib.sha256(file.read())
    return member if found.hexdigest().startswith(expected.group(1)) else None


def _preprocessing_of(member):
    """Return the preprocessing that weights of torchvision were trained with."""
    preset = member.transforms()
    return Preprocessing(
        crop_size=preset.crop_size[0],
        resize_size=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        mean=preset.mean,
        std=preset.std,
    )


def _training_data_of(member):
    """Return what weights of torchvision were trained on."""
    if "SWAG" in member.name:
        return "hashtags of 3.6 billion photos (SWAG, arXiv:2201.08371), then ImageNet-1k"
    return "ImageNet-1k"


def _license_of(member):
    """Return the licence that torchvision states for weights, which is its own unless said otherwise."""
    return member.meta.get("license", "BSD-3-Clause (torchvision)")


def _download_tensors(name, member, own):
    """Return the tensors of weights of torchvision, downloading the file when it is not on this machine.

    The file goes to torch's own folder (``TORCH_HOME``), where torchvision finds it, too; torch announces a download
    with a line and a bar on standard error, and compares the hash of what arrived.
    """
    path = _place(member)
    if path.exists():
        tensors = read_tensors(path, own)
    else:
        tensors = tensors_in(_download(name, member, path), path, own)
    if name.startswith("densenet"):
        tensors = {_OLD_DENSENET_NAME.sub(_drop_dot, key): value for key, value in tensors.items()}
    return tensors


def _download(name, member, path):
    try:
        # torch announces on standard output, which belongs to whoever pipes a table out of a program.
        with redirect_stdout(sys.stderr):
            return member.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, HTTPException) as error:
        raise WeightsNotFoundError(_how_to_get(name, member, path, error)) from error
    except RuntimeError as error:
        raise WeightsError(
            f"the weights {member!s} of {name} must have the hash that is part of their name. What was downloaded from "
            f"{member.url} has not, or cannot be read ({error}). Try again, or check who answers at this address."
        ) from error


def _how_to_get(name, member, path, error):
    home = os.environ.get("TORCH_HOME")
    home = "TORCH_HOME is not set" if home is None else f"TORCH_HOME is {home!r}"
    return (
        f"the weights {member!s} of {name} are not on this machine and cannot be downloaded ({error}). Looked for "
        f"{path.name!r} in {str(path.parent)!r} ({home}). Where there is a network, run: curl -L -o {path.name} "
        f"{member.url} and put the file into that folder, or pass its path as weights=. {NEED_NO_NETWORK}"
    )


def _place(member):
    return Path(torch.hub.get_dir()) / "checkpoints" / _file_name(member)


def _file_name(member):
    return os.path.basename(urlparse(member.url).path)


def _drop_dot(found):
    return found.group(1) + found.group(2)
