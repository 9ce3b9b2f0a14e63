"""Image networks of the Hugging Face Hub, by the name of their repository or from a folder of save_pretrained."""

import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from warnings import warn

from safetensors import SafetensorError, safe_open

from sktl.backbones.seeding import seeded
from sktl.backbones.sources._huggingface_hub import CONFIGURATION, Repository, facts_in, weight_files_in
from sktl.backbones.sources._image_processors import processor_in, usual_processor
from sktl.backbones.sources._source import NetworkSource, register
from sktl.backbones.sources._transformers import build, fill, read_configuration
from sktl.backbones.sources._transformers_record import record_of
from sktl.backbones.sources._weights import Weights, default_or_file
from sktl.checkpoints.weight_files import WEIGHT_SUFFIXES, LoadReport, load_tensors
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

__all__ = ["HuggingFaceSource"]

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_TIMM = "timm/"


@register
class HuggingFaceSource(NetworkSource):
    """Image networks of transformers: a repository of the Hub, perhaps ``"owner/name@revision"``, or a folder."""

    stages_are_fixed = True
    asked_last = True

    def takes(self, backbone):
        """Return whether this is a folder with a configuration, or has the form of a repository's name."""
        if not isinstance(backbone, str | os.PathLike):
            return False
        path = Path(backbone)
        if (path / CONFIGURATION).is_file():
            return True
        if path.suffix in WEIGHT_SUFFIXES or path.exists():
            return False
        if isinstance(backbone, os.PathLike) or path.is_absolute():
            return True  # a folder that is gone
        name = backbone.partition("@")[0]
        return _NAME.fullmatch(name) is not None and not name.startswith((_TIMM, ".", "-"))

    def cache_key(self, backbone):
        """Return the name, or the folder in full with the state of its files: the weights may come from elsewhere."""
        folder = _as_folder(backbone)
        return str(backbone) if folder is None else (str(folder), *map(_state, _files_in(folder)))

    def find_weights(self, backbone, weights):
        """Find the weights of the repository or folder, or those of another file."""
        folder = _as_folder(backbone)
        identity = ("hub", str(backbone)) if folder is None else ("folder", *map(_state, _files_in(folder)))
        own = Weights("default", identity)
        return default_or_file(weights, own, owner=str(backbone), what="those in its repository or folder")

    def load(self, backbone, weights, *, seed, match, preprocessing, reload):
        """Return the Backbone of a repository or folder."""
        is_own = not weights.is_random and weights.path is None
        name, folder, commit = _locate(backbone, is_own)
        network_class, configuration = read_configuration(folder)
        if is_own:
            weights = replace(weights, label=commit or weights.label, **facts_in(folder))
        with seeded(seed):
            if is_own:
                network, report = _filled(network_class, configuration, folder, name, match)
            else:
                network, report = build(network_class, configuration), None
        if weights.path is not None:
            tensors = weights.read(network.state_dict())
            report = load_tensors(network, tensors, name=name, origin=weights.origin, match=match)
        return record_of(
            name,
            network,
            configuration,
            _processor(folder, configuration, name, preprocessing),
            preprocessing=preprocessing,
            names_classes=report is not None,
            load_report=report if match == "partial" else None,
            reload=_pinned(reload, backbone, name, folder, commit),
            **weights.provenance(),
        )


def _as_folder(backbone):
    """Return the folder that is meant, or None for the name of a repository."""
    path = Path(backbone)
    is_folder = isinstance(backbone, os.PathLike) or path.is_absolute() or (path / CONFIGURATION).is_file()
    return path.expanduser().resolve() if is_folder else None


def _locate(backbone, with_weights):
    """Return the name of a network, the folder that holds its files, and the commit they are of where it is known."""
    folder = _as_folder(backbone)
    if folder is None:
        name, _, revision = backbone.partition("@")
        folder = Repository(name, revision or None).fetch_network(weights=with_weights)
        return name, folder, folder.name
    if not (folder / CONFIGURATION).is_file():
        raise WeightsNotFoundError(
            f"backbone must be a name, or a folder with {CONFIGURATION!r} as save_pretrained writes it. Found none in "
            f"{str(folder)!r} instead. Check the path; weights=None and a file of weights= need it, too."
        )
    return folder.name, folder, None


def _pinned(reload, backbone, name, folder, commit):
    """Let a pickle ask for the same commit, or the same folder from elsewhere."""
    if reload is None:
        return None
    return partial(reload, backbone=f"{name}@{commit}" if commit else str(folder))


def _files_in(folder):
    return sorted(each for each in folder.glob("*") if each.suffix in (".json", ".safetensors"))


def _state(file):
    facts = file.stat()
    return file.name, facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_ctime_ns


def _filled(network_class, configuration, folder, name, match):
    """Build a network with the weights of a folder, and report what fitted."""
    files = weight_files_in(folder, name)
    n_tensors = sum(map(_count_tensors, files))
    try:
        network, missing, unexpected, mismatched = fill(network_class, configuration, folder)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise WeightsMismatchError(
            f"the weights of {name} must fit its {CONFIGURATION!r}. transformers cannot load them ({reason}): copy or "
            "download both again."
        ) from error
    report = LoadReport(n_tensors - len(unexpected) - len(mismatched), missing, unexpected, mismatched)
    if not missing and not mismatched:
        return network, report  # unexpected are parts for other tasks: a decoder, the tower for text
    if match == "exact":
        raise WeightsMismatchError(
            f"the weights of {name} must fit {network_class.__name__}. Got {report} instead. Copy or download them "
            "again, or pass match='partial' to take what fits."
        )
    warn(f"the weights of {name} fit in part only: {report}. The rest keeps its random values.", stacklevel=2)
    return network, report


def _count_tensors(file):
    try:
        with safe_open(file, framework="pt") as content:
            return len(content.keys())
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{str(file)!r} must be a safetensors file. It cannot be read ({error}): it may be truncated or of another "
            "kind. Copy or download it again."
        ) from error


def _processor(folder, configuration, name, preprocessing):
    """Return the image processor of a folder, or with a warning the usual one of the architecture."""
    processor = processor_in(folder, configuration)
    if processor is None:
        processor = usual_processor(configuration)
        if preprocessing is None:
            warn(
                f"{name} says nothing about the preprocessing of its weights (preprocessor_config.json): what "
                f"transformers usually does for {configuration.model_type!r} is taken. Pass "
                "preprocessing=Preprocessing(...) where you know better.",
                stacklevel=2,
            )
    return processor
