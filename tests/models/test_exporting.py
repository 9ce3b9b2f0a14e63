"""A model in one ONNX file gives what the model gives, for any number of images, and says what it is."""

import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision import models

from sktl import (
    FineTuneClassifier,
    FineTuneRegressor,
    LinearProbeClassifier,
    LinearProbeRegressor,
    PretrainedFeatureExtractor,
)
from sktl.backbones import Preprocessing, load_backbone
from sktl.models import _exporting, export_onnx

onnx = pytest.importorskip("onnx", reason="comes with the extra 'onnx'")
onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra 'onnx'")

PICTURES = np.random.default_rng(0).integers(0, 256, (24, 60, 80, 3), dtype=np.uint8)
NUMBERS = np.stack([1e4 + PICTURES.mean((1, 2, 3)), PICTURES.std((1, 2, 3))], axis=1)
LABELS = np.array(["ant", "bee", "gnat"])[np.arange(24) % 3]
SEVERAL = np.stack([NUMBERS[:, 0] > NUMBERS[:, 0].mean(), np.arange(24) % 3 == 0], axis=1).astype(int)
HALVES = np.arange(24) % 2 == 0


def tuned(**parameters):
    return FineTuneClassifier(**{"max_epochs": 1, "augment": None, "random_state": 0, **parameters})


def numbers(**parameters):
    return FineTuneRegressor(max_epochs=1, random_state=0, **parameters)


def frozen(*steps, **parameters):
    return make_pipeline(PretrainedFeatureExtractor(**parameters), *steps)


CASES = {
    "depth 0": (lambda: tuned(unfreeze_depth=0), LABELS),
    "depth 1": (tuned, LABELS),
    "depth all": (lambda: tuned(unfreeze_depth="all"), HALVES),
    "from scratch": (lambda: tuned(weights=None), np.arange(24) % 3),
    "hidden layers": (lambda: tuned(head=(16, 8), dropout=0.1, test_time_augmentation=True), LABELS.astype(object)),
    "a head of one's own": (lambda: tuned(head=lambda n, m: nn.Sequential(nn.Linear(n, m), nn.Tanh())), LABELS),
    "several labels": (tuned, SEVERAL),
    "columns of labels": (tuned, np.c_[LABELS, np.where(HALVES, "left", "right")]),
    "numbers": (numbers, NUMBERS),
    "one number": (lambda: numbers(unfreeze_depth=0, image_size=32), NUMBERS[:, 0]),
    "frozen": (lambda: frozen(StandardScaler(), LogisticRegression(C=0.01), layer="all", pooling="avg+std"), LABELS),
    "probe": (lambda: frozen(LinearProbeClassifier(class_weight="balanced"), layer="all", pooling="avg+std"), LABELS),
    "probe, two labels": (lambda: frozen(LinearProbeClassifier()), HALVES.astype(int)),
    "probe of numbers": (lambda: frozen(LinearProbeRegressor()), NUMBERS),
    "probe of one number": (lambda: frozen(LinearProbeRegressor()), NUMBERS[:, 0]),
    "frozen, two labels": (
        lambda: frozen(StandardScaler(with_mean=False), LogisticRegression(solver="liblinear"), layer=(0, "stem")),
        HALVES.astype(int),
    ),
    "frozen, no scaler": (lambda: frozen(LogisticRegression(max_iter=500), image_size=32), np.arange(24) % 3),
    "ridge": (lambda: frozen(StandardScaler(with_std=False), Ridge(fit_intercept=False)), NUMBERS),
    "ridge, strength chosen": (lambda: frozen(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 4, 11))), NUMBERS[:, 0]),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != "depth 1"]


def network_of(model):
    return model[0] if hasattr(model, "steps") else model


def prepared(model, pictures=PICTURES):
    network = network_of(model)
    size = network.image_size
    own = network.backbone_.preprocessing
    preprocessing = own if size is None else own.resized(size)
    return np.stack([preprocessing.prepare(picture) for picture in pictures])


