"""timm's networks by name, without a network connection."""

import pickle
import socket
import sys
from hashlib import sha256
from shutil import rmtree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, _loading, list_backbones, load_backbone, pool
from sktl.datasets import make_fractals
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError
from sktl.models import load_model, save_model

timm = pytest.importorskip("timm")
hub = pytest.importorskip("huggingface_hub")

NAME, TAG = "timm/test_resnet", "r160_in1k"
LICENSE = timm.get_pretrained_cfg(f"test_resnet.{TAG}").license  # which older versions of timm do not tell
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty folder as the cache of the Hub, which nothing comes into."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def refused(monkeypatch):
    """Every connection is an error of the test."""

    def refuse(*arguments):
        raise AssertionError("nothing is to be looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def put_into_cache(folder, repository, tensors, file="model.safetensors"):
    """Write tensors where the Hub's own client puts a downloaded file."""
    root = folder / f"models--{repository.replace('/', '--')}"
    blob, link = root / "blobs" / sha256(b"a").hexdigest(), root / "snapshots" / COMMIT / file
    for path in (blob, link, root / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(COMMIT)
    save_file(tensors, blob) if file.endswith(".safetensors") else torch.save(tensors, blob)
    link.symlink_to(blob)
    return link


def network(name="test_resnet", seed=0, **options):
    torch.manual_seed(seed)
    return timm.create_model(name, **options).eval()


def pre_logits(network, images):
    with torch.no_grad():
        return network.forward_head(network.forward_features(images), pre_logits=True)


def features(backbone, images):
    with torch.no_grad():
        return pool(backbone.stages(images), "auto", backbone.own_pooling)


def test_names_are_those_of_timm_with_and_without_tags():
    names = {name for name in list_backbones() if name.startswith("timm/")}
    assert {f"timm/{name}" for name in timm.list_models()} < names
    assert {f"timm/{name}" for name in timm.list_models(pretrained=True)} < names
    assert len(names) > 2500


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("timm/resnet5O", "Did you mean 'timm/resnet50'"),
        ("timm/resnet50.a1_in1kk", r"Did you mean 'timm/resnet50\.a1_in1k'"),
        ("timm/resnet50/x", "Did you mean 'timm/resnet50'"),
        ("timm/", "instead"),
        ("timm/resnet*", "instead"),
    ],
)
def test_an_unknown_name_is_answered_with_one_that_is_close(name, hint):
    for weights in ("default", None):
        with pytest.raises(ValueError, match=rf"must be an architecture of timm.*{hint}"):
            load_backbone(name, weights)


def test_unknown_weights_are_answered_with_the_tags(tmp_path):
    with pytest.raises(ValueError, match=r"\['default', 'r160_in1k'\].* Did you mean 'r160_in1k'"):
        load_backbone(NAME, "r160_in1")
    with pytest.raises(WeightsNotFoundError, match="must be an existing file"):
        load_backbone(NAME, tmp_path / "none.safetensors")


