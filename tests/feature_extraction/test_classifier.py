"""PretrainedClassifier says what the network itself says, under the names that its weights bring along."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import is_classifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from sktl import FineTuneClassifier, PretrainedClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, load_backbone
from sktl.backbones._backbone import make_backbone
from sktl.backbones.sources._bundled import MEAN, STD, TinyResNet
from sktl.datasets import make_fractals
from sktl.stages.chain import Chain

FILES = {"mobilenet_v2": "mobilenet_v2-imagenet-tf", "squeezenet1_1": "squeezenet1_1-imagenet"}
SHOWN = {"bird": "chickadee", "dragonfly": "dragonfly", "parrot": "macaw", "hot_dog": "hotdog"}


@pytest.fixture
def fractals():
    return make_fractals(6, n_classes=2, random_state=0)[0]


def toy(categories, head):
    """A record of two convolutions, whose maps are averaged, with a classifier of any kind."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 8, 3, 2), top=nn.Conv2d(8, 4, 3, 2)))
    facts = {"n_features": 4, "categories": categories, "weights": "toy", "source": "nothing", "license": "none"}
    return make_backbone("toy", Chain(stages, head, "toy"), preprocessing=Preprocessing(crop_size=32), **facts)


def test_the_bundled_network_says_what_its_module_says(fractals):
    weights = load_backbone()
    network = TinyResNet().eval()
    head = {f"fc.{name}": tensor for name, tensor in weights.head.state_dict().items()}
    network.load_state_dict({**weights.stages.state_dict(), **head})
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    small = [np.asarray(Image.fromarray(image).resize((48, 48), Image.BILINEAR)) for image in fractals]
    with torch.no_grad():
        expected = network((torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255 - mean) / std).double()
    classifier = PretrainedClassifier().fit(fractals)
    assert classifier.classes_.tolist() == list(range(256))
    found = classifier.decision_function(fractals)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    np.testing.assert_allclose(classifier.predict_proba(fractals), expected.softmax(1), atol=1e-4)
    assert classifier.predict(fractals).tolist() == expected.argmax(1).tolist()


@pytest.mark.parametrize("name", FILES)
def test_logits_are_those_of_torchvision_and_photos_get_their_names(name, shared_data):
    path = shared_data / "weights" / f"{FILES[name]}.pth"
    photos = sorted((shared_data / "datasets" / "sanity_photos").glob("*.jpg"))
    photos = [photo for photo in photos if photo.stem in SHOWN]
    network = models.get_model(name).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    preset = ImageClassification(crop_size=224)
    with torch.no_grad():
        expected = network(torch.stack([preset(Image.open(photo).convert("RGB")) for photo in photos]))
    classifier = PretrainedClassifier(name, weights=path).fit(photos)
    logits = classifier.decision_function(photos)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert dict(zip([photo.stem for photo in photos], classifier.predict(photos), strict=True)) == SHOWN
    assert classifier.score(photos, [SHOWN[photo.stem] for photo in photos]) == 1


def test_the_store_is_shared_with_the_extractor(fractals, passes):
    PretrainedFeatureExtractor().fit_transform(fractals)
    n_passes = len(passes)
    assert n_passes > 0
    classifier = PretrainedClassifier().fit(fractals)
    found = classifier.predict_proba(fractals)
    assert len(passes) == n_passes
    assert (classifier.store_info_.n_hits, classifier.store_info_.n_misses) == (len(fractals), 0)
    np.testing.assert_array_equal(found, PretrainedClassifier(cache=False).fit(fractals).predict_proba(fractals))


