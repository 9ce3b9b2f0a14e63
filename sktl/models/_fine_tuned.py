"""Fine-tuned networks, as record and tensors and back."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sktl.backbones import Backbone, Preprocessing
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor
from sktl.fine_tuning.fitted_state import empty_network, fitted_state, restore
from sktl.inference import embedding_widths
from sktl.models._format import check_tensors, forms_in, forms_of, read_tensors
from sktl.models._numbers import check_numbers, check_outputs, trial_image
from sktl.models._parameters import make_estimator
from sktl.models._values import read_array, written_array

__all__ = ["KINDS", "fine_tuned_parts", "load_fine_tuned"]

KINDS = {kind.__name__: kind for kind in (FineTuneClassifier, FineTuneRegressor)}


def fine_tuned_parts(estimator):
    """Return what is in the record of fine-tuned networks alone, and the tensors."""
    check_is_fitted(estimator)
    targets = {
        name: _classes(value) if name == "classes" else value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in estimator._encoding().items()
    }
    preprocessing = {"preprocessing": vars(estimator.module_.preprocessing)}
    return {"fit": {**fitted_state(estimator), **preprocessing}, "targets": targets}, estimator.module_.state_dict()


def load_fine_tuned(path, record, chain, preprocessing, session):
    """Make the fitted estimator of a file with a checked record."""
    alone = {} if "probe" in record["fit"] else {"ensemble": False}  # the file is older than the parameter
    estimator = make_estimator(KINDS[record["kind"]], alone | record["parameters"], **session)
    estimator._take_encoding(**_encoding(record["targets"]))
    shape, _ = forms_in(path).get("head.mean", ((), None))
    n_features = shape[0] if len(shape) == 1 else 1
    network = empty_network(
        estimator, chain, n_features, Preprocessing(**record["fit"]["preprocessing"]), record["fit"]
    )
    check_tensors(path, forms_of(network.state_dict()))
    tensors = read_tensors(path, record)
    check_numbers(tensors)
    network.load_state_dict(tensors, assign=True)
    backbone = Backbone(
        stages=network.stages,
        preprocessing=preprocessing,
        n_features=n_features,
        head=None,
        categories=None,
        family=chain.family,
        own_pooling=chain.own_pooling,
        configuration=record["backbone"].get("configuration"),
        **{name: record["backbone"][name] for name in ("name", "weights", "source", "license", "digest")},
    )
    _check_network(network, backbone)
    return restore(estimator, network, backbone.without_weights(), record["fit"])


def _classes(classes):
    """Write down classes, or those of each column."""
    return [written_array(each) for each in classes] if isinstance(classes, list) else written_array(classes)


def _encoding(targets):
    if "classes" in targets:
        classes = targets["classes"]
        read = [read_array(each) for each in classes] if isinstance(classes, list) else read_array(classes)
        return {"classes": read, "multilabel": targets["multilabel"]}
    numbers = {name: np.array(targets[name], dtype=np.float64) for name in ("mean", "scale")}
    return {**numbers, "flat": targets["flat"]}


def _check_network(network, backbone):
    (width,) = embedding_widths(backbone, ["penultimate"], "auto", network.preprocessing)
    if width != backbone.n_features:
        raise ValueError(f"its network gives {width} features, and its head takes {backbone.n_features}")
    image = torch.from_numpy(trial_image(network.preprocessing.crop_size)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        check_outputs(network(image).numpy())
