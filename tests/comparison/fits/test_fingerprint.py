from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, get_scorer, make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.transforms import v2

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.comparison._fits._fingerprint import described, digest_of_images


class Holder:
    """An object without a word about itself."""

    def __init__(self, content):
        self.content = content

    def method(self, x):
        return x

    def __call__(self, x):
        return x


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor


def network(seed=0, width=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())


def enclosing(number):
    return lambda x: x + number


def tuned(**options):
    return FineTuneClassifier(**options)


PAIRS = {
    "number": (lambda: LogisticRegression(C=1), lambda: LogisticRegression(C=2)),
    "nested": (
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=1)),
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=2)),
    ),
    "step": (
        lambda: make_pipeline(LogisticRegression()),
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    ),
    "array": (lambda: np.arange(9_999.0), lambda: np.arange(9_999.0)[::-1].copy()),
    "set": (lambda: {"a", "b", "c"}, lambda: {"a", "b", "d"}),
    "function": (lambda: len, lambda: max),
    "code": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "enclosed": (lambda: enclosing(1), lambda: enclosing(2)),
    "partial": (lambda: partial(network, width=4), lambda: partial(network, width=5)),
    "object": (lambda: Holder(1), lambda: Holder(2)),
    "method": (lambda: Holder(1).method, lambda: Holder(2).method),
    "deep": (lambda: [Holder([Holder(1)])], lambda: [Holder([Holder(2)])]),
    "transform": (lambda: v2.RandomRotation(10), lambda: v2.RandomRotation(30)),
    "module": (lambda: Scaled(1.0), lambda: Scaled(2.0)),
    "weights": (lambda: network(0), lambda: network(1)),
    "record": (lambda: load_backbone(), lambda: load_backbone(weights=None)),
    "own weights": (lambda: tuned(weights="default"), lambda: tuned(weights=None)),
    "augmentation": (lambda: tuned(augment=v2.RandomRotation(10)), lambda: tuned(augment=v2.RandomRotation(30))),
    "scorer": (
        lambda: make_scorer(fbeta_score, beta=1, average="macro"),
        lambda: make_scorer(fbeta_score, beta=2, average="macro"),
    ),
    "named scorer": (lambda: get_scorer("accuracy"), lambda: get_scorer("balanced_accuracy")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equal_things_are_described_alike_and_others_differently(name):
    make, make_other = PAIRS[name]
    assert described(make()) == described(make())
    assert described(make()) != described(make_other())
    assert " at 0x" not in described(make())


def test_weights_under_the_same_name_are_told_apart_by_their_digest(monkeypatch):
    before = described(PretrainedFeatureExtractor())
    other = load_backbone(weights=None)
    monkeypatch.setattr("sktl.comparison._fits._fingerprint.load_backbone", lambda *_: other)
    assert described(PretrainedFeatureExtractor()) != before


def test_weights_that_are_not_to_be_had_are_left_to_the_fit():
    assert "none: " in described(PretrainedFeatureExtractor(weights="nowhere.safetensors"))


def test_what_holds_itself_ends_somewhere():
    one = Holder(None)
    one.content = one
    assert described(one) == described(one)


def test_images_are_identified_by_their_content_wherever_they_lie(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    first = digest_of_images([tmp_path / "a.png"])
    assert first == digest_of_images([str(tmp_path / "b.png")])
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "a.png")
    assert digest_of_images([tmp_path / "a.png"]) != first
    assert digest_of_images([tmp_path / "none.png"]) != first
    rows = np.random.default_rng(0).normal(size=(5, 3))
    assert digest_of_images(rows) == digest_of_images(rows.copy()) != digest_of_images(rows[::-1])
