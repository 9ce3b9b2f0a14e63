"""save_model: from a fitted estimator to one file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sktl._atomic_files import check_not_read
from sktl.backbones import Backbone, tensor_digest
from sktl.backbones.descriptions import describe_network, file_name
from sktl.backbones.empty_networks import empty_chain
from sktl.backbones.estimators import gives_backbone
from sktl.backbones.torch_defaults import torch_defaults
from sktl.checkpoints.formats import INDEX_SUFFIX, files_of
from sktl.exceptions import WeightsError
from sktl.models._fine_tuned import KINDS, fine_tuned_parts
from sktl.models._format import forms_of, write_model
from sktl.models._numbers import check_numbers
from sktl.models._parameters import written_parameters
from sktl.models._pipelines import is_frozen_pipeline, pipeline_parts

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["files_of_estimator", "save_model", "version_of"]

_PACKAGES = ("sktl", "torch", "torchvision", "scikit-learn", "numpy")


@torch_defaults()
def save_model(estimator: Any, path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a fitted estimator to one file, which needs nothing else to predict: no weights, no network, no pickle.

    Parameters
    ----------
    estimator : Pipeline, FineTuneClassifier or FineTuneRegressor
        Fitted. A Pipeline has the steps :class:`~sktl.PretrainedFeatureExtractor`, a StandardScaler or none, and a
        LinearProbeClassifier, LinearProbeRegressor, LogisticRegression, Ridge or RidgeCV. The backbone is one of
        :func:`~sktl.backbones.list_backbones`, with whatever weights, and the head of a fine-tuned network is
        ``"linear"`` or a sequence of widths.
    path : str or Path
        The file to write, which by convention ends in ``.safetensors``. A former one is replaced in one step.
    metadata : dict or None, default=None
        What else the record in the file shall say, a score for instance, as JSON can write it; `load_model` ignores it.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If a part of the estimator is one that a model file cannot hold, or `metadata` cannot be written as JSON, or
        `path` is the file of weights that the estimator was made from.

    See Also
    --------
    load_model : Read it again.

    Notes
    -----
    Parameters of the session are not written (`device`, `precision`, `n_jobs`, `cache`, `verbose`), and neither are
    objects that only training needs: callbacks, a teacher, an `augment` of your own, a RandomState. After `load_model`
    these have their defaults. Of a file of weights its name is written, and not its folder. What training has left
    behind besides, such as `history_`, is not in the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> from sktl.models import load_model, save_model
    >>> digits = load_digits()
    >>> model = FineTuneClassifier(unfreeze_depth=0, random_state=0).fit(digits.images[:50], digits.target[:50])
    >>> path = Path(mkdtemp()) / "digits.safetensors"
    >>> save_model(model, path)
    >>> load_model(path).predict(digits.images[:2])
    array([0, 1])
    """
    if type(estimator) not in KINDS.values() and not is_frozen_pipeline(estimator):
        raise ValueError(_what_can_be_saved(_shown(estimator)))
    check_not_read("path", path, files_of_estimator(estimator))
    _check_metadata(metadata)
    try:
        record, tensors = _record_and_tensors(estimator)
        write_model(path, {**record, "metadata": metadata}, tensors)
    except TypeError as error:
        raise ValueError(_what_can_be_saved(str(error))) from error


def files_of_estimator(estimator):
    """Name the files that the network was read from, which a pickle of the estimator reads again."""
    backbone = getattr(estimator[0] if is_frozen_pipeline(estimator) else estimator, "backbone_", None)
    reload = getattr(getattr(backbone, "reload", None), "keywords", {})
    named = [*estimator.get_params().values(), *reload.values()]
    paths = [value for value in named if isinstance(value, str | os.PathLike)]
    shards = []
    for path in map(Path, paths):
        if path.name.endswith(INDEX_SUFFIX) and path.is_file():
            with suppress(WeightsError):  # no longer what the network was read from
                shards += files_of(path)
    return [*paths, *shards]


def _check_metadata(metadata):
    try:
        json.dumps(metadata)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata must be a dictionary that JSON can write. Got {metadata!r} instead: {error}. Leave that out."
        ) from error


def _record_and_tensors(estimator):
    is_pipeline = type(estimator) not in KINDS.values()
    own, tensors = (pipeline_parts if is_pipeline else fine_tuned_parts)(estimator)
    network = estimator[0] if is_pipeline else estimator
    check_numbers(tensors)
    described = describe_network(network.backbone_)
    if is_pipeline:  # of what is in the file, which leaves the network's own classifier out
        described["digest"] = tensor_digest(described["name"], stages=network.backbone_.stages)
    _check_can_be_rebuilt(described, network.backbone_.stages if is_pipeline else network.module_.stages)
    return {
        "kind": type(estimator).__name__,
        "backbone": {**described, "preprocessing": vars(network.backbone_.preprocessing)},
        "parameters": {**written_parameters(network), **_network_parameters(network)},
        "input": _input(network),
        **own,
        "versions": {package: version_of(package) for package in _PACKAGES},
    }, tensors


def _check_can_be_rebuilt(described, stages):
    try:
        twin = empty_chain(described).stages
        is_equal = repr(twin) == repr(stages) and forms_of(twin.state_dict()) == forms_of(stages.state_dict())
    except ValueError:
        is_equal = False
    if not is_equal:
        raise TypeError(f"a backbone of your own, {described['name']}")


def _network_parameters(network):
    """Write down which network was asked for, and where its weights came from."""
    given = network.weights
    if isinstance(network.backbone, Backbone) and isinstance(given, str) and given == "default":
        reload = network.backbone.reload
        given = network.backbone.weights if reload is None else reload.keywords["weights"]
    elif gives_backbone(network.backbone) or not (given is None or isinstance(given, str)):
        given = network.backbone_.weights  # of an estimator, a path, or torchvision's own name
    return {"backbone": network.backbone_.name, "weights": file_name(given)}


def _input(network):
    names = getattr(network, "feature_names_in_", None)
    return {
        "fitted_on": network._fitted_on,
        "n_features_in": getattr(network, "n_features_in_", None),
        "feature_names_in": None if names is None else list(names),
        "value_range": None if network.value_range_ is None else [float(limit) for limit in network.value_range_],
    }


def _what_can_be_saved(found):
    return (
        "estimator must be one that a model file can hold: a Pipeline of PretrainedFeatureExtractor, StandardScaler or "
        "none, and LinearProbeClassifier, LinearProbeRegressor, LogisticRegression, Ridge or RidgeCV; or a "
        "FineTuneClassifier or FineTuneRegressor; with a backbone known by name and a head that is 'linear' or a "
        "sequence of widths. "
        f"Got {found} instead. pickle and joblib write any estimator, for readers who trust you."
    )


def _shown(estimator):
    steps = getattr(estimator, "steps", None)
    name = type(estimator).__name__
    return name if steps is None else f"a {name} of " + ", ".join(type(step).__name__ for _, step in steps)


def version_of(package):
    """Return the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
