"""The record of one network: its stages, its preprocessing, and the digest of its weights."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from typing import Any

import torch
from torch import nn

from sktl._validation import did_you_mean
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones._unpickling import load_again
from sktl.backbones.finiteness import check_finite
from sktl.checkpoints.weight_files import LoadReport

__all__ = ["Backbone", "make_backbone", "tensor_digest"]


@dataclass(frozen=True, eq=False, repr=False)
class Backbone:
    """A network as an ordered list of stages, with all that belongs to its weights.

    A record: made by :func:`load_backbone`, shared by everything in the process that names the same weights, and never
    changed. Whoever trains it copies its modules first. ``copy.deepcopy`` gives the same object back.

    Parameters
    ----------
    name : str
        Of the architecture, for instance ``"resnet50"``.
    stages : torch.nn.Sequential
        Named stages from the stem to the top, in eval mode and without gradients, on the CPU. They take what
        `preprocessing` has normalised, and ``pool(stages(x), "auto", own_pooling)`` are the network's own penultimate
        features.
    preprocessing : Preprocessing
        What the weights were trained with.
    n_features : int
        Length of the penultimate feature vector.
    head : torch.nn.Module or None
        The network's own classifier: maps penultimate features to its own classes (those of squeezenet are maps before
        pooling). None when there is none that means anything.
    categories : tuple of str or int, or None
        Names of its own classes, or their numbers where these are all they are called; None when unknown.
    weights : str or None
        Which weights these are; None for random ones.
    source : str
        What they were trained on, ``"unknown"`` for a local file.
    license : str
        Under which licence they may be used, ``"unknown"`` for a local file.
    digest : str
        SHA-256 of the architecture's name and of every tensor, as 64 hexadecimal digits.
    family : str
        Of the architecture, for instance ``"resnet"``; ``"module"`` for networks of your own.
    own_pooling : {"avg", "token"}
        How the network itself pools the output of its last stage.
    load_report : LoadReport or None, default=None
        What of a file fitted, when it was loaded with ``match="partial"``.
    configuration : dict or None, default=None
        What builds a network of transformers again, in plain Python; None where its name or module does.
    reload : callable or None, default=None
        Loads the same again when called without arguments; None where only the modules themselves will do.

    Attributes
    ----------
    stage_names : tuple of str
        Names of the stages, from the stem to the top.

    See Also
    --------
    load_backbone : Makes these records.
    pool : From the output of a stage to one vector per image.

    Notes
    -----
    A pickle holds the way to load the backbone again, not the weights: a few hundred bytes. Reading it loads by name,
    or from the same path, and compares the digest. A file that has moved is looked for by its digest in the folders
    that the environment variable ``SKTL_WEIGHTS_DIR`` names and, under the same name, in the current folder and in
    torch's folder for checkpoints. Only a backbone made from a module, or from an estimator fitted in this process,
    which is found nowhere again, pickles the modules.

    Examples
    --------
    >>> from sktl.backbones import load_backbone
    >>> backbone = load_backbone("resnet18", weights=None)
    >>> backbone.stage_names
    ('stem', 'layer1', 'layer2', 'layer3', 'layer4')
    >>> backbone.n_stages_below("layer3")
    4
    """

    name: str
    stages: nn.Sequential
    preprocessing: Preprocessing
    n_features: int
    head: nn.Module | None
    categories: tuple[str | int, ...] | None
    weights: str | None
    source: str
    license: str
    digest: str
    family: str
    own_pooling: str
    load_report: LoadReport | None = None
    configuration: dict | None = None
    reload: Callable | None = field(default=None)

    @property
    def stage_names(self) -> Any:
        """Names of the stages, from the stem to the top."""
        return tuple(name for name, _ in self.stages.named_children())

    def n_stages_below(self, layer: int | str = "penultimate") -> int:
        """Return how many stages run to get the features of a layer.

        Parameters
        ----------
        layer : int or str, default="penultimate"
            ``"penultimate"`` or 0 for the top, the name of a stage for its output, or an index from the top: k leaves
            out the k top stages, so it is the cut below which everything is frozen when k stages are retrained.

        Returns
        -------
        int
            Number of stages, counted from the stem.

        Raises
        ------
        ValueError
            If there is no such stage.
        """
        names = self.stage_names
        if isinstance(layer, str):
            if layer == "penultimate":
                return len(names)
            if layer in names:
                return names.index(layer) + 1
        elif isinstance(layer, Integral) and not isinstance(layer, bool) and 0 <= layer <= len(names):
            return len(names) - int(layer)
        raise ValueError(
            f"layer must be 'penultimate', one of the stages {names} of {self.name}, or an index from the top "
            f"between 0 and {len(names)}. Got {layer!r} instead.{did_you_mean(layer, ('penultimate', *names))}"
        )

    def without_weights(self) -> Backbone:
        """Return a record of the same network whose stages have shapes and names, and no numbers.

        Returns
        -------
        Backbone
            Stages on torch's meta device, no head, nothing to load again: a few kilobytes when pickled.
        """
        return replace(self, stages=deepcopy(self.stages).to("meta"), head=None, reload=None)

    def __repr__(self):
        return (
            f"Backbone({self.name!r}, weights={self.weights!r}, stages={list(self.stage_names)}, "
            f"n_features={self.n_features}, crop_size={self.preprocessing.crop_size})"
        )

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __sklearn_clone__(self):
        return self

    def __getstate__(self):
        """Return the way to load it again, for skops, which takes no constructor but the type itself."""
        if self.reload is None:
            raise TypeError(
                "a network must be known by name, or come from a function or a file, for skops to write it. Got "
                f"{self!r}, which is nowhere else, instead. save_model, pickle and joblib write the weights too."
            )
        return {"reload": self.reload, "digest": self.digest}

    def __setstate__(self, state):
        vars(self).update(vars(load_again(**state)))

    def __reduce__(self):
        if self.reload is not None and _is_picklable(self.reload):
            return load_again, (self.reload, self.digest)
        return Backbone, tuple(getattr(self, each.name) for each in fields(self) if each.name != "reload")


def _is_picklable(function):
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False  # a function made inside another one, say
    return True


def make_backbone(name, chain, **facts):
    """Make the record of a chain: freeze it, check it, and take the digest."""
    for module in (chain.stages, chain.head):
        if module is not None:
            module.eval().requires_grad_(False)
    check_finite(chain.stages.state_dict(), name)
    return Backbone(
        name=name,
        stages=chain.stages,
        head=chain.head,
        family=chain.family,
        own_pooling=chain.own_pooling,
        digest=tensor_digest(name, stages=chain.stages, head=chain.head),
        **facts,
    )


def tensor_digest(name: str, **modules: Any) -> str:
    """Return the SHA-256 of a name and of every tensor of some modules.

    Parameters
    ----------
    name : str
        Goes into the digest, since equal tensors may belong to different architectures.
    **modules : torch.nn.Module or None
        Parameters and buffers count by name, shape, type and bytes; the order in which they were made does not.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones import tensor_digest
    >>> layer = torch.nn.Linear(2, 1)
    >>> before = tensor_digest("layer", layer=layer)
    >>> len(before), before == tensor_digest("layer", layer=layer)
    (64, True)
    """
    digest = hashlib.sha256(name.encode())
    tensors = {
        f"{prefix}.{key}": tensor
        for prefix, module in modules.items()
        if module is not None
        for key, tensor in module.state_dict().items()
    }
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"\0{key}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