def test_weights_that_timm_does_not_have_are_no_default():
    without = next(name for name in timm.list_models("vit_*") if not timm.list_models(f"{name}.*", pretrained=True))
    with pytest.raises(ValueError, match="must be one of no names, an existing file, or None"):
        load_backbone(f"timm/{without}")


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("name", [pytest.param(NAME, marks=pytest.mark.slow), f"{NAME}.{TAG}"])
def test_weights_in_the_cache_of_the_hub_load_without_a_connection(name, hub_cache, capsys):
    original = network()
    put_into_cache(hub_cache, f"timm/test_resnet.{TAG}", original.state_dict())
    backbone = load_backbone(name)
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(features(backbone, images), pre_logits(original, images), rtol=0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(backbone.head(features(backbone, images)), original(images), rtol=0, atol=1e-5)
    assert (backbone.name, backbone.weights) == (name, f"test_resnet.{TAG}")
    assert (backbone.source, backbone.license) == ("ImageNet-1k", LICENSE or "unknown")
    assert (backbone.n_features, len(backbone.categories), backbone.categories[0]) == (96, 1000, "tench")
    assert capsys.readouterr().err == ""
    assert load_backbone(name, TAG) is load_backbone(name, f"test_resnet.{TAG}") is backbone
    pickled = pickle.dumps(backbone)
    assert len(pickled) < 2000
    _loading._loaded.clear()
    assert pickle.loads(pickled).digest == backbone.digest


@pytest.mark.usefixtures("refused")
def test_an_old_repository_without_safetensors_is_read_without_running_code(hub_cache):
    original = network()
    put_into_cache(hub_cache, f"timm/test_resnet.{TAG}", original.state_dict(), "pytorch_model.bin")
    assert torch.equal(load_backbone(NAME).head.weight, original.fc.weight)


def test_offline_the_error_says_what_to_put_where(hub_cache, capsys):
    with pytest.raises(WeightsNotFoundError) as caught:
        load_backbone(NAME)
    message = str(caught.value)
    assert message.startswith(f"'model.safetensors' of timm/test_resnet.{TAG} is not whole on this machine")
    assert f"Looked in {str(hub_cache / f'models--timm--test_resnet.{TAG}')!r}" in message
    assert f"HF_HUB_CACHE is {str(hub_cache)!r}" in message
    assert f"hf download timm/test_resnet.{TAG}" in message
    assert "weights=" in message
    assert capsys.readouterr().err.startswith("Downloading model.safetensors of")


def test_weights_of_an_address_are_looked_for_in_the_folder_of_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = "timm/legacy_seresnet18.in1k"
    url = timm.get_pretrained_cfg("legacy_seresnet18.in1k").url
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_: (_ for _ in ()).throw(OSError("nobody there")))
    with pytest.raises(WeightsNotFoundError) as caught:
        load_backbone(name)
    message = str(caught.value)
    folder = tmp_path / "hub" / "checkpoints"
    file = url.rpartition("/")[2]
    assert f"(nobody there). Looked for {file!r} in {str(folder)!r}" in message
    assert f"curl -L -o {file} {url}" in message
    original = network("legacy_seresnet18")
    torch.save(original.state_dict(), folder / file)
    assert torch.equal(load_backbone(name).head.weight, original.last_linear.weight)


def test_a_damaged_file_in_the_cache_is_named(hub_cache):
    path = put_into_cache(hub_cache, f"timm/test_resnet.{TAG}", network().state_dict())
    whole = path.read_bytes()
    path.resolve().write_bytes(whole[:1000])
    with pytest.raises(WeightsError, match="truncated or of another kind") as caught:
        load_backbone(NAME)
    assert str(path) in str(caught.value)
    path.resolve().write_bytes(whole)
    assert load_backbone(NAME).weights


def test_a_file_of_another_network_in_the_cache_does_not_fit(hub_cache):
    put_into_cache(hub_cache, f"timm/test_resnet.{TAG}", network("test_vit").state_dict())
    with pytest.raises(WeightsMismatchError, match="must fit timm/test_resnet"):
        load_backbone(NAME)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_local_file_says_the_number_of_classes(tmp_path, suffix):
    original = network(num_classes=7)
    file = tmp_path / f"own{suffix}"
    save_file(original.state_dict(), file) if suffix == ".safetensors" else torch.save(original.state_dict(), file)
    backbone = load_backbone(NAME, file)
    assert torch.equal(backbone.head.weight, original.fc.weight)
    assert (backbone.source, backbone.license, backbone.categories) == ("unknown", "unknown", None)


def test_a_local_file_without_a_classifier_gives_none(tmp_path):
    original = network("test_vit", num_classes=0)
    save_file(original.state_dict(), tmp_path / "own.safetensors")
    backbone = load_backbone("timm/test_vit", tmp_path / "own.safetensors")
    assert backbone.head is None
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(features(backbone, images), original(images), rtol=0, atol=1e-5)


def test_position_embeddings_of_another_size_are_resampled_as_timm_does(tmp_path):
    larger = network("test_vit", img_size=224)
    save_file(larger.state_dict(), tmp_path / "own.safetensors")
    backbone = load_backbone("timm/test_vit", tmp_path / "own.safetensors")
    expected = timm.create_model(
        "test_vit", pretrained=True, pretrained_cfg_overlay={"state_dict": load_file(tmp_path / "own.safetensors")}
    ).eval()
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(features(backbone, images), pre_logits(expected, images), rtol=0, atol=1e-6)


def test_a_file_of_another_network_is_listed_name_by_name(tmp_path):
    save_file(network("test_vit").state_dict(), tmp_path / "own.safetensors")
    with pytest.raises(WeightsMismatchError, match=r"missing from the file \('conv1"):
        load_backbone(NAME, tmp_path / "own.safetensors")


