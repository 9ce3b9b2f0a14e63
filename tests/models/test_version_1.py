"""A file that the command wrote before there was save_model still loads, and predicts what it did."""

import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.exceptions import WeightsError
from sktl.models import load_model, save_model
from sktl.models._version_1 import from_version_1
from sktl.training import FineTuneNetwork, build_head

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)
STAGES = ["stem", "stage1", "stage2", "stage3", "stage4"]


def record(**own):
    """A record as version 1 had it, word by word."""
    preprocessing = {"crop_size": 48, "resize_size": 48, "interpolation": "bilinear"}
    return {
        "format": "sktl model",
        "version": 1,
        "classes": ["ants", "bees", "wasps"],
        "backbone": {
            "name": "tiny_fractal",
            "weights": "embedded",
            "source": "fractals",
            "license": "BSD-3-Clause",
            "digest": "0" * 64,
            "stages": STAGES,
            "image_size": 48,
            "transform_input": False,
        },
        "preprocessing": {**preprocessing, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
        "parameters": {"backbone": "tiny_fractal", "weights": "default", "image_size": None, "random_state": 3},
        "training": {"n_images": 20},
        "versions": {"sktl": "0.1.0"},
        **own,
    }


def fine_tuned():
    """Record, tensors, and what they predict."""
    backbone = load_backbone()
    head = build_head("linear", 192, 3, 0.0)
    torch.nn.init.normal_(head.layers[0].weight, generator=torch.Generator().manual_seed(0))
    network = FineTuneNetwork(
        backbone.stages, head, 4, backbone.preprocessing, backbone.own_pooling, update_statistics=False
    )
    with torch.no_grad():
        outputs = network(prepared(backbone)).double().numpy()
    return record(method="fine_tuned", n_frozen=4), network.state_dict(), softmax(outputs, axis=1)


def frozen():
    backbone = load_backbone()
    extractor = PretrainedFeatureExtractor(layer=["stage3", "stage4"], pooling="avg+std", cache=False)
    features = extractor.fit_transform(PICTURES)
    rng = np.random.default_rng(0)
    mean, scale = features.mean(0, dtype=np.float64), rng.uniform(0.5, 2.0, features.shape[1])
    linear = LogisticRegression()
    linear.coef_, linear.intercept_ = rng.normal(size=(3, features.shape[1])), rng.normal(size=3)
    linear.classes_ = np.arange(3)
    tensors = {f"stages.{name}": tensor for name, tensor in backbone.stages.state_dict().items()}
    numbers = {"scaler.mean": mean, "scaler.scale": scale}
    numbers |= {"linear.coef": linear.coef_, "linear.intercept": linear.intercept_}
    tensors |= {name: torch.from_numpy(value) for name, value in numbers.items()}
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = mean, scale
    own = record(method="frozen", layers=["stage3", "stage4"], pooling="avg+std")
    return own, tensors, linear.predict_proba(scaler.transform(features))


def prepared(backbone):
    return torch.from_numpy(np.stack([backbone.preprocessing.prepare(image) for image in PICTURES]))


@pytest.fixture(params=[fine_tuned, frozen])
def parts(request):
    return request.param()


@pytest.fixture
def write(tmp_path):
    def write(record, tensors):
        path = tmp_path / "model.safetensors"
        tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(tensors, path, metadata={"sktl": json.dumps(record)})
        return path

    return write


def test_a_file_of_version_1_predicts_what_it_did(parts, write):
    own, tensors, expected = parts
    model = load_model(write(own, tensors))
    # The oracle of the fine-tuned one is the network as it is, without batch norm folded into its convolutions.
    rtol = 1e-4 if own["method"] == "fine_tuned" else 0
    np.testing.assert_allclose(model.predict_proba(PICTURES), expected, rtol=rtol)
    assert_array_equal(model.predict(PICTURES), np.array(own["classes"])[expected.argmax(axis=1)])


def test_its_parameters_are_known_again_and_it_is_saved_in_the_new_form(parts, write, tmp_path):
    own, tensors, _ = parts
    own["parameters"] |= {"weights": "mine.pth", "unfreeze_depth": 1} if own["method"] == "fine_tuned" else {}
    model = load_model(write(own, tensors))
    if isinstance(model, FineTuneClassifier):
        assert (model.weights, model.unfreeze_depth, model.unfreeze_depth_, model.random_state) == ("mine.pth", 1, 1, 3)
    save_model(model, tmp_path / "new.safetensors")
    assert_array_equal(load_model(tmp_path / "new.safetensors").predict_proba(PICTURES), model.predict_proba(PICTURES))


@pytest.mark.parametrize(("crop_size", "expected"), [(32, 32), (384, 32), (768, 8), (2048, 1)])
def test_large_images_come_in_small_batches(parts, crop_size, expected):
    own, _, _ = parts
    own["preprocessing"]["crop_size"] = crop_size
    assert from_version_1(own)["parameters"]["batch_size"] == expected


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method", "exec", "method must be one of"),
        ("classes", "ab", "classes must be a list of names"),
        ("classes", ["ants"], "classes must be two or more different labels"),
        ("classes", ["ants", "bees"], "the tensors that its record describes"),
        ("backbone", None, "backbone must be a dictionary"),
        ("preprocessing", [], "preprocessing must be a dictionary"),
        ("preprocessing", {"crop_size": "48"}, "crop_size must be a whole number"),
        ("parameters", {"random_state": "x"}, "The 'random_state' parameter"),
    ],
)
def test_its_fields_are_checked(parts, write, field, value, message):
    own, tensors, _ = parts
    with pytest.raises(WeightsError) as refusal:
        load_model(write({**own, field: value}, tensors))
    assert message in str(refusal.value)


@pytest.mark.parametrize("n_frozen", [-1, 6, "1", None, True])
def test_the_cut_is_one_of_its_network(write, n_frozen):
    own, tensors, _ = fine_tuned()
    with pytest.raises(WeightsError, match="n_frozen must be a whole number up to 5"):
        load_model(write({**own, "n_frozen": n_frozen}, tensors))
