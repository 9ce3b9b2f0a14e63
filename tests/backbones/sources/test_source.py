"""A source is one class: what it gives is enough for everything that takes a network by name."""

import pickle
import socket
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, _loading, list_backbones, load_backbone, pool
from sktl.backbones.empty_networks import empty_chain
from sktl.backbones.sources._source import SOURCES, NamedSource, source_of
from sktl.backbones.sources._weights import Weights, default_or_file
from sktl.datasets import make_fractals
from sktl.exceptions import WeightsMismatchError
from sktl.models._saving import describe_network
from sktl.stages.chain import Chain

NARROW, WIDE = "toy_narrow", "toy_wide"
WIDTHS = {NARROW: 4, WIDE: 8}


class ToySource(NamedSource):
    """Two networks of two stages, whose weights are constants."""

    offline = True

    def names(self):
        return list(WIDTHS)

    def find_weights(self, name, weights):
        toy = Weights("default", ("toy",), label="tenths", trained_on="nothing at all", license="CC0-1.0")
        return default_or_file(weights, toy, owner=name, what="tenths")

    def tensors(self, name, weights, own):
        if weights.path is not None:
            return super().tensors(name, weights, own)
        return {key: torch.full_like(tensor, 0.1) for key, tensor in own.items()}

    def build(self, name, variant):
        layers = {"stem": nn.Conv2d(3, 6, 3, 2), "body": nn.Conv2d(6, WIDTHS[name], 3)}
        return nn.Sequential(OrderedDict(**layers, fc=nn.Linear(WIDTHS[name], variant.n_classes or 5)))

    def preprocessing(self, name, network, weights):
        return Preprocessing(crop_size=16)

    def chain(self, network):
        return Chain(network[:-1], network.fc, "toy")


@pytest.fixture
def toy():
    source = ToySource()
    SOURCES.append(source)
    yield source
    SOURCES.remove(source)


@pytest.mark.usefixtures("toy")
def test_names_of_a_new_source_are_listed_and_suggested():
    assert {NARROW, WIDE} < set(list_backbones())
    with pytest.raises(ValueError, match=r"must be a name from list_backbones\(\)\. Got 'toy_narow'.* 'toy_narrow'"):
        load_backbone("toy_narow")
    with pytest.raises(ValueError, match=r"weights of toy_wide must be 'default' \(tenths\)"):
        load_backbone(WIDE, "defualt")


@pytest.mark.usefixtures("toy")
def test_a_network_of_a_new_source_loads_with_its_facts_with_random_weights_and_from_a_file(toy, tmp_path):
    backbone = load_backbone(WIDE)
    assert (backbone.weights, backbone.source, backbone.license) == ("tenths", "nothing at all", "CC0-1.0")
    assert (backbone.n_features, backbone.stage_names, backbone.preprocessing.crop_size) == (8, ("stem", "body"), 16)
    assert all((each == np.float32(0.1)).all() for each in backbone.stages.parameters())
    random = load_backbone(WIDE, None, random_state=3)
    assert (random.weights, random.source) == (None, "nothing: random weights")
    assert random.digest != load_backbone(WIDE, None).digest != backbone.digest
    network = toy.build(WIDE, toy.variant(WIDE, None))
    network.fc = nn.Linear(8, 9)
    save_file(network.state_dict(), tmp_path / "toy.safetensors")
    loaded = load_backbone(WIDE, tmp_path / "toy.safetensors")
    assert torch.equal(loaded.stages.body.weight, network.body.weight)
    assert torch.equal(loaded.head.weight, network.fc.weight)
    assert loaded.source == "unknown"
    with pytest.raises(WeightsMismatchError, match="must fit toy_narrow"):
        load_backbone(NARROW, tmp_path / "toy.safetensors")


@pytest.mark.usefixtures("toy")
def test_a_network_of_a_new_source_is_shared_and_its_pickle_is_small():
    backbone = load_backbone(NARROW)
    assert load_backbone(NARROW, random_state=7) is backbone
    pickled = pickle.dumps(backbone)
    assert len(pickled) < 2000
    _loading._loaded.clear()
    assert pickle.loads(pickled).digest == backbone.digest


@pytest.mark.usefixtures("toy")
def test_estimators_take_a_network_of_a_new_source():
    images, target = make_fractals(12, n_classes=2, random_state=0)
    vectors = PretrainedFeatureExtractor(NARROW, cache=False).fit_transform(images)
    assert vectors.shape == (12, 4)
    tuned = FineTuneClassifier(NARROW, unfreeze_depth=1, max_epochs=1, cache=False, random_state=0)
    tuned.fit(images, target)
    again = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(again.predict_proba(images), tuned.predict_proba(images))


@pytest.mark.usefixtures("toy")
def test_a_network_of_a_new_source_is_built_without_numbers_and_filled():
    backbone = load_backbone(WIDE)
    chain = empty_chain(describe_network(backbone))
    assert all(each.is_meta for each in chain.stages.parameters())
    chain.stages.load_state_dict(backbone.stages.state_dict(), assign=True)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(pool(chain.stages.eval()(image)), pool(backbone.stages(image)))


def test_no_network_comes_from_two_sources():
    listed = list_backbones()
    assert len(set(listed)) == len(listed)
    for thing in (*listed, nn.Linear(2, 2), nn.Linear):
        assert sum(source.takes(thing) for source in SOURCES) == 1, thing
    assert source_of("resnet1") is source_of(None) is None


def test_sources_that_are_offline_load_without_a_connection(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("an offline source opens no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    offline = [source for source in SOURCES if getattr(source, "offline", False)]
    assert offline
    for source in offline:
        for name in source.names():
            assert load_backbone(name).weights
