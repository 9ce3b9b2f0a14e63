"""Load a network and its weights from the source that has it: a name, a module, or a function that makes one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from numbers import Integral
from os import PathLike, sep
from os.path import isdir
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from sktl._validation import did_you_mean
from sktl.backbones._backbone import Backbone
from sktl.backbones._network_cache import NetworkCache
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.estimators import architecture_of, gives_backbone, record_of_fitted
from sktl.backbones.listing import list_backbones
from sktl.backbones.seeding import GLOBAL_RNG_LOCK
from sktl.backbones.sources._other_forms import in_plain_form
from sktl.backbones.sources._own_network import with_random_weights
from sktl.backbones.sources._source import source_of
from sktl.backbones.sources._weights import RANDOM
from sktl.backbones.torch_defaults import torch_defaults

if TYPE_CHECKING:
    from numpy.random import RandomState


__all__ = ["load_backbone"]

# Enough to compare two networks with the same ones from scratch; one may be hundreds of megabytes.
# Loading draws random weights, so it holds the lock of the generators.
_loaded = NetworkCache(capacity=4, lock_of_making=GLOBAL_RNG_LOCK)


@torch_defaults()
def load_backbone(
    backbone: Any = "tiny_fractal",
    weights: Any = "default",
    *,
    match: Literal["exact", "partial"] = "exact",
    preprocessing: Any = None,
    random_state: int | RandomState | None = 0,
    stages: Any = None,
) -> Backbone:
    """Load a network and its weights as an ordered list of stages.

    Downloads nothing when the weights are on this machine, and says so on standard error when it does. One copy of each
    network is kept per process and shared, so a second call with the same arguments returns the same object.
    The global random state of torch and numpy is left as it was, and torch's default dtype and device, inference mode
    and autocast change nothing.

    Parameters
    ----------
    backbone : str, torch.nn.Module, callable, Backbone or fitted estimator, default="tiny_fractal"
        A name from :func:`list_backbones`. Or a repository of the Hugging Face Hub with an image network of
        transformers, ``"owner/name"`` or ``"owner/name@revision"``, or a folder that its ``save_pretrained`` has
        written. Or a network of your own, which is copied: those of torchvision are cut
        into the same stages as by name, others wherever a single tensor crosses their recorded calls, and what they
        hand to their last layer are the features (one pass checks it). Or a function without arguments that makes a
        network, for instance ``functools.partial(torchvision.models.resnet18, num_classes=7)``: its pickles are
        small, and equal functions share one copy. A Backbone is returned as it is unless another argument says
        otherwise. A fitted FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor or Pipeline that begins
        with one gives its stages as training has left them, and its preprocessing.
    weights : str, Path, torchvision.models.WeightsEnum or None, default="default"
        - ``"default"``: torchvision's best ones, those that ship with sktl, or those that a module brings along;
        - ``"IMAGENET1K_V1"``, ``"ResNet50_Weights.IMAGENET1K_V1"`` or the member of the enum: torchvision's;
        - ``"a1_in1k"``: weights of a network of timm, by their tag; its name may have it, too;
        - a path ending in ``.safetensors``, anything that ``torch.save`` has written, or the ``.index.json`` of a
          checkpoint in several files: a local file. The number of classes follows the file; half precision becomes
          float32; nothing in the file is executed. What a training put around the tensors, dictionaries and prefixes,
          is taken off. ``"file.pth::model_ema"`` is what a file holds under ``"model_ema"``, for those that hold a
          model and its average;
        - None: random weights, for training the same network from scratch.
    match : {"exact", "partial"}, default="exact"
        Whether a file must fit in every name and shape, counters of a training left out, or as much as fits is taken,
        with a warning, and listed in `Backbone.load_report`.
    preprocessing : Preprocessing or None, default=None
        None takes what the weights were trained with; for local files and random weights what torchvision's first
        weights of the architecture were trained with; for a network of your own 224 pixels and ImageNet's mean.
    random_state : int, RandomState instance or None, default=0
        Seed of random weights.
    stages : sequence or None, default=None
        The chain of a network of your own, from the stem to the top without the last linear layer. Each entry is the
        dotted name of a part, or a pair of a stage's name and a part or list of parts. Of dotted names alone, a stage
        ends where its last part ends. Among them may be modules of the network, or ones without parameters such as
        ``torch.nn.ReLU()``: then the parts run one after the other, and nothing else does.

    Returns
    -------
    Backbone
        The record of the network.

    Raises
    ------
    TypeError
        If `backbone` or `preprocessing` is of another kind: a network that was scripted, exported or quantized, say.
    ValueError
        If a name is unknown, or the chain of a network of your own does not give its output.
    WeightsNotFoundError
        If a file is missing, or not on this machine and not to be downloaded.
    WeightsMismatchError
        If a file does not fit the network.
    WeightsError
        If a file is damaged, or holds anything but tensors.

    See Also
    --------
    list_backbones : The names.

    Examples
    --------
    >>> from sktl.backbones import load_backbone
    >>> backbone = load_backbone("mobilenet_v2", weights=None)
    >>> backbone.stage_names
    ('stem', 'stage1', 'stage2', 'stage3', 'stage4')
    >>> backbone is load_backbone("mobilenet_v2", weights=None)
    True
    """
    _check_options(match, preprocessing)
    options = {"match": match, "preprocessing": preprocessing}
    if gives_backbone(backbone):
        return _from_fitted(backbone, weights, options, random_state, stages)
    if isinstance(backbone, Backbone):
        return _from_record(backbone, weights, options, random_state, stages)
    backbone = in_plain_form(backbone)
    source = source_of(backbone)
    if source is None:
        _raise_without_source(backbone)
    return _from_source(source, backbone, weights, options, random_state, stages)


def _check_options(match, preprocessing):
    if match not in ("exact", "partial"):
        raise ValueError(
            f"match must be 'exact' or 'partial'. Got {match!r} instead.{did_you_mean(match, ['exact', 'partial'])}"
        )
    if not isinstance(preprocessing, Preprocessing | None):
        raise TypeError(f"preprocessing must be a Preprocessing or None. Got {type(preprocessing).__name__} instead.")


def _raise_without_source(backbone):
    """Say what is wrong with what no source takes."""
    if not isinstance(backbone, str):
        hint = " A file of weights goes into weights=." if isinstance(backbone, PathLike) else ""
        raise TypeError(
            "backbone must be a name, a torch.nn.Module, a function that makes one, a Backbone, or a fitted "
            f"estimator of sktl. Got {type(backbone).__name__} instead.{hint}"
        )
    raise ValueError(f"backbone must be a name from list_backbones(). Got {backbone!r} instead.{_hint(backbone)}")


def _hint(backbone):
    """Guess what was meant by a name that no source knows, and say what to write."""
    if "://" in backbone:
        return " Nothing is loaded by an address: of the Hugging Face Hub write 'owner/name' alone."
    if isdir(backbone):
        return " A folder needs a config.json, as save_pretrained of transformers writes it."
    # A path is not like a name without a slash.
    names = [name for name in list_backbones() if (sep in name) == (sep in backbone)]
    hint = did_you_mean(backbone.lower().replace("-", "_"), names)
    if backbone.endswith((".pth", ".pt", ".safetensors")) or (sep in backbone and not hint):
        return f" A file does not say its architecture: write load_backbone('resnet18', weights={backbone!r}), say."
    if backbone.endswith((".onnx", ".pt2", ".keras", ".h5", ".pb", ".tflite")):
        return " A network in a file cannot be cut into stages: build it in torch, and pass its weights as weights=."
    if f"timm/{backbone}" in list_backbones(source="timm"):
        return f" Did you mean 'timm/{backbone}'?"
    return hint or (
        " Those of timm go as 'timm/NAME', with the extra 'timm', and those of the Hugging Face Hub as 'owner/name', "
        "with the extra 'hub'."
    )


def _from_source(source, backbone, weights, options, random_state, stages):
    if not source.stages_are_fixed:
        options = {"stages": stages, **options}
    elif stages is not None:
        raise ValueError(
            f"stages must be None for a network known by name, whose chain is fixed. Got stages for {backbone!r} "
            "instead: pass the module itself."
        )
    found = RANDOM if weights is None else source.find_weights(backbone, weights)
    # One constant where nothing is random, so that all share a copy.
    seed = _as_seed(random_state) if found.depends_on_seed or options["match"] == "partial" else 0
    own_key = source.cache_key(backbone)
    if own_key is None:
        return source.load(backbone, found, seed=seed, reload=None, **options)
    reload = partial(load_backbone, backbone=backbone, weights=found.description, random_state=seed, **options)
    load = partial(source.load, backbone, found, seed=seed, reload=reload, **options)
    key = (own_key, found.identity, seed, options["match"], options["preprocessing"], _stages_key(stages))
    try:
        hash(key)
    except TypeError:
        return load()  # arguments that cannot be compared: nothing to find the network again by
    return _loaded.get(key, load)


def _stages_key(stages):
    return repr(stages) if stages is not None and all(isinstance(entry, str) for entry in stages) else stages


def _from_record(backbone, weights, options, random_state, stages):
    arguments = {} if backbone.reload is None else backbone.reload.keywords
    if isinstance(weights, str) and weights == "default":
        preprocessing = options["preprocessing"]
        if preprocessing in (None, backbone.preprocessing):
            return backbone
        reload = backbone.reload and partial(backbone.reload, preprocessing=preprocessing)
        return replace(backbone, preprocessing=preprocessing, reload=reload)
    is_from_file = backbone.reload is not None and backbone.reload.func is not load_backbone
    if weights is None and (not arguments or (is_from_file and backbone.configuration is not None)):
        return _redrawn(backbone, options, random_state)
    if not arguments:
        raise ValueError(
            f"weights must be 'default' or None for a Backbone made from a module. Got {weights!r} instead: pass the "
            "module and the file to load_backbone."
        )
    options = {**options, "preprocessing": options["preprocessing"] or arguments["preprocessing"]}
    stages = arguments.get("stages") if stages is None else stages
    return load_backbone(arguments["backbone"], weights, random_state=random_state, stages=stages, **options)


def _redrawn(backbone, options, random_state):
    redrawn = with_random_weights(backbone, _as_seed(random_state))
    return replace(redrawn, preprocessing=options["preprocessing"] or backbone.preprocessing)


def _from_fitted(estimator, weights, options, random_state, stages):
    """Load the stages that an estimator has, or others of the same architecture, for images of the same size."""
    record = record_of_fitted(estimator)
    if isinstance(weights, str) and weights == "default":
        return _from_record(record, weights, options, random_state, stages)
    if weights is None and record.configuration is not None:  # its folder may be gone, and its name says too little
        return _redrawn(record, options, random_state)
    options = {**options, "preprocessing": options["preprocessing"] or record.preprocessing}
    return load_backbone(architecture_of(estimator), weights, random_state=random_state, stages=stages, **options)


def _as_seed(random_state):
    if isinstance(random_state, Integral):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
