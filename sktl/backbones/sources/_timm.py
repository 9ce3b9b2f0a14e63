"""timm's networks by name: ``"timm/resnet50"``, or with the tag of its weights ``"timm/resnet50.a1_in1k"``."""

import os
import sys
from collections import Counter
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import torch
from torchvision.models import ResNet18_Weights

from sktl._optional import import_optional
from sktl._validation import did_you_mean
from sktl.backbones.sources._huggingface_hub import Repository
from sktl.backbones.sources._source import BackboneCard, NamedSource, Variant, register
from sktl.backbones.sources._timm_network import chain_of_timm, classifier_names, preprocessing_of, provenance_of
from sktl.backbones.sources._weights import NEED_NO_NETWORK, Weights, as_asked, looks_like_a_path, weights_of_file
from sktl.checkpoints.weight_files import read_tensors
from sktl.exceptions import WeightsNotFoundError

__all__ = ["TimmSource"]

_PREFIX = "timm/"
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_FILTERS = ("checkpoint_filter_fn", "checkpoint_filter_fn_classifier", "_filter_fn", "_filter_torchvision_pretrained")


@register
class TimmSource(NamedSource):
    """The image classification networks of timm, with the weights that it knows."""

    label = "timm"

    is_traced = True

    def takes(self, backbone):
        """Return whether this is a name with the prefix, for which timm need not be here."""
        return isinstance(backbone, str) and backbone.startswith(_PREFIX)

    def names(self):
        """Return all architectures, and those with the tag of each of their weights; none where timm is not here."""
        try:
            timm = _timm("timm/…")
        except ImportError:
            return []
        return [_PREFIX + name for name in (*timm.list_models(), *timm.list_models(pretrained=True))]

    def card(self, name):
        """Return what the configuration of the weights says; it knows no accuracy, and a size once the file is here."""
        model = name.removeprefix(_PREFIX)
        config = _config(name, model)
        if not (config.get("hf_hub_id") or config.get("url")):  # an architecture without weights
            return BackboneCard(name, self.label, image_size=config["input_size"][-1], is_here=False)
        path = _file_here(config)
        return BackboneCard(
            name,
            self.label,
            n_bytes=None if path is None else path.stat().st_size,
            image_size=config["input_size"][-1],
            license=config.get("license"),
            is_here=path is not None,
        )

    def find_weights(self, name, weights):
        """Find weights of timm by their tag, or a file."""
        architecture, tag = _parts(name)
        known = _tags(name, architecture)
        asked = str(weights).removeprefix(f"{architecture}.") if isinstance(weights, str) else weights
        if asked == "default" and (tag or known):
            asked = tag or _config(name, architecture)["tag"]
        if asked not in known:
            if not looks_like_a_path(weights):
                raise ValueError(
                    f"weights of {name} must be one of {['default', *known] if known else 'no names'}, an existing "
                    f"file, or None for random ones. Got {as_asked(weights)} instead.{did_you_mean(asked, known)}"
                )
            return weights_of_file(weights)
        config = _config(name, f"{architecture}.{asked}")
        preprocessing_of(config, name)  # what cannot be used is not downloaded
        label = f"{architecture}.{asked}"
        place = config.get("hf_hub_id") or config.get("url")
        return Weights(asked, ("timm", label, place), label=label, entry=config, **provenance_of(config))

    def tensors(self, name, weights, own):
        """Return the tensors of a file, which is downloaded when it is not on this machine."""
        return weights.read(own) if weights.path is not None else read_tensors(_file(name, weights.entry))

    def variant(self, name, weights):
        """Return number of classes and image size of the weights, or of those that the name means."""
        config = self._own_config(name, weights)
        return Variant(n_classes=config["num_classes"], image_size=preprocessing_of(config, name).crop_size)

    def build(self, name, variant):
        """Build one of timm's networks, for another image size where it is built for one alone."""
        architecture, tag = _parts(name)
        options = {} if variant.n_classes is None else {"num_classes": variant.n_classes}
        if variant.image_size is not None and _config(name, architecture)["fixed_input_size"]:
            options["img_size"] = variant.image_size
        return _timm(name).create_model(architecture, pretrained_cfg=tag or None, **options)

    def adapted(self, name, network, weights, tensors):
        """Return tensors under timm's own names and in the shapes of a network, where timm can convert them."""
        own = network.state_dict()
        if own.keys() == tensors.keys() and all(own[key].shape == tensors[key].shape for key in own):
            return tensors
        try:
            if weights.entry is not None:
                return _loaded_by_timm(name, weights.entry, tensors)
            return _filtered(name, network, tensors)
        except Exception:  # of another architecture, say: what does not fit is listed when they are copied
            return tensors

    def n_classes_of(self, network, tensors):
        """Return the number of classes that a file was made for, 0 for one without a classifier; None if the usual."""
        names = classifier_names(network)
        found = next((tensors[f"{name}.weight"] for name in names if f"{name}.weight" in tensors), None)
        n_classes = 0 if found is None else len(found)
        return None if not names or n_classes == network.num_classes else n_classes

    def chain(self, network):
        """Cut a network into the stages that its trace shows."""
        return chain_of_timm(network)

    def preprocessing(self, name, network, weights):
        """Return the preprocessing of the weights, or of those that the name means."""
        return preprocessing_of(self._own_config(name, weights), name)

    def categories(self, name, weights, n_classes):
        """Return the classes of the sets of ImageNet that timm can tell by their number, in torchvision's words."""
        labels = (weights.entry or {}).get("label_names")
        if labels is not None and len(labels) == n_classes:
            return tuple(labels)
        imagenet = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
        return imagenet if n_classes == len(imagenet) else _larger_imagenet(name, n_classes)

    def _own_config(self, name, weights):
        architecture, tag = _parts(name)
        return weights.entry or _config(name, f"{architecture}.{tag}" if tag else architecture)


