import hashlib
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from sktl.backbones import list_backbones, load_backbone
from sktl.backbones.sources._torchvision import _member_named, _preprocessing_of
from sktl.exceptions import WeightsError, WeightsNotFoundError

MEMBER = models.SqueezeNet1_1_Weights.IMAGENET1K_V1


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A file of random squeezenet weights, named by its hash as torchvision's are; the enum points to it."""
    folder = tmp_path / "served"
    folder.mkdir()
    torch.manual_seed(0)
    path = folder / "squeezenet.pth"
    torch.save(models.squeezenet1_1().state_dict(), path)
    path = path.rename(folder / f"squeezenet-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TORCH_MODEL_ZOO", raising=False)
    monkeypatch.setattr(MEMBER.value, "url", f"http://127.0.0.1:9/{path.name}")
    return path


@pytest.fixture
def server(checkpoint, monkeypatch):
    """Serves the folder of the checkpoint, and notes what was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(checkpoint.parent))) as running:
        monkeypatch.setattr(MEMBER.value, "url", f"http://127.0.0.1:{running.server_port}/{checkpoint.name}")
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield asked
        running.shutdown()
        thread.join()


def test_weights_are_downloaded_once_and_announced_on_standard_error(server, checkpoint, tmp_path, capsys):
    backbone = load_backbone("squeezenet1_1")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Downloading" in printed.err
    assert checkpoint.name in printed.err
    assert (tmp_path / "home" / "hub" / "checkpoints" / checkpoint.name).exists()
    expected = torch.load(checkpoint, weights_only=True)
    assert torch.equal(backbone.stages.stem[0].weight, expected["features.0.weight"])
    assert load_backbone("squeezenet1_1", "IMAGENET1K_V1") is backbone
    assert len(server) == 1
    assert (backbone.weights, backbone.source) == ("SqueezeNet1_1_Weights.IMAGENET1K_V1", "ImageNet-1k")
    assert "BSD-3" in backbone.license
    assert backbone.categories[0] == "tench"


def test_a_file_in_torch_home_needs_no_network(checkpoint, tmp_path, capsys):
    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    checkpoint.rename(folder / checkpoint.name)
    assert load_backbone("squeezenet1_1").weights.endswith("IMAGENET1K_V1")
    assert capsys.readouterr().err == ""


def test_offline_the_error_says_what_to_put_where(checkpoint, tmp_path):
    with pytest.raises(WeightsNotFoundError) as caught:
        load_backbone("squeezenet1_1")
    message = str(caught.value)
    assert f"{checkpoint.name!r} in {str(tmp_path / 'home' / 'hub' / 'checkpoints')!r}" in message
    assert f"TORCH_HOME is {str(tmp_path / 'home')!r}" in message
    assert f"curl -L -o {checkpoint.name} {MEMBER.url}" in message
    assert "weights=" in message
    assert "for photographs 'efficientnet_lite0'" in message


def test_a_file_that_is_not_there_is_not_found(server, checkpoint):
    checkpoint.unlink()
    with pytest.raises(WeightsNotFoundError, match="HTTP Error 404"):
        load_backbone("squeezenet1_1")


def test_a_download_with_another_hash_is_refused(server, checkpoint, tmp_path):
    checkpoint.write_bytes(b"<html>Log in to this network</html>")
    with pytest.raises(WeightsError, match="must have the hash that is part of their name"):
        load_backbone("squeezenet1_1")
    assert not list((tmp_path / "home" / "hub" / "checkpoints").glob("squeezenet*.pth"))


def test_a_damaged_file_in_torch_home_is_named(checkpoint, tmp_path):
    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / checkpoint.name).write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=checkpoint.name):
        load_backbone("squeezenet1_1")


def test_a_local_file_of_torchvision_is_recognised_by_its_hash(checkpoint):
    recognised = load_backbone("squeezenet1_1", checkpoint)
    assert recognised.source == "ImageNet-1k"
    assert recognised.weights == str(checkpoint)
    stranger = load_backbone("squeezenet1_1", checkpoint.rename(checkpoint.with_name("own.pth")))
    assert (stranger.source, stranger.license) == ("unknown", "unknown")
    assert stranger.digest == recognised.digest
    impostor = stranger.weights
    torch.save({key: value * 2 for key, value in torch.load(impostor).items()}, checkpoint)
    assert load_backbone("squeezenet1_1", checkpoint).source == "unknown"


def test_weights_are_found_by_member_name_and_default():
    enum = models.ResNet50_Weights
    assert _member_named("resnet50", "default") is enum.IMAGENET1K_V2
    assert _member_named("resnet50", "DEFAULT") is enum.IMAGENET1K_V2
    assert _member_named("resnet50", "IMAGENET1K_V1") is enum.IMAGENET1K_V1
    assert _member_named("resnet50", "ResNet50_Weights.IMAGENET1K_V1") is enum.IMAGENET1K_V1
    assert _member_named("resnet50", enum.IMAGENET1K_V1) is enum.IMAGENET1K_V1


@pytest.mark.parametrize(
    "wrong", ["IMAGENET1K_V3", "imagenet1k_v2", "ResNet18_Weights.IMAGENET1K_V1", models.ResNet18_Weights.DEFAULT, 3]
)
def test_unknown_weights_are_answered_with_the_list(wrong):
    with pytest.raises(ValueError, match=r"\['default', 'IMAGENET1K_V1', 'IMAGENET1K_V2'\]") as caught:
        load_backbone("resnet50", wrong)
    if wrong in ("IMAGENET1K_V3", "imagenet1k_v2"):
        assert "Did you mean" in str(caught.value)


def test_preprocessing_is_that_of_the_weights():
    image = np.random.default_rng(0).integers(0, 256, (300, 350, 3), dtype=np.uint8)
    seen = set()
    for name in models.list_models(module=models):
        for member in models.get_model_weights(name):
            preprocessing = _preprocessing_of(member)
            if preprocessing in seen:
                continue
            seen.add(preprocessing)
            expected = member.transforms()(Image.fromarray(image))
            prepared = torch.from_numpy(preprocessing.prepare(image))[None]
            assert torch.equal(preprocessing.normalize(prepared)[0], expected), member
    assert len(seen) > 15


def test_random_weights_take_the_preprocessing_of_the_first_weights():
    assert load_backbone("mobilenet_v2", None).preprocessing.resize_size == 256
    assert load_backbone("efficientnet_b0", None).preprocessing.interpolation == "bicubic"
    assert load_backbone("tiny_fractal", None).preprocessing.crop_size == 48


def test_old_names_of_densenet_are_understood(tmp_path, monkeypatch):
    state = models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): value for key, value in state.items()}
    assert old.keys() != state.keys()
    member = models.DenseNet121_Weights.IMAGENET1K_V1
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(old, folder / member.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    backbone = load_backbone("densenet121")
    assert torch.equal(backbone.stages.stem[0].weight, state["features.conv0.weight"])


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.slow)])
def test_imagenet_weights_of_inception_transform_their_input(name, tmp_path, monkeypatch):
    network = models.get_model(name, init_weights=True, aux_logits=True, transform_input=True).eval()
    member = models.get_model_weights(name).DEFAULT
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / member.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    backbone = load_backbone(name)
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        expected = network._transform_input(images)
        first = backbone.stages.stem[0](images)
    assert torch.equal(first, expected)


@pytest.mark.slow
def test_weights_without_a_classifier_lose_it(tmp_path, monkeypatch):
    state = models.vgg16().state_dict()
    for key in state:
        if key.startswith("classifier"):
            state[key].fill_(torch.nan)
    member = models.VGG16_Weights.IMAGENET1K_FEATURES
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / member.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    backbone = load_backbone("vgg16", "IMAGENET1K_FEATURES")
    assert backbone.stage_names == ("stage1", "stage2", "stage3", "stage4", "stage5")
    assert (backbone.head, backbone.categories, backbone.n_features) == (None, None, 512)


def test_the_list_has_every_classification_model():
    assert list_backbones(source="torchvision") == sorted(models.list_models(module=models))
