"""What the caller has set in torch changes nothing that is loaded, computed or trained, nor what others get later."""

import pickle
from contextlib import contextmanager
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, _loading, load_backbone
from sktl.backbones.torch_defaults import torch_defaults
from sktl.models import load_model, save_model

SMALL = Preprocessing(crop_size=16)
X = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
Y = np.arange(8) % 2


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {
    "float64": partial(default_dtype, torch.float64),
    "bfloat16": partial(default_dtype, torch.bfloat16),
    "float16": partial(default_dtype, torch.float16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "default device": partial(default_device, "meta"),
    "device context": partial(torch.device, "meta"),
}


@pytest.fixture(params=SETTINGS)
def setting(request):
    return SETTINGS[request.param]


@pytest.fixture(autouse=True)
def forget_networks():
    _loading._loaded.clear()
    yield
    _loading._loaded.clear()


def state():
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


class Shifted(nn.Module):
    """Makes a tensor of the default dtype, on the default device, when it runs."""

    def forward(self, x):
        return x + torch.full((4, 1, 1), 0.1)


def own():
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Shifted(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    return nn.Sequential(*layers)


def digests(weight_file):
    return [
        load_backbone().digest,
        load_backbone("shufflenet_v2_x0_5", None, random_state=3).digest,
        load_backbone("tiny_fractal", weight_file).digest,
        load_backbone(own, preprocessing=SMALL).digest,
        load_backbone(own, None, preprocessing=SMALL, random_state=1).digest,
    ]


def test_networks_are_loaded_alike_under_every_setting(setting, tmp_path):
    torch.save(load_backbone("tiny_fractal", None).stages.state_dict() | fc(), tmp_path / "a.pth")
    expected = digests(tmp_path / "a.pth")
    _loading._loaded.clear()
    with setting():
        before = state()
        found = digests(tmp_path / "a.pth")
        assert state() == before
    assert found == expected
    # Nothing that was loaded stays for later in another form.
    assert digests(tmp_path / "a.pth") == expected
    for name in ("tiny_fractal", own):
        for tensor in load_backbone(name, preprocessing=SMALL).stages.state_dict().values():
            assert not tensor.is_inference()
            assert tensor.dtype in (torch.float32, torch.int64)
            assert tensor.device.type == "cpu"


def fc():
    return {"fc.weight": torch.ones(5, 192), "fc.bias": torch.zeros(5)}


def vectors(backbone):
    return PretrainedFeatureExtractor(backbone, cache=False, layer="all", pooling="gem").fit_transform(X)


@pytest.mark.parametrize("backbone", ["tiny_fractal", partial(load_backbone, own, preprocessing=SMALL)])
def test_vectors_are_the_same_bits_under_every_setting(setting, backbone):
    make = backbone if callable(backbone) else lambda: backbone
    expected = vectors(make())
    _loading._loaded.clear()
    with setting():
        found = vectors(make())
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(vectors(make()), expected)


def fitted(depth, **options):
    model = FineTuneClassifier(
        load_backbone(own, preprocessing=SMALL),
        unfreeze_depth=depth,
        max_epochs=2,
        random_state=0,
        cache=False,
        **options,
    )
    return model.fit(X, Y)


def weights(model):
    return {name: tensor.numpy(force=True).tobytes() for name, tensor in model.module_.state_dict().items()}


@cache
def expected_of(depth):
    return fitted(depth, head=(3,))


@pytest.mark.parametrize("depth", [0, 1, pytest.param("all", marks=pytest.mark.slow)])
def test_a_training_gives_the_same_bits_under_every_setting(setting, depth):
    expected = expected_of(depth)
    probabilities = expected.predict_proba(X)
    _loading._loaded.clear()
    with setting():
        before = state()
        found = fitted(depth, head=(3,))
        inside = found.predict_proba(X)
        again = pickle.loads(pickle.dumps(expected))
        assert state() == before
    assert weights(found) == weights(expected) == weights(again)
    np.testing.assert_array_equal(inside, probabilities)
    np.testing.assert_array_equal(found.predict_proba(X), probabilities)
    # What was made in inference mode could never be trained.
    assert weights(again.partial_fit(X, Y)) == weights(found.partial_fit(X, Y))


@cache
def regressor():
    return FineTuneRegressor(unfreeze_depth=1, max_epochs=1, random_state=0, cache=False, image_size=16).fit(X, Y / 3)


def test_a_model_file_gives_the_same_bits_under_every_setting(setting, tmp_path):
    model = regressor()
    expected = model.predict(X)
    with setting():
        save_model(model, tmp_path / "a.safetensors")
        again = load_model(tmp_path / "a.safetensors")
        np.testing.assert_array_equal(again.predict(X), expected)
    np.testing.assert_array_equal(again.predict(X), expected)
    assert again.partial_fit(X, Y / 3) is again


def test_a_pickled_network_of_one_s_own_can_be_trained_after_every_setting(setting):
    pickled = pickle.dumps(load_backbone(own(), preprocessing=SMALL))
    with setting():
        backbone = pickle.loads(pickled)
    model = FineTuneClassifier(backbone, unfreeze_depth="all", max_epochs=1, cache=False, random_state=0).fit(X, Y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_the_settings_come_back_after_an_error(setting):
    with setting():
        before = state()
        with pytest.raises(ValueError, match="must be a name"):
            load_backbone("nothing of this kind")
        assert state() == before
        with torch_defaults():
            assert state() == (torch.float32, torch.device("cpu"), False, True, False)
        assert state() == before


def test_the_default_dtype_comes_back_when_the_last_thread_has_left():
    first, second = torch_defaults(), torch_defaults()
    with default_dtype(torch.float64):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_default_dtype() is torch.float32
        second.__exit__(None, None, None)
        assert torch.get_default_dtype() is torch.float64
