"""Frozen pipelines, as record and tensors and back: an extractor, a scaler where there is one, and a linear model."""

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from sktl.backbones.descriptions import record_of_chain
from sktl.exceptions import WeightsError
from sktl.feature_extraction import LinearProbeClassifier, LinearProbeRegressor, PretrainedFeatureExtractor
from sktl.images import as_images
from sktl.inference import embed
from sktl.models._format import check_tensors, forms_in, forms_of, read_tensors
from sktl.models._numbers import check_numbers, check_outputs, trial_image
from sktl.models._parameters import make_estimator, written_parameters
from sktl.models._values import read_array, written_array

__all__ = ["is_frozen_pipeline", "load_pipeline", "pipeline_outputs", "pipeline_parts"]

_MODELS = (LinearProbeClassifier, LinearProbeRegressor, LogisticRegression, Ridge, RidgeCV)
_LINEAR = {model.__name__: model for model in _MODELS}


def is_frozen_pipeline(estimator):
    """Whether every step of a pipeline is one that a model file can hold."""
    if type(estimator) is not Pipeline or len(estimator.steps) < 2:
        return False
    first, *between, last = [type(step) for _, step in estimator.steps]
    return first is PretrainedFeatureExtractor and between in ([], [StandardScaler]) and last in _LINEAR.values()


def pipeline_parts(pipeline):
    """Return what is in the record of pipelines alone, and the tensors."""
    extractor, *scalers, linear = (step for _, step in pipeline.steps)
    for step in (extractor, *scalers, linear):
        check_is_fitted(step)
    arrays = _arrays(scalers, linear)
    if not all(isinstance(array, np.ndarray | np.generic) for array in arrays.values()):
        raise TypeError(f"a {type(linear).__name__} with coefficients that are no arrays of numpy")
    has_intercept = "linear.intercept" in arrays
    own = {
        "steps": [name for name, _ in pipeline.steps],
        "layers": list(extractor.layers_),
        "scaler": written_parameters(scalers[0]) if scalers else None,
        "linear": {
            "type": type(linear).__name__,
            "parameters": written_parameters(linear),
            # In the other order, sums come out with other last bits.
            "order": "C" if linear.coef_.flags.c_contiguous else "F",
            "intercept": ("vector" if np.ndim(linear.intercept_) else "number") if has_intercept else "none",
        },
        "targets": _targets(linear),
    }
    tensors = {f"stages.{name}": tensor for name, tensor in extractor.backbone_.stages.state_dict().items()}
    return own, tensors | {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}


def _arrays(scalers, linear):
    arrays = {"linear.coef": linear.coef_}
    if type(linear.intercept_) is not float:  # which scikit-learn puts there with fit_intercept=False
        arrays["linear.intercept"] = linear.intercept_
    for scaler in scalers:
        arrays |= {"scaler.mean": scaler.mean_} if scaler.with_mean else {}
        arrays |= {"scaler.scale": scaler.scale_} if scaler.with_std else {}
    return arrays


def _targets(linear):
    if is_classifier(linear):
        return {"classes": written_array(linear.classes_), "multilabel": False}
    return {"n_targets": None if linear.coef_.ndim == 1 else len(linear.coef_)}


def load_pipeline(path, record, chain, preprocessing, session):
    """Make the fitted pipeline of a file with a checked record."""
    extractor = make_estimator(PretrainedFeatureExtractor, record["parameters"], **session)
    scaler = None if record["scaler"] is None else make_estimator(StandardScaler, record["scaler"])
    linear = make_estimator(_LINEAR[record["linear"]["type"]], record["linear"]["parameters"])
    check_tensors(path, {**_stages(chain), **_forms(scaler, record, forms_in(path))})
    tensors = read_tensors(path, record)
    check_numbers(tensors)
    own = chain.stages.state_dict()
    chain.stages.load_state_dict({name: tensors[f"stages.{name}"] for name in own}, assign=True)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith("stages.")}
    _fill(scaler, linear, record, arrays)
    backbone = record_of_chain(record["backbone"], chain, preprocessing)
    extractor._take_network(backbone, record["layers"])
    if extractor.embedding_dim_ != linear.n_features_in_:
        raise ValueError(
            f"its network gives {extractor.embedding_dim_} features, and its linear model takes {linear.n_features_in_}"
        )
    steps = [extractor, *([] if scaler is None else [scaler]), linear]
    pipeline = Pipeline(list(zip(record["steps"], steps, strict=True)))
    image = trial_image(extractor._preprocessing().crop_size)
    try:
        outputs = pipeline_outputs(pipeline, as_images(image[None]), extractor._placement())
    except WeightsError:  # the network gives no vectors to begin with
        outputs = np.nan
    check_outputs(outputs)
    return pipeline


def _stages(chain):
    return {f"stages.{name}": form for name, form in forms_of(chain.stages.state_dict()).items()}


def _forms(scaler, record, found):
    """Return the forms of the tensors above the network, in whichever precision, and for as many features, as found."""
    shape, _ = found.get("linear.coef", ((), None))
    n_features = shape[-1] if shape else 1
    rows = _rows(record)
    shapes = {"linear.coef": (*rows, n_features)}
    if record["linear"]["intercept"] != "none":
        shapes["linear.intercept"] = () if record["linear"]["intercept"] == "number" else rows or (1,)
    if scaler is not None:
        shapes |= {"scaler.mean": (n_features,)} if scaler.with_mean else {}
        shapes |= {"scaler.scale": (n_features,)} if scaler.with_std else {}
    dtypes = {name: dtype for name, (_, dtype) in found.items() if dtype in ("F32", "F64")}
    return {name: (shape, dtypes.get(name, "F64")) for name, shape in shapes.items()}


def _rows(record):
    if "classes" in record["targets"]:
        n_classes = len(record["targets"]["classes"]["values"])
        return (1 if n_classes == 2 else n_classes,)
    n_targets = record["targets"]["n_targets"]
    return () if n_targets is None else (n_targets,)


def _fill(scaler, linear, record, arrays):
    """Put what was fitted into the steps above the network."""
    linear.coef_ = np.array(arrays["linear.coef"], order=record["linear"]["order"])
    linear.intercept_ = arrays["linear.intercept"][()] if "linear.intercept" in arrays else 0.0
    if is_classifier(linear):
        linear.classes_ = read_array(record["targets"]["classes"])
    linear.n_features_in_ = linear.coef_.shape[-1]
    if scaler is not None:
        scaler.mean_, scaler.scale_ = arrays.get("scaler.mean"), arrays.get("scaler.scale")
        scaler.n_features_in_ = linear.n_features_in_


def pipeline_outputs(pipeline, images, placement):
    """Return probabilities, or predictions of a regressor, for opened images."""
    extractor, *scalers, linear = (step for _, step in pipeline.steps)
    features, _ = embed(
        images,
        extractor.backbone_,
        extractor._preprocessing(),
        placement,
        layers=extractor.layers_,
        pooling=extractor.pooling,
        engine=extractor.engine,
    )
    with np.errstate(all="ignore"), config_context(assume_finite=True):
        for scaler in scalers:
            features = scaler.transform(features)
        return linear.predict_proba(features) if hasattr(linear, "classes_") else linear.predict(features)
