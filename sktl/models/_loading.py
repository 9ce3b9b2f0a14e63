"""From the record and tensors of a model file to something that predicts as the estimator did."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from safetensors import safe_open
from scipy.special import softmax
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sktl.backbones import POOLINGS, Preprocessing
from sktl.backbones._backbone import make_backbone
from sktl.backbones.empty_networks import empty_chain
from sktl.backbones.finiteness import names_of_nonfinite
from sktl.exceptions import ImageReadError, WeightsError, WeightsMismatchError
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.images import as_images, read_image
from sktl.inference import StoreInfo, embedding_widths, resolve_placement
from sktl.models._format import check_tensors, read_record, read_tensors
from sktl.store import open_store
from sktl.training import FineTuneNetwork, FrozenPart, build_head, frozen_record

__all__ = ["TrainedModel", "load_model"]

_BATCH_SIZE, _BATCH_PIXELS = 32, 32 * 384**2  # of an accelerator: a file may ask for images of any size
_TOGETHER = 256  # images whose outputs are held at once, and looked through again when one of them cannot be read


@dataclass(frozen=True)
class TrainedModel:
    """A model read from a file.

    Parameters
    ----------
    record : dict
        What the file says about it.
    classes : list of str
        Names of its classes.
    predict_batch : callable
        From a list of paths to probabilities (n_paths, n_classes), NaN where an image cannot be read, and a list of
        pairs of a position and an ImageReadError.
    """

    record: dict
    classes: list
    predict_batch: Callable

    def predict(self, paths):
        """Predict the probabilities of the classes of image files, some at a time."""
        for start in range(0, len(paths), _TOGETHER):
            some = paths[start : start + _TOGETHER]
            with np.errstate(all="ignore"):  # of what comes from it, the probabilities are looked at
                probabilities, errors = self.predict_batch(some)
            errors = dict(errors)
            _check_probabilities(some, probabilities, errors)
            yield some, probabilities, errors


def _check_probabilities(paths, probabilities, errors):
    broken = [i for i in np.flatnonzero(~np.isfinite(probabilities).all(axis=1)) if i not in errors]
    if broken:
        raise WeightsError(
            f"MODEL must give probabilities that are numbers. Got NaN for {paths[broken[0]]!r} instead: its weights "
            "are too large, so it is damaged or made up. Copy it again, or train it again."
        )


def load_model(path, *, device="auto", precision="auto", n_jobs=None):
    """Read a model from a file that may come from anybody."""
    record = read_record(path)
    placing = {"device": device, "precision": precision}
    resolve_placement(**placing)  # what is wrong with these is not the file's fault
    open_store(True)
    try:
        if record["method"] == "fine_tuned":
            predict_batch = _load_fine_tuned(path, record, n_jobs, placing)
        else:
            predict_batch = _load_frozen(path, record, n_jobs, placing)
    except WeightsMismatchError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"MODEL must describe a network that can be built. {str(path)!r} does not: {error}"
        ) from error
    return TrainedModel(record, list(record["classes"]), predict_batch)


def _load_fine_tuned(path, record, n_jobs, placing):
    chain = empty_chain(record["backbone"])
    preprocessing = Preprocessing(**_fields(record["preprocessing"]))
    if record["n_frozen"] > len(chain.stages):
        raise ValueError(f"n_frozen must be at most {len(chain.stages)}. Got {record['n_frozen']} instead.")
    n_features = _width(path, "head.mean")
    with torch.device("meta"):
        head = build_head("linear", n_features, len(record["classes"]), 0.0)
    network = FineTuneNetwork(
        chain.stages, head, record["n_frozen"], preprocessing, chain.own_pooling, update_statistics=False
    )
    check_tensors(path, network.state_dict())
    network.load_state_dict(read_tensors(path), assign=True)
    _check_finite(head.state_dict())
    backbone = _backbone(record, chain, n_features, preprocessing)
    _check_width(backbone, ["penultimate"], "auto", n_features)
    network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    placement = resolve_placement(**placing)
    network.to(placement.device)
    frozen_part = FrozenPart(
        network,
        frozen_record(network, backbone),
        placement,
        store=open_store(True),
        info=StoreInfo(),
        batch_size=_batch_size(preprocessing),
        n_jobs=n_jobs,
    )

    def predict_batch(paths):
        try:
            return softmax(frozen_part.predict(as_images(paths)).double().numpy(), axis=1), []
        except ImageReadError:
            return _around_errors(predict_batch, paths, len(record["classes"]))

    return predict_batch


def _around_errors(predict_batch, paths, n_classes):
    """Look which images cannot be read, and predict the others."""
    errors = []
    for i, path in enumerate(paths):
        try:
            read_image(path, index=i)
        except ImageReadError as error:
            errors.append((i, error))
    if not errors:
        raise OSError("an image could not be read, and then it could. Start again when all files are written.")
    good = np.setdiff1d(np.arange(len(paths)), [i for i, _ in errors])
    probabilities = np.full((len(paths), n_classes), np.nan)
    if len(good):
        probabilities[good] = predict_batch([paths[i] for i in good])[0]
    return probabilities, errors


def _check_finite(tensors):
    broken = names_of_nonfinite(tensors)
    if broken:
        raise ValueError(f"its numbers must be finite. Got NaN or infinity in {broken[0]!r} instead.")
    if any(name.endswith("scale") and not tensor.all() for name, tensor in tensors.items()):
        raise ValueError("its scales must not be zero, since features are divided by them.")


def _load_frozen(path, record, n_jobs, placing):
    if record["pooling"] not in POOLINGS:
        raise ValueError(f"pooling must be one of {POOLINGS}. Got {record['pooling']!r} instead.")
    chain = empty_chain(record["backbone"])
    preprocessing = Preprocessing(**_fields(record["preprocessing"]))
    classes, n_features = record["classes"], _width(path, "scaler.mean")
    n_rows = 1 if len(classes) == 2 else len(classes)
    expected = {f"stages.{name}": tensor for name, tensor in chain.stages.state_dict().items()}
    shapes = {"scaler.mean": (n_features,), "scaler.scale": (n_features,)}
    shapes |= {"linear.coef": (n_rows, n_features), "linear.intercept": (n_rows,)}
    expected |= {name: torch.empty(shape, dtype=torch.float64, device="meta") for name, shape in shapes.items()}
    check_tensors(path, expected)
    tensors = read_tensors(path)
    heads = {name: tensors.pop(name) for name in shapes}
    _check_finite(heads)
    heads = {name: tensor.numpy() for name, tensor in heads.items()}
    chain.stages.load_state_dict({name.removeprefix("stages."): each for name, each in tensors.items()}, assign=True)
    backbone = _backbone(record, chain, n_features, preprocessing)
    _check_width(backbone, record["layers"], record["pooling"], n_features)
    options = {"batch_size": _batch_size(preprocessing), "n_jobs": n_jobs, **placing}
    extractor = PretrainedFeatureExtractor(
        backbone, layer=record["layers"], pooling=record["pooling"], on_error="nan", **options
    )
    scaler, linear = StandardScaler(), LogisticRegression()
    scaler.mean_, scaler.scale_ = heads["scaler.mean"], heads["scaler.scale"]
    linear.coef_, linear.intercept_ = heads["linear.coef"], heads["linear.intercept"]
    linear.classes_ = np.array(classes)

    def predict_batch(paths):
        features = extractor.fit_transform(paths)
        errors = [(error.index, error) for error in extractor.bad_images_]
        good = np.setdiff1d(np.arange(len(paths)), [i for i, _ in errors])
        probabilities = np.full((len(paths), len(classes)), np.nan)
        if len(good):
            with config_context(assume_finite=True):  # or else looked at in the end
                probabilities[good] = linear.predict_proba(scaler.transform(features[good]))
        return probabilities, errors

    return predict_batch


def _batch_size(preprocessing):
    return min(max(_BATCH_PIXELS // preprocessing.crop_size**2, 1), _BATCH_SIZE)


def _fields(described):
    return {name: described[name] for name in ("crop_size", "resize_size", "interpolation", "mean", "std")}


def _backbone(record, chain, n_features, preprocessing):
    """Make the record of a network from what is in the file; its digest is computed from its tensors, not believed."""
    facts = {name: record["backbone"].get(name) for name in ("weights", "source", "license")}
    return make_backbone(
        record["backbone"]["name"], chain, n_features=n_features, preprocessing=preprocessing, categories=None, **facts
    )


def _check_width(backbone, layers, pooling, n_features):
    found = sum(embedding_widths(backbone, layers, pooling, backbone.preprocessing))
    if found != n_features:
        raise ValueError(f"its network gives {found} features, and its linear model takes {n_features}.")


def _width(path, name):
    """Length of the vector that says how many features a model has; 1 where it is missing, which is found out later."""
    with safe_open(path, framework="pt") as file:
        return max(prod(file.get_slice(name).get_shape()), 1) if name in file.keys() else 1  # noqa: SIM118
