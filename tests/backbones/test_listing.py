"""Names by pattern and source, and what is known about a network before it is loaded."""

import pytest
from torchvision import models

from sktl.backbones import list_backbones
from sktl.backbones.listing import list_cards
from sktl.backbones.sources import _bundled


def test_names_are_sorted_and_picked_by_the_wildcards_of_file_names():
    names = list_backbones()
    assert names == sorted(names)
    assert {"tiny_fractal", "efficientnet_lite0", "resnet18"} < set(names)
    assert list_backbones("vgg1?") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert list_backbones("resnet[!1]*") == ["resnet34", "resnet50"]
    assert list_backbones("resnet18") == ["resnet18"]
    assert list_backbones("RESNET18") == []


def test_names_by_source():
    assert list_backbones(source="bundled") == ["tiny_formula", "tiny_fractal"]
    assert list_backbones("*", source="imagenet") == ["efficientnet_lite0"]
    assert list_backbones("tiny*", source="torchvision") == []
    with pytest.raises(ValueError, match=r"source must be one of \[.*'torchvision'.* Did you mean 'torchvision'"):
        list_backbones(source="torchvison")


def test_cards_say_what_torchvision_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    member = models.ResNet50_Weights.DEFAULT
    (card,) = list_cards("resnet50")
    assert (card.name, card.source, card.image_size, card.is_here) == ("resnet50", "torchvision", 224, False)
    assert card.n_bytes == pytest.approx(member.meta["_file_size"] * 2**20, abs=1)
    assert card.top1 == member.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / member.url.rpartition("/")[2]).touch()
    assert list_cards("resnet50")[0].is_here


def test_every_network_of_torchvision_has_a_size_in_bytes_and_in_pixels_an_accuracy_and_a_licence():
    cards = list_cards(source="torchvision")
    assert len(cards) == len(models.list_models(module=models))
    assert not [card for card in cards if None in vars(card).values()]
    (swag,) = list_cards("regnet_y_128gf")
    assert "SWAG" not in models.RegNet_Y_128GF_Weights.DEFAULT.name or "BSD" not in swag.license


def test_the_cards_of_the_bundled_networks():
    cards = {card.name: card for card in list_cards(source="bundled")}
    for name, bundled in _bundled.BUNDLED.items():
        assert cards[name].n_bytes == bundled.weights.path.stat().st_size
        assert (cards[name].image_size, cards[name].top1, cards[name].is_here) == (bundled.image_size, None, True)


def test_cards_of_timm_say_what_its_configurations_say(monkeypatch, tmp_path):
    timm = pytest.importorskip("timm", reason="comes with the extra 'timm'")
    hub = pytest.importorskip("huggingface_hub", reason="comes with the extra 'timm'")
    name = "convnext_nano.in12k_ft_in1k"
    (card,) = list_cards(f"timm/{name}", source="timm")
    config = timm.get_pretrained_cfg(name)
    assert (card.source, card.image_size, card.license) == ("timm", config.input_size[-1], config.license)
    assert (card.n_bytes, card.top1, card.is_here) == (None, None, False)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"seven b")
    asked = []

    def cached(repository, file, revision):
        asked.append((repository, file))
        return str(weights) if file == weights.name else None

    monkeypatch.setattr(hub, "try_to_load_from_cache", cached)
    (card,) = list_cards(f"timm/{name}")
    assert (card.n_bytes, card.is_here) == (7, True)
    assert asked == [(f"timm/{name}", "model.safetensors")]


def test_every_network_of_timm_has_a_card():
    timm = pytest.importorskip("timm", reason="comes with the extra 'timm'")
    cards = {card.name: card for card in list_cards(source="timm")}
    assert len(cards) == len({*timm.list_models(), *timm.list_models(pretrained=True)})
    assert all(card.image_size for card in cards.values())
    trained = [cards[f"timm/{name}"] for name in timm.list_models(pretrained=True)]
    assert sum(card.license is not None for card in trained) > 0.9 * len(trained)
    without = next(name for name in timm.list_models() if not timm.list_models(f"{name}.*", pretrained=True))
    assert cards[f"timm/{without}"].license is None
