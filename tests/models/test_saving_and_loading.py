"""What was fitted here predicts the same bits elsewhere, from one file, or an error says what such a file can hold."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn

from sktl import (
    FineTuneClassifier,
    FineTuneRegressor,
    LinearProbeClassifier,
    LinearProbeRegressor,
    PretrainedFeatureExtractor,
)
from sktl.backbones import load_backbone
from sktl.backbones.sources._bundled import TinyResNet
from sktl.exceptions import WeightsError
from sktl.models import load_model, save_model

PICTURES = np.random.default_rng(0).integers(0, 256, (24, 20, 24, 3), dtype=np.uint8)
NUMBERS = np.stack([PICTURES.mean((1, 2, 3)), PICTURES.std((1, 2, 3))], axis=1)
LABELS = np.array(["ant", "bee", "gnat"])[np.arange(24) % 3]
SEVERAL = np.stack([NUMBERS[:, 0] > NUMBERS[:, 0].mean(), np.arange(24) % 3 == 0], axis=1).astype(int)


# One of words and one of numbers, each with labels that are missing.
COLUMNS = np.array(
    [[None if i == 3 else LABELS[i], -1 if i == 5 else 1 + 3 * (i % 2)] for i in range(24)], dtype=object
)


def tuned(**parameters):
    return FineTuneClassifier(**{"max_epochs": 1, "augment": "light", "random_state": 0, **parameters})


def numbers(**parameters):
    return FineTuneRegressor(max_epochs=1, random_state=0, **parameters)


def frozen(*steps, **parameters):
    return make_pipeline(PretrainedFeatureExtractor(**parameters), *steps)


CASES = {
    "depth 0": (lambda: tuned(unfreeze_depth=0), LABELS),
    "depth 1": (tuned, np.arange(24) % 3),
    "depth all": (lambda: tuned(unfreeze_depth="all", class_weight="balanced"), np.arange(24) % 2 == 0),
    "from scratch": (lambda: tuned(weights=None), (np.arange(24) % 3).astype(float)),
    "hidden layers": (lambda: tuned(head=(16, 8), dropout=0.1, test_time_augmentation=True), LABELS.astype(object)),
    "several labels": (tuned, SEVERAL),
    "columns of labels": (lambda: tuned(unfreeze_depth=0, class_weight=["balanced", {1: 2, 4: 1}]), COLUMNS),
    "numbers": (numbers, NUMBERS),
    "one number": (lambda: numbers(unfreeze_depth=0, image_size=32), NUMBERS[:, 0]),
    "frozen": (lambda: frozen(StandardScaler(), LogisticRegression(C=0.01), layer="all", pooling="avg+std"), LABELS),
    "probe": (lambda: frozen(LinearProbeClassifier(class_weight="balanced"), layer="all", pooling="avg+std"), LABELS),
    "probe, two labels": (lambda: frozen(LinearProbeClassifier()), np.array([0, 1], dtype=np.int8)[np.arange(24) % 2]),
    "probe of numbers": (lambda: frozen(LinearProbeRegressor()), NUMBERS),
    "probe of one number": (lambda: frozen(LinearProbeRegressor()), NUMBERS[:, 0]),
    "frozen, two labels": (
        lambda: frozen(StandardScaler(with_mean=False), LogisticRegression(solver="liblinear"), layer=(0, "stem")),
        np.array([0, 1], dtype=np.int8)[np.arange(24) % 2],
    ),
    "frozen, no scaler": (
        lambda: frozen(LogisticRegression(max_iter=500, class_weight={0: 1.0, 1: 2.0, 2: 1.0}), value_range=(0, 255)),
        np.arange(24) % 3,
    ),
    "ridge": (lambda: frozen(StandardScaler(with_std=False), Ridge(fit_intercept=False)), NUMBERS),
    "ridge of one column": (lambda: frozen(Ridge(solver="lsqr")), NUMBERS[:, :1]),
    "ridge, strength chosen": (lambda: frozen(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 4, 11))), NUMBERS[:, 0]),
}


# Each of them is kept as one of the others is.
ALIKE = ("depth all", "from scratch", "probe of one number", "frozen, no scaler", "ridge of one column")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in CASES]
)
def fitted(request):
    make, y = CASES[request.param]
    return make().fit(PICTURES, y)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def outputs(model, X=PICTURES):
    methods = ("predict", "predict_proba", "decision_function")
    return {name: getattr(model, name)(X) for name in methods if hasattr(model, name)}


def assert_same_outputs(model, other, X=PICTURES):
    expected, found = outputs(model, X), outputs(other, X)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        in_lists = isinstance(values, list)  # those of several columns
        for one, other in zip(values, found[name], strict=True) if in_lists else [(values, found[name])]:
            assert other.dtype == one.dtype, name
            assert_array_equal(other, one, err_msg=name)


def parameters_of(model):
    return {name: repr(value) for name, value in model.get_params().items() if not hasattr(value, "get_params")}


def test_a_loaded_model_is_the_one_that_was_saved(fitted, path):
    save_model(fitted, path)
    loaded = load_model(path)
    assert type(loaded) is type(fitted)
    assert_same_outputs(fitted, loaded)
    assert_same_outputs(fitted, pickle.loads(pickle.dumps(loaded)))
    copy = clone(loaded)
    own = {name: value for name, value in parameters_of(clone(fitted)).items() if name != "steps"}
    assert own == {name: value for name, value in parameters_of(copy).items() if name != "steps"}
    with pytest.raises(NotFittedError):
        copy.predict(PICTURES)


def test_a_loaded_model_is_saved_as_the_same_bytes(fitted, path):
    save_model(fitted, path)
    content = path.read_bytes()
    save_model(load_model(path), path)
    assert path.read_bytes() == content


def test_a_model_with_a_weight_file_that_is_gone_predicts_the_same_in_another_process(tmp_path):
    """Home and torch's folder are empty there, and whatever would open a connection fails."""
    weights = tmp_path / "secret" / "mine.safetensors"
    weights.parent.mkdir()
    torch.manual_seed(0)
    save_file(TinyResNet().state_dict(), weights)
    home = tmp_path / "home"
    home.mkdir()
    np.save(tmp_path / "X.npy", PICTURES)
    cases = [
        *((lambda depth=depth: tuned(unfreeze_depth=depth, weights=weights), LABELS) for depth in (0, 1, "all")),
        (lambda: frozen(StandardScaler(), LogisticRegression(), weights=weights, layer="all"), LABELS),
        (lambda: frozen(StandardScaler(), Ridge(), weights=str(weights)), NUMBERS),
        (lambda: numbers(weights=weights), NUMBERS),
        (lambda: tuned(weights=weights), SEVERAL),
    ]
    models = [make().fit(PICTURES, y) for make, y in cases]
    for i, model in enumerate(models):
        save_model(model, tmp_path / f"{i}.safetensors")
        assert b"secret" not in (tmp_path / f"{i}.safetensors").read_bytes()
    weights.unlink()
    code = (
        "import socket, sys, numpy as np, torch\n"
        "def refuse(*of): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "torch.set_num_threads(1)\n"
        "from sktl.models import load_model\n"
        "X = np.load('X.npy')\n"
        "for i in range(int(sys.argv[1])):\n"
        "    model = load_model(f'{i}.safetensors')\n"
        "    np.save(f'{i}.npy', getattr(model, 'predict_proba', model.predict)(X))\n"
    )
    places = {"HOME": str(home), "TORCH_HOME": str(home), "SKTL_CACHE_DIR": str(home)}
    subprocess.run(
        [sys.executable, "-c", code, str(len(models))], check=True, cwd=tmp_path, env={**os.environ, **places}
    )
    for i, model in enumerate(models):
        assert_array_equal(np.load(tmp_path / f"{i}.npy"), getattr(model, "predict_proba", model.predict)(PICTURES))