def test_random_weights_are_fixed_by_the_seed_and_are_those_of_timm():
    backbone = load_backbone(NAME, None, random_state=3)
    assert (backbone.weights, backbone.source, backbone.categories) == (None, "nothing: random weights", None)
    assert torch.equal(backbone.head.weight, network(seed=3).fc.weight)
    _loading._loaded.clear()
    assert load_backbone(NAME, None, random_state=3).digest == backbone.digest
    assert load_backbone(NAME, None, random_state=4).digest != backbone.digest


@pytest.mark.skipif(not timm.list_models("vit_base_patch16_sapiens2"), reason="this timm has no such network")
def test_pictures_that_are_not_square_are_refused_before_anything_is_downloaded():
    for weights in ("default", None):
        with pytest.raises(ValueError, match=r"must take square pictures in three colours.* 1024 × 768"):
            load_backbone("timm/vit_base_patch16_sapiens2.fb", weights)


def test_a_module_of_timm_is_read_with_its_own_configuration():
    module = network("test_vit2", num_classes=5)
    backbone = load_backbone(module)
    assert backbone.preprocessing == Preprocessing(160, 168, "bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert backbone.source == "ImageNet-1k (says its pretrained_cfg)"
    assert backbone.license == ("apache-2.0 (says its pretrained_cfg)" if LICENSE else "unknown")
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(features(backbone, images), pre_logits(module, images), rtol=0, atol=1e-6)
    assert torch.equal(backbone.head.weight, module.head.weight)
    assert backbone.n_features == 64


def test_a_module_of_timm_for_another_image_size_is_given_that_size():
    assert load_backbone(network("test_vit", img_size=96)).preprocessing.crop_size == 96
    given = Preprocessing(64)
    assert load_backbone(network("test_resnet"), preprocessing=given).preprocessing == given


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_a_module_of_timm_has_a_twin_that_timm_draws(name):
    module = network(name, num_classes=3)
    twin = load_backbone(module, None, random_state=4)
    torch.manual_seed(4)
    expected = load_backbone(timm.create_model(name, num_classes=3))
    assert twin.weights is None
    for own, other in zip(twin.stages.parameters(), expected.stages.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_changed_module_of_timm_needs_modules_that_draw_their_weights():
    module = network("test_convnext", num_classes=3)
    module.stem[0] = torch.nn.Conv2d(3, 24, 2, 2)
    with pytest.raises(ValueError, match="pass a function that makes the network"):
        load_backbone(module, None)


def test_a_network_of_timm_is_trained_and_pickled():
    images, target = make_fractals(12, n_classes=2, random_state=0)
    tuned = FineTuneClassifier(NAME, weights=None, unfreeze_depth=1, image_size=32, max_epochs=1, random_state=0)
    tuned.fit(images, target)
    again = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(again.predict_proba(images), tuned.predict_proba(images))


def test_a_model_file_is_read_without_looking_for_weights(hub_cache, tmp_path, monkeypatch):
    put_into_cache(hub_cache, f"timm/test_resnet.{TAG}", network().state_dict())
    images, target = make_fractals(8, n_classes=2, random_state=0)
    extractor = PretrainedFeatureExtractor(f"{NAME}.{TAG}", cache=False)
    model = make_pipeline(extractor, LogisticRegression()).fit(images, target)
    save_model(model, tmp_path / "model.safetensors")
    rmtree(hub_cache)
    monkeypatch.setattr(hub, "hf_hub_download", None)
    _loading._loaded.clear()
    again = load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict_proba(images), model.predict_proba(images))
    assert (again[0].backbone_.weights, again[0].backbone_.license) == (f"test_resnet.{TAG}", LICENSE or "unknown")


def test_names_of_larger_sets_differ():
    from sktl.backbones.sources._timm import _larger_imagenet

    for n_classes in (11221, 11821, 21841, 21842, 21843):
        names = _larger_imagenet(NAME, n_classes)
        assert len(set(names)) == n_classes
    assert _larger_imagenet(NAME, 512) is None


def test_without_timm_the_error_names_the_extra_and_other_names_are_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert not [name for name in list_backbones() if name.startswith("timm/")]
    for weights in ("default", None):
        with pytest.raises(ImportError, match=r"the backbone 'timm/resnet50' needs timm.* pip install 'sktl\[timm\]'"):
            load_backbone("timm/resnet50", weights)