def test_top_ranks_names_with_their_probabilities(fractals):
    classifier = PretrainedClassifier().fit(fractals)
    probabilities = classifier.predict_proba(fractals)
    ranked = classifier.top(fractals, k=3)
    for own, pairs in zip(probabilities, ranked, strict=True):
        assert [name for name, _ in pairs] == np.argsort(-own, kind="stable")[:3].tolist()
        assert [probability for _, probability in pairs] == sorted(own, reverse=True)[:3]
    assert json.loads(json.dumps(ranked)) == [[list(pair) for pair in pairs] for pairs in ranked]
    assert [len(pairs) for pairs in classifier.top(fractals[:2], k=1000)] == [256, 256]
    assert len(classifier.top(fractals[:1])[0]) == 5
    for k in (0, 1.5):
        with pytest.raises(InvalidParameterError, match="The 'k' parameter of PretrainedClassifier"):
            classifier.top(fractals, k=k)


@pytest.mark.parametrize(
    "head",
    [
        nn.Linear(4, 3),
        nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    ],
    ids=["of vectors", "of maps, convolution", "of maps, pooling"],
)
def test_heads_of_vectors_and_of_maps_work_the_same(head, fractals, monkeypatch):
    record = toy(("a", "b", "c"), head)
    classifier = PretrainedClassifier(record).fit(fractals)
    prepared = torch.from_numpy(np.stack([record.preprocessing.prepare(image) for image in fractals]))
    with torch.no_grad():
        maps = record.stages(record.preprocessing.normalize(prepared))
        expected = head(maps.mean((2, 3)) if isinstance(head, nn.Linear) else maps)
    found = classifier.decision_function(fractals)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    monkeypatch.setattr("sktl.feature_extraction._classifier._BYTES_AT_A_TIME", 1)
    monkeypatch.setattr("sktl.feature_extraction._classifier._ROWS", 4)
    np.testing.assert_allclose(classifier.decision_function(fractals), expected, atol=1e-5)


def test_classes_of_the_same_name_are_told_apart(fractals):
    classifier = PretrainedClassifier(toy(("crane", "dog", "crane"), nn.Linear(4, 3))).fit(fractals)
    assert classifier.classes_.tolist() == ["crane (0)", "dog", "crane (2)"]


def test_as_many_names_as_outputs(fractals):
    with pytest.raises(ValueError, match=r"as many classes as names. Got \(3,\) outputs and 2 names"):
        PretrainedClassifier(toy(("a", "b"), nn.Linear(4, 3))).fit(fractals)


def test_weights_whose_classes_have_no_names_are_refused(fractals, tmp_path):
    save_file(TinyResNet(5).state_dict(), tmp_path / "own.safetensors")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    fine_tuned = FineTuneClassifier(max_epochs=1, random_state=0).fit(fractals, [0, 1] * 3)
    for parameters in (
        {"weights": None},
        {"weights": tmp_path / "own.safetensors"},
        {"backbone": network},
        {"backbone": fine_tuned},
    ):
        with pytest.raises(ValueError, match=r"weights must name their classes.*make_pipeline\(PretrainedFeature"):
            PretrainedClassifier(**parameters).fit(fractals)


def test_it_is_no_classifier_of_labels_and_says_so(fractals):
    classifier = PretrainedClassifier()
    assert not is_classifier(classifier)
    with pytest.raises(NotFittedError):
        classifier.top(fractals)
    names = classifier.fit(fractals, ["no", "label", "is", "looked", "at", "!"]).predict(fractals)
    assert classifier.score(fractals, names) == accuracy_score(names, names) == 1
    assert classifier.score(fractals, ["other"] * 6) == 0
    one_right, weights = [names[0], *["other"] * 5], [3, 1, 1, 1, 1, 1]
    assert classifier.score(fractals, one_right, sample_weight=weights) == pytest.approx(3 / 8)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.score(fractals, names[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.score(fractals, names, sample_weight=[1, 2])
    with pytest.warns(DataConversionWarning):
        assert classifier.score(fractals, np.array(names)[:, None]) == 1
    with pytest.raises(ValueError, match="1d array"):
        classifier.score(fractals, np.array([names, names]).T)
    scores = cross_val_score(classifier, fractals, names, cv=2, scoring="accuracy", error_score="raise")
    assert scores.tolist() == [1, 1]


def test_the_record_holds_names_or_numbers():
    assert load_backbone().categories == tuple(range(256))
    assert load_backbone(weights=None).categories is None