def outputs(model):
    found = (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(PICTURES)
    return np.concatenate(found, axis=1) if isinstance(found, list) else found


def assert_same_as_in_onnx(model, path):
    session, images, expected = onnxruntime.InferenceSession(path), prepared(model), outputs(model)
    for n_images in (24, 1, 5):
        (found,) = session.run(None, {"images": images[:n_images]})
        assert found.shape == expected[:n_images].shape
        assert_allclose(found, expected[:n_images], rtol=0, atol=1e-5 * max(1, abs(expected).max()))
    return session


@pytest.mark.parametrize("case", ["depth 1", *SLOW])
def test_the_file_gives_what_the_model_gives_for_any_number_of_images(case, tmp_path):
    make, y = CASES[case]
    model = make().fit(PICTURES, y)
    export_onnx(model, tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = assert_same_as_in_onnx(model, tmp_path / "model.onnx")
    (given,), (taken,) = session.get_outputs(), session.get_inputs()
    assert given.name == ("probabilities" if hasattr(model, "predict_proba") else "predictions")
    assert (taken.name, taken.type, taken.shape[1:]) == ("images", "tensor(uint8)", list(prepared(model)[0].shape))
    facts = session.get_modelmeta().custom_metadata_map
    backbone = network_of(model).backbone_
    assert facts["license"] == json.loads(facts["backbone"])["license"] == backbone.license
    assert Preprocessing(**json.loads(facts["preprocessing"])).crop_size == taken.shape[2]
    if hasattr(model, "predict_proba"):
        of_columns = isinstance(model.classes_, list)
        classes = [each.tolist() for each in model.classes_] if of_columns else model.classes_.tolist()
        assert json.loads(facts["classes"]) == classes
    else:
        assert facts["task"] == "regression"
    onnx.checker.check_model(tmp_path / "model.onnx")


FAMILIES = {"mobilenet_v2": 64, "resnet18": 64, "squeezenet1_1": 64, "convnext_tiny": 64, "vit_b_16": 64}


def lively(name, size):
    """A network in which every layer counts, for small pictures."""
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, **({"image_size": size} if name.startswith("vit") else {})).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return load_backbone(network, preprocessing=Preprocessing(crop_size=size, resize_size=size + 8))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [0, 1, "all", "frozen"])
@pytest.mark.parametrize("name", FAMILIES)
def test_families_give_in_onnx_what_they_give_here(name, depth, tmp_path):
    backbone = lively(name, FAMILIES[name])
    if depth == "frozen":
        # Random networks have features next to dead, which a scaler would blow up, and differences with them.
        model = frozen(StandardScaler(with_std=False), LogisticRegression(), backbone=backbone)
    else:
        model = tuned(backbone=backbone, unfreeze_depth=depth)
    model.fit(PICTURES, LABELS)
    export_onnx(model, tmp_path / "model.onnx")
    assert_same_as_in_onnx(model, tmp_path / "model.onnx")


def test_what_cannot_be_exported_is_named_before_any_work():
    with pytest.raises(ValueError, match=r"estimator must be a Pipeline of.*Got a SGDClassifier"):
        export_onnx(SGDClassifier(), "never.onnx")
    with pytest.raises(ValueError, match="Got a Pipeline instead"):
        export_onnx(frozen(SGDClassifier()), "never.onnx")
    with pytest.raises(NotFittedError):
        export_onnx(tuned(), "never.onnx")


@pytest.fixture
def model():
    return frozen(LogisticRegression()).fit(PICTURES, LABELS)


class Session:
    """A file that gives other numbers."""

    def __init__(self, *_, **__):
        pass

    def run(self, _, inputs):
        return [np.full((len(inputs["images"]), 3), 1 / 3)]


def test_a_file_that_gives_something_else_is_not_written(model, tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"former")
    monkeypatch.setattr(_exporting, "make_program", lambda *_, **__: onnx_of_nothing())
    monkeypatch.setattr(_exporting, "open_session", Session)
    with pytest.raises(ValueError, match=r"to 1e-05. Got a difference of .* instead: nothing was written"):
        export_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"former"


def test_a_file_beyond_the_format_is_an_error(model, tmp_path, monkeypatch):
    monkeypatch.setattr(_exporting, "make_program", lambda *_, **__: onnx_of_nothing())
    monkeypatch.setattr(_exporting, "_MAX_BYTES", 10)
    with pytest.raises(ValueError, match=r"smaller than 2 GiB.*Take a smaller network"):
        export_onnx(model, tmp_path / "model.onnx")


def onnx_of_nothing():
    class Program:
        model_proto = onnx.ModelProto()

    return Program()


def test_a_network_that_torch_cannot_export_is_named(model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("an operator is not known")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ValueError, match=r"export_onnx needs a network that torch.onnx can export. tiny_fr"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_of_weights_is_not_written_onto(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(models.resnet18().state_dict(), path)
    before = path.read_bytes()
    model = tuned(backbone="resnet18", weights=str(path), image_size=32, unfreeze_depth=0).fit(PICTURES, LABELS)
    with pytest.raises(ValueError, match="must be a file of its own"):
        export_onnx(model, path)
    assert path.read_bytes() == before