def _timm(name):
    return import_optional("timm", extra="timm", caller=f"the backbone {name!r}")


def _parts(name):
    """Split a name into architecture and tag, both of which timm must know."""
    timm = _timm(name)
    architecture, _, tag = name.removeprefix(_PREFIX).partition(".")
    known = timm.list_models(architecture) if architecture.isidentifier() else []
    tags = _tags(name, architecture) if known else []
    if not known or (tag and tag not in tags):
        options = [f"{_PREFIX}{architecture}.{each}" for each in tags] or [
            _PREFIX + each for each in timm.list_models()
        ]
        raise ValueError(
            "backbone must be an architecture of timm, with the tag of its weights or without, such as "
            f"'timm/resnet50.a1_in1k'. Got {name!r} instead.{did_you_mean(name, options)}"
        )
    return architecture, tag


def _tags(name, architecture):
    """Return the tags of the weights that timm has for an architecture."""
    found = _timm(name).list_models(f"{architecture}.*", pretrained=True)
    return [each.partition(".")[2] for each in found if each.partition(".")[0] == architecture]


def _config(name, model):
    return {"tag": "", **_timm(name).get_pretrained_cfg(model).to_dict()}


def _file(name, config):
    """Return the path of the file of some weights, which is downloaded when it is not on this machine."""
    if config.get("hf_hub_id") is None:
        return _file_of_url(name, config["url"])
    repository, files = _on_the_hub(config)
    return repository.fetch(*files)


def _file_here(config):
    """Return the path of the file of some weights, None where it is not on this machine."""
    if config.get("hf_hub_id") is None:
        path = _place_of_url(config["url"])
        return path if path.exists() else None
    repository, files = _on_the_hub(config)
    return repository.find_here(*files)


def _on_the_hub(config):
    """Return the repository of some weights, and the names that their file may have."""
    name, _, revision = config["hf_hub_id"].partition("@")
    files = (config["hf_hub_filename"],) if config.get("hf_hub_filename") else _HUB_FILES
    otherwise = "pass the path of a file as weights="
    return Repository(name, revision or None, extra="timm", otherwise=otherwise), files


def _place_of_url(url):
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(urlparse(url).path)


def _file_of_url(name, url):
    """Return the path of a file in torch's own folder, where timm finds it, too."""
    path = _place_of_url(url)
    if path.exists():
        return path
    print(f"Downloading: {url!r} to {path}", file=sys.stderr)
    expected = torch.hub.HASH_REGEX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected and expected.group(1))
    except (OSError, HTTPException, RuntimeError) as error:
        raise WeightsNotFoundError(
            f"the weights of {name} are not on this machine and cannot be downloaded ({error}). Looked for "
            f"{path.name!r} in {str(path.parent)!r}. Where there is a network, run: curl -L -o {path.name} {url} and "
            f"put the file into that folder, or pass its path as weights=. {NEED_NO_NETWORK}"
        ) from error
    return path


def _loaded_by_timm(name, config, tensors):
    """Return the tensors of the network that timm itself makes of those of a file."""
    network = _timm(name).create_model(
        config["architecture"],
        pretrained=True,
        pretrained_cfg=config["tag"] or None,
        pretrained_cfg_overlay={"state_dict": dict(tensors), "custom_load": False},
    )
    return network.state_dict()


def _filtered(name, network, tensors):
    """Convert the tensors of a file by the function that timm has for an architecture, if it has one."""
    entry_point = _timm(name).model_entrypoint(_parts(name)[0])
    for module in (entry_point.__module__, type(network).__module__):
        for function in _FILTERS:
            convert = getattr(sys.modules[module], function, None)
            if convert is not None:
                return convert(dict(tensors), network)
    return tensors


def _larger_imagenet(name, n_classes):
    """Return the names of the classes of a set beyond ImageNet-1k, with WordNet's own number where two are alike."""
    data = import_optional("timm.data", extra="timm", caller=f"the backbone {name!r}")
    subset = data.infer_imagenet_subset({"num_classes": n_classes})
    if subset is None:
        return None
    info = data.ImageNetInfo(subset)
    n_alike = Counter(info.label_descriptions())
    labels = zip(info.label_descriptions(), info.label_names(), strict=True)
    return tuple(label if n_alike[label] == 1 else f"{label} ({number})" for label, number in labels)
