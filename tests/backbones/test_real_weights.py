"""Real weights on real photos: the record must say what plain torchvision says."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from sktl.backbones import load_backbone, pool

FILES = {
    "mobilenet_v2-imagenet-tf": ("mobilenet_v2", 1000),
    "squeezenet1_1-imagenet": ("squeezenet1_1", 1000),
    "mobilenet_v2-inat_bird-tf": ("mobilenet_v2", 965),
}
# The first word of what the photos named so show, as the classifiers of ImageNet say it.
SHOWN = {"bird": "chickadee", "dragonfly": "dragonfly", "parrot": "macaw", "hot_dog": "hotdog"}


@pytest.fixture
def photos(shared_data):
    return sorted((shared_data / "datasets" / "sanity_photos").glob("*.jpg"))


def plain_torchvision(name, n_classes, path, photos):
    network = models.get_model(name, num_classes=n_classes).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    watched = network.classifier[1]
    seen = []
    watched.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    preset = ImageClassification(crop_size=224)
    with torch.no_grad():
        logits = network(torch.stack([preset(Image.open(photo).convert("RGB")) for photo in photos]))
    features = seen[0]
    return features.mean((2, 3)) if isinstance(watched, nn.Conv2d) else features, logits


QUICKLY = [*list(FILES)[:2], *(pytest.param(file, marks=pytest.mark.slow) for file in list(FILES)[2:])]


@pytest.mark.parametrize("file", QUICKLY)
def test_features_and_classes_are_those_of_plain_torchvision(file, shared_data, photos):
    name, n_classes = FILES[file]
    path = shared_data / "weights" / f"{file}.pth"
    expected, logits = plain_torchvision(name, n_classes, path, photos)
    backbone = load_backbone(name, path)
    assert (backbone.categories is not None) == (n_classes == 1000)
    prepared = [backbone.preprocessing.prepare(np.asarray(Image.open(photo).convert("RGB"))) for photo in photos]
    with torch.no_grad():
        output = backbone.stages(backbone.preprocessing.normalize(torch.from_numpy(np.stack(prepared))))
        features = pool(output, "auto", backbone.own_pooling)
        answers = backbone.head(output if name.startswith("squeezenet") else features)
    assert features.shape == (len(photos), backbone.n_features)
    assert (features - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert torch.equal(answers.argmax(1), logits.argmax(1))
    if backbone.categories:
        named = {photo.stem: backbone.categories[i] for photo, i in zip(photos, answers.argmax(1), strict=True)}
        assert {stem: named[stem] for stem in SHOWN} == SHOWN


def test_the_birds_are_named(shared_data):
    backbone = load_backbone("mobilenet_v2", shared_data / "weights" / "mobilenet_v2-inat_bird-tf.pth")
    with (shared_data / "weights" / "inat_bird_labels.txt").open() as file:
        labels = [row[0] for row in csv.reader(file, delimiter="\t")]
    photo = Image.open(shared_data / "datasets" / "sanity_photos" / "bird.jpg").convert("RGB")
    prepared = torch.from_numpy(backbone.preprocessing.prepare(np.asarray(photo)))[None]
    with torch.no_grad():
        answer = backbone.head(pool(backbone.stages(backbone.preprocessing.normalize(prepared))))
    assert "Poecile atricapillus" in labels[answer.argmax()]