def test_rows_columns_and_the_range_of_values_are_known_again(path):
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame(PICTURES[..., 0].reshape(24, -1) / 2.0).rename(columns=str)
    for model in (tuned(unfreeze_depth=0, image_shape=(20, 24)), frozen(Ridge(), image_shape=[20, 24])):
        model.fit(rows, NUMBERS[:, 0] if hasattr(model, "steps") else LABELS)
        save_model(model, path)
        loaded = load_model(path)
        assert_same_outputs(model, loaded, rows)
        assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
        assert loaded.n_features_in_ == 480
        with pytest.raises(ValueError, match="must be rows of numbers, as in fit"):
            loaded.predict(PICTURES)
        assert getattr(loaded, "steps", [("", loaded)])[0][1].value_range_ == (0.0, 127.5)


def test_training_goes_on_after_loading(path):
    model = tuned(unfreeze_depth=1, warm_start=True).fit(PICTURES, LABELS)
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.n_trained_parameters_ == model.n_trained_parameters_
    before = loaded.predict_proba(PICTURES)
    assert np.abs(loaded.partial_fit(PICTURES, LABELS).predict_proba(PICTURES) - before).max() > 0
    with pytest.raises(ValueError, match="y must hold labels among"):
        loaded.partial_fit(PICTURES, np.full(24, "wasp"))
    loaded.fit(PICTURES, LABELS)
    assert clone(loaded).fit(PICTURES, LABELS).predict(PICTURES).shape == (24,)


def test_what_only_training_needs_is_left_out(path):
    teacher = tuned(unfreeze_depth=0).fit(PICTURES, LABELS)
    seed = np.random.RandomState(0)
    model = tuned(augment=lambda image: image, callbacks=[], teacher=teacher, random_state=seed, cache=False, verbose=0)
    model.fit(PICTURES, LABELS)
    save_model(model, path)
    loaded = load_model(path, n_jobs=2)
    assert_same_outputs(model, loaded)
    left_out = {"augment": "auto", "callbacks": None, "teacher": None, "random_state": None, "cache": True, "n_jobs": 2}
    assert {name: loaded.get_params()[name] for name in left_out} == left_out


