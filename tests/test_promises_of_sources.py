"""What is promised of every network holds for those of timm: same vector, one pass, frozen is frozen, stored = full."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.datasets import make_fractals
from sktl.inference.forward_passes import counted_forward_passes

timm = pytest.importorskip("timm")

SMALL_SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)}
NETWORKS = {
    "ViT": ("timm/test_vit", None),
    "ConvNeXt": ("timm/test_convnext", 64),
    "MobileNetV4": ("timm/mobilenetv4_conv_small", 64),
    "Swin": (partial(timm.create_model, "swin_tiny_patch4_window7_224", **SMALL_SWIN), None),
}


# Convolutions with batch norms are held quickly with torchvision's networks.
QUICK = ("ViT", "ConvNeXt", "Swin")
with_slow = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


@pytest.fixture(scope="module", params=with_slow)
def network(request):
    """A record with random weights that count as pretrained, and the image size to use."""
    backbone, image_size = NETWORKS[request.param]
    return load_backbone(backbone, None), image_size


@pytest.fixture(scope="module")
def images():
    return make_fractals(12, n_classes=3, image_size=56, random_state=0)


def test_the_vector_of_an_image_is_the_same_bits_whatever_comes_with_it(network, images):
    backbone, image_size = network
    X, _ = images
    extractor = PretrainedFeatureExtractor(backbone, image_size=image_size, cache=False).fit(X)
    expected = extractor.transform(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(extractor.transform(X[order]), expected[order])
    np.testing.assert_array_equal(np.concatenate([extractor.transform(X[i : i + 1]) for i in range(4)]), expected[:4])
    np.testing.assert_array_equal(extractor.set_params(batch_size=5).transform(X), expected)


def test_each_image_goes_through_the_network_once(network, images, tmp_path):
    backbone, image_size = network
    X, y = images
    extractor = PretrainedFeatureExtractor(backbone, image_size=image_size, cache=tmp_path / "store")
    search = GridSearchCV(make_pipeline(extractor, RidgeClassifier()), {"ridgeclassifier__alpha": [0.1, 1]}, cv=2)
    with counted_forward_passes() as counter:
        search.fit(X, y)
    assert counter.n_images == len(X)


def test_what_is_frozen_keeps_its_bits_and_what_is_stored_trains_the_same(network, images, tmp_path):
    backbone, image_size = network
    X, y = images
    before = copy.deepcopy(backbone.stages.state_dict())
    options = {"unfreeze_depth": 1, "image_size": image_size, "max_epochs": 1, "augment": None, "random_state": 0}
    stored, plain = (FineTuneClassifier(backbone, cache=c, **options).fit(X, y) for c in (tmp_path / "store", False))
    assert all(torch.equal(value, before[key]) for key, value in backbone.stages.state_dict().items())
    np.testing.assert_array_equal(stored.predict_proba(X), plain.predict_proba(X))
    trained = stored.__sktl_backbone__()
    n_frozen = len(backbone.stages) - 1
    pairs = zip(backbone.stages[:n_frozen], trained.stages[:n_frozen], strict=True)
    for own, after in pairs:
        assert all(torch.equal(value, after.state_dict()[key]) for key, value in own.state_dict().items())
    top = trained.stages[-1].state_dict()
    assert any(not torch.equal(value, top[key]) for key, value in backbone.stages[-1].state_dict().items())
