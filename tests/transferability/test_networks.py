"""Which networks are meant, under which names, and which of them has a twin with random weights."""

from functools import partial

import numpy as np
import pytest
from torch import nn
from torchvision.models import resnet18

from sktl import PretrainedFeatureExtractor
from sktl.backbones import Backbone, load_backbone
from sktl.transferability import _networks
from sktl.transferability._networks import control_network, named_networks


def own_network():
    first, second = (nn.Conv2d(3, 4, 3), nn.ReLU()), (nn.Conv2d(4, 6, 3), nn.ReLU())
    return nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_sequence_goes_by_the_names_of_its_networks():
    record = load_backbone("mobilenet_v2", weights=None)
    networks, left_out = named_networks(["tiny_fractal", record])
    assert networks == {"tiny_fractal": "tiny_fractal", "mobilenet_v2": record}
    assert left_out == {}


def test_a_dictionary_gives_names_of_ones_own_to_anything_that_is_a_network():
    extractor = PretrainedFeatureExtractor().fit(np.zeros((2, 48, 48, 3), dtype=np.uint8))
    given = {"a": "tiny_fractal", "b": own_network(), "c": extractor, "d": partial(resnet18, weights=None)}
    networks, _ = named_networks(given)
    assert list(networks) == list(given)
    assert networks["a"] == "tiny_fractal"  # a name is loaded where it is needed, and not kept by the ranking
    assert all(isinstance(networks[name], Backbone) for name in "bcd")
    assert networks["c"] is load_backbone("tiny_fractal")


@pytest.mark.parametrize(
    ("backbones", "error", "message"),
    [
        ([], ValueError, "must name at least one network. Got none instead"),
        ({}, ValueError, "must name at least one network. Got none instead"),
        ("tiny_fractal", TypeError, "Write a single one as"),
        (3, TypeError, "must be a sequence of networks, a dictionary"),
        (["tiny_fractal", "tiny_fractal"], ValueError, "'tiny_fractal' twice instead. Give them names of your own"),
        (["tiny_fractl"], ValueError, "Did you mean 'tiny_fractal'?"),
        ({1: "tiny_fractal"}, TypeError, "The names of backbones must be str. Got 1 instead"),
        ({"pixels": "tiny_fractal"}, ValueError, "must not be called dummy, pixels, frozen_random"),
        ([3], TypeError, "backbone must be a name"),
    ],
)
def test_what_is_no_network_or_has_no_name_is_refused_before_any_work(backbones, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        named_networks(backbones)


def test_a_name_whose_weights_are_not_to_be_had_is_left_to_its_fit(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    networks, _ = named_networks(["tiny_fractal", "resnet18"])
    assert list(networks) == ["tiny_fractal", "resnet18"]


def test_local_takes_what_loads_and_says_why_the_rest_does_not(monkeypatch, tmp_path):
    here = {"tiny_fractal": "tiny_fractal", "owner/gone": str(tmp_path / "gone")}
    monkeypatch.setattr(_networks, "networks_here", lambda: here)
    networks, left_out = named_networks("local")
    assert networks == {"tiny_fractal": "tiny_fractal"}
    assert list(left_out) == ["owner/gone"]
    assert left_out["owner/gone"].startswith("WeightsNotFoundError: ")


def test_local_without_any_network_is_an_error(monkeypatch):
    monkeypatch.setattr(_networks, "networks_here", dict)
    with pytest.raises(ValueError, match="must find a network that can be loaded on this machine"):
        named_networks("local")


def test_the_control_is_the_first_network_with_pretrained_weights():
    random = load_backbone("mobilenet_v2", weights=None)
    assert control_network({"a": random, "b": "tiny_fractal"}) is load_backbone("tiny_fractal")
    assert control_network({"a": random}) is None
    own = load_backbone(own_network())
    assert control_network({"own": own, "b": "tiny_fractal"}) is own  # its weights may be pretrained ones


def test_a_function_that_draws_its_weights_is_no_control():
    made = load_backbone(partial(resnet18, weights=None))
    assert control_network({"made": made}) is None