def test_a_record_of_a_network_is_written_as_its_name_and_weights(path):
    model = tuned(backbone=load_backbone("tiny_fractal", None, random_state=3), unfreeze_depth=0).fit(PICTURES, LABELS)
    save_model(model, path)
    loaded = load_model(path)
    assert (loaded.backbone, loaded.weights) == ("tiny_fractal", None)
    assert_same_outputs(model, loaded)


def test_metadata_is_in_the_file_for_whoever_reads_its_record(path):
    model = frozen(Ridge()).fit(PICTURES, NUMBERS[:, 0])
    save_model(model, str(path), metadata={"score": 0.5})
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["sktl"])
    assert record["metadata"] == {"score": 0.5}
    assert record["backbone"]["license"] == "BSD-3-Clause"
    with pytest.raises(ValueError, match=r"metadata must be a dictionary that JSON can write\. Got .*set"):
        save_model(model, path, metadata={"score": {1}})
    assert load_model(path).predict(PICTURES).shape == (24,)


class Subclass(FineTuneClassifier):
    """Code that a file cannot hold."""


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: LogisticRegression(), "LogisticRegression"),
        (lambda: Subclass(unfreeze_depth=0), "Subclass"),
        (lambda: frozen(KNeighborsClassifier()), "a Pipeline of PretrainedFeatureExtractor, KNeighborsClassifier"),
        (lambda: frozen(MinMaxScaler(), Ridge()), "a Pipeline of PretrainedFeatureExtractor, MinMaxScaler, Ridge"),
        (lambda: frozen(SGDClassifier()), "a Pipeline of PretrainedFeatureExtractor, SGDClassifier"),
        (lambda: frozen(LogisticRegression(), backbone=TinyResNet(4)), "a backbone of your own, TinyResNet"),
        (lambda: tuned(backbone=TinyResNet(4), unfreeze_depth=0), "a backbone of your own, TinyResNet"),
        (lambda: tuned(head=nn.Linear(192, 3)), "a head of your own"),
        (lambda: tuned(head=lambda n_in, n_out: nn.Sequential(nn.Linear(n_in, n_out))), "a head of your own"),
    ],
)
def test_what_a_file_cannot_hold_is_an_error_that_says_what_it_can(path, make, found):
    X = NUMBERS if isinstance(model := make(), LogisticRegression) else PICTURES
    with pytest.raises(ValueError, match="a Pipeline of PretrainedFeatureExtractor, StandardScaler or none") as error:
        save_model(model.fit(X, np.arange(24) % 3), path)
    assert f"Got {found}" in str(error.value)
    assert not path.exists()


def test_labels_without_an_equal_in_json_are_refused(path):
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[D]")[np.arange(24) % 3]
    with pytest.raises(ValueError, match=r"Got labels of the type datetime64\[D\] instead"):
        save_model(tuned(unfreeze_depth=0).fit(PICTURES, dates), path)


@pytest.mark.parametrize("make", [tuned, lambda: frozen(Ridge())])
def test_an_unfitted_model_is_not_saved(path, make):
    with pytest.raises(NotFittedError):
        save_model(make(), path)
    assert not path.exists()


@pytest.mark.parametrize("start", ["warm", "partial"])
def test_a_loaded_model_learns_on_as_the_one_that_was_saved_does(start, path):
    model = tuned(augment=None, warm_start=True).fit(PICTURES, LABELS)
    save_model(model, path)
    loaded = load_model(path)
    assert loaded.net_.learning_rates() == model.net_.learning_rates()
    for one in (model, loaded):
        one.fit(PICTURES, LABELS) if start == "warm" else one.partial_fit(PICTURES, LABELS)
    if start == "warm":  # a single pass goes on with an optimizer, which is not in the file
        assert_same_outputs(model, loaded)


def test_a_model_is_never_written_onto_the_weights_that_it_was_made_from(tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(TinyResNet().state_dict(), weights)
    before = weights.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(weights)
    os.link(weights, tmp_path / "hard.safetensors")
    backbone = load_backbone("tiny_fractal", weights)
    for parameters in ({"weights": weights}, {"weights": str(weights)}, {"backbone": backbone}):
        for model in (tuned(unfreeze_depth=0, **parameters), frozen(LogisticRegression(), **parameters)):
            model.fit(PICTURES, LABELS)
            for place in (weights, tmp_path / "link.safetensors", str(tmp_path / "hard.safetensors")):
                with pytest.raises(ValueError, match="path must be a file of its own"):
                    save_model(model, place)
    assert weights.read_bytes() == before


def test_a_model_may_take_the_place_of_the_file_that_it_was_read_from(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(tuned(unfreeze_depth=0).fit(PICTURES, LABELS), path)
    before = load_model(path).predict_proba(PICTURES)
    save_model(load_model(path), path)
    assert_array_equal(load_model(path).predict_proba(PICTURES), before)


def test_a_pipe_socket_or_device_is_refused_rather_than_waited_for(special_file):
    with pytest.raises(WeightsError, match=r"must be a model file, .* a pipe, socket or device, which may have no end"):
        load_model(special_file)
