"""adapt_batch_norm: the plain loop in train mode, whatever the order, and a record that everything takes."""

import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from torch import nn

from sktl import (
    FineTuneClassifier,
    LinearProbeClassifier,
    PretrainedClassifier,
    PretrainedFeatureExtractor,
    compare_transfer,
)
from sktl.backbones import Preprocessing, load_backbone, tensor_digest
from sktl.domain_adaptation import adapt_batch_norm
from sktl.exceptions import ImageReadError, WeightsError
from sktl.images import as_images
from sktl.models import load_model, save_model

LAYERS, LAST = [nn.Conv2d(3, 4, 3)], [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]


@pytest.fixture(scope="module")
def images():
    """Dark pictures of little contrast, no two alike, in the order of their brightness."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 80, (37, 48, 48, 3), dtype=np.uint8) + np.arange(37, dtype=np.uint8)[:, None, None, None]


@pytest.fixture(scope="module")
def adapted(images):
    return adapt_batch_norm("tiny_fractal", images, batch_size=16)


def plain_loop(backbone, batches):
    """What torch itself makes of normalised batches in train mode, as its manual has it."""
    stages = deepcopy(backbone.stages)
    for part in stages.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    stages.train()
    with torch.no_grad():
        for batch in batches:
            stages(batch)
    return stages.eval().state_dict()


def batches_by_content(backbone, images, n_batches):
    """Normalised batches of images in the order of their digests."""
    collection = as_images(images)
    order = sorted(range(len(images)), key=collection.digest)
    prepared = torch.from_numpy(np.stack([backbone.preprocessing.prepare(images[i]) for i in order]))
    parts = np.array_split(np.arange(len(images)), n_batches)
    return [backbone.preprocessing.normalize(prepared[part]) for part in parts]


@pytest.mark.parametrize(
    ("name", "image_size", "batch_size", "n_batches"),
    [
        *[("tiny_fractal", None, size, number) for size, number in [(16, 2), (37, 1), (64, 1), (2, 18)]],
        pytest.param("mobilenet_v2", 32, 12, 3, marks=pytest.mark.slow),
    ],
)
def test_it_equals_a_plain_loop_in_train_mode(images, name, image_size, batch_size, n_batches):
    weights = "default" if name == "tiny_fractal" else None
    backbone = load_backbone(name, weights)
    adapted = adapt_batch_norm(backbone, images, image_size=image_size, batch_size=batch_size)
    batches = batches_by_content(adapted, images, n_batches)
    expected = plain_loop(backbone, batches)
    found = adapted.stages.state_dict()
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=1e-6, msg=key)


def test_one_batch_has_the_mean_and_variance_of_all_places_of_all_images(images, adapted):
    """Of the first batch norm, whose input no other one has changed: by numpy."""
    backbone = load_backbone("tiny_fractal")
    adapted = adapt_batch_norm(backbone, images)
    first, seen = next(part for part in backbone.stages.modules() if isinstance(part, nn.BatchNorm2d)), []
    with torch.no_grad():
        hook = first.register_forward_hook(lambda part, inputs, output: seen.append(inputs[0]))
        for batch in batches_by_content(backbone, images, 1):
            backbone.stages(batch)
        hook.remove()
    values = seen[0].numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(first.num_features, -1)
    norm = next(part for part in adapted.stages.modules() if isinstance(part, nn.BatchNorm2d))
    np.testing.assert_allclose(norm.running_mean, values.mean(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_var, values.var(axis=1, ddof=1), rtol=1e-5)


def test_order_and_reading_threads_play_no_part(images, adapted):
    order = np.random.default_rng(1).permutation(len(images))
    assert adapt_batch_norm("tiny_fractal", images[order], batch_size=16, n_jobs=3).digest == adapted.digest


@pytest.mark.parametrize("kind", ["paths", "PIL", "channels first", "floats", "rows", "lazy"])
def test_whatever_sktl_reads_may_be_passed(images, kind, tmp_path):
    """In one batch, since files are put in order by other bytes than arrays."""
    paths = [tmp_path / f"{i}.png" for i in range(len(images))] if kind == "paths" else []
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    X, options = {
        "paths": (paths, {}),
        "PIL": ([Image.fromarray(image) for image in images], {}),
        "channels first": (images.transpose(0, 3, 1, 2), {}),
        "floats": (images / np.float32(255), {}),
        "rows": (images.reshape(len(images), -1) / 2.0, {"image_shape": (48, 48, 3), "value_range": (0, 127.5)}),
        "lazy": (Lazy(images), {}),
    }[kind]
    expected, found = adapt_batch_norm("tiny_fractal", images), adapt_batch_norm("tiny_fractal", X, **options)
    for key, tensor in expected.stages.state_dict().items():
        torch.testing.assert_close(found.stages.state_dict()[key], tensor, rtol=1e-4, atol=1e-4, msg=key)
    if kind == "lazy":
        assert sorted(X.asked) == list(range(37))


class Lazy:
    """Makes its images on access, and counts how often."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.images[i]


def test_the_source_record_is_left_as_it_is(images, adapted):
    backbone = load_backbone("tiny_fractal")
    before = pickle.dumps(backbone.stages)
    again = adapt_batch_norm(backbone, images, batch_size=16)
    assert pickle.dumps(backbone.stages) == before
    assert backbone.digest == tensor_digest("tiny_fractal", stages=backbone.stages, head=backbone.head)
    assert again.digest == adapted.digest != backbone.digest
    norms = [part for part in again.stages.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.training) for norm in norms} == {(0.1, False)}
    assert [name for name, _ in again.stages.named_parameters()] == [
        name for name, _ in backbone.stages.named_parameters()
    ]
    for one, other in zip(again.stages.parameters(), backbone.stages.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


def test_the_record_says_what_was_done(adapted, images):
    assert adapted.weights == "embedded, batch norm adapted to 37 images"
    assert adapted.source.endswith("no photograph was used, then 37 images without labels")
    smaller = adapt_batch_norm("tiny_fractal", images[:4], weights=None, image_size=32)
    assert (smaller.weights, smaller.preprocessing.crop_size) == (None, 32)


def test_other_images_give_another_digest(images, adapted):
    assert adapt_batch_norm("tiny_fractal", images[:-1], batch_size=16).digest != adapted.digest


def test_a_shift_of_brightness_and_contrast_is_undone():
    """In each domain standardised by its own statistics, features of the same pictures are closer to each other."""
    pictures = np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), dtype=np.uint8)
    dark = (pictures * 0.3 + 20).astype(np.uint8)
    bright, faint = (
        PretrainedFeatureExtractor(adapt_batch_norm("tiny_fractal", X), cache=False) for X in (pictures, dark)
    )
    plain = PretrainedFeatureExtractor(cache=False).fit(pictures)
    before = distance(plain.transform(pictures), plain.transform(dark))
    assert distance(bright.fit_transform(pictures), faint.fit_transform(dark)) < before / 5


def distance(one, other):
    """How far the means of features are apart, in standard deviations."""
    alive = one.std(axis=0) > 0
    return np.mean(np.abs(one.mean(axis=0) - other.mean(axis=0))[alive] / one.std(axis=0)[alive])


def test_extractor_store_comparison_and_fine_tuning_take_it(images, adapted):
    target = np.arange(37) % 2
    extractor = PretrainedFeatureExtractor(adapted)
    vectors = extractor.fit_transform(images)
    assert extractor.store_info_.n_misses == 37
    again = PretrainedFeatureExtractor(adapted)
    np.testing.assert_array_equal(again.fit_transform(images), vectors)
    assert again.store_info_.n_hits == 37
    assert not np.allclose(vectors, PretrainedFeatureExtractor().fit_transform(images))
    tuned = FineTuneClassifier(adapted, max_epochs=1, random_state=0).fit(images, target)
    assert tuned.backbone_.digest == adapted.digest
    comparison = compare_transfer(
        images, target, backbone=adapted, candidates=["dummy", "frozen"], baseline="dummy", cv=2
    )
    assert comparison.settings["networks"]["frozen"]["digest"] == adapted.digest


def test_pickles_and_model_files_hold_it(images, adapted, tmp_path):
    pipeline = make_pipeline(PretrainedFeatureExtractor(adapted), LinearProbeClassifier()).fit(
        images, np.arange(37) % 2
    )
    assert pickle.loads(pickle.dumps(adapted)).digest == adapted.digest
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(pipeline)).predict_proba(images), pipeline.predict_proba(images)
    )
    save_model(pipeline, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        load_model(tmp_path / "model.safetensors").predict_proba(images), pipeline.predict_proba(images)
    )


def test_the_own_classes_of_a_network_stay(images):
    network = nn.Sequential(
        *LAYERS, nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    backbone = replace(load_backbone(network), categories=("dark", "bright"))
    model = PretrainedClassifier(adapt_batch_norm(backbone, images, image_size=32)).fit(images)
    assert model.classes_.tolist() == ["dark", "bright"]


@pytest.mark.parametrize(
    ("network", "norms"),
    [
        ("squeezenet1_1", "squeezenet1_1 instead, which has no norms"),
        ([nn.GroupNorm(2, 4), nn.LayerNorm(30)], "Sequential instead, whose norms are GroupNorm, LayerNorm"),
        ([nn.BatchNorm2d(4, track_running_stats=False)], "Sequential instead, whose norms are BatchNorm2d"),
    ],
)
def test_a_network_without_statistics_is_an_error_that_names_its_norms(images, network, norms):
    if not isinstance(network, str):
        network = nn.Sequential(*LAYERS, *network, *LAST)
        network = load_backbone(network, preprocessing=Preprocessing(32))
    weights = None if isinstance(network, str) else "default"
    with pytest.raises(ValueError, match=rf"must have batch norms that keep statistics. Got {norms}. Scale"):
        adapt_batch_norm(network, images, weights=weights)


class Held(nn.BatchNorm2d):
    """Stays in eval mode, as people write it who train with frozen batch norms."""

    def train(self, mode=True):
        return super().train(False)


def test_what_is_held_or_does_not_run_keeps_its_statistics(images):
    backbone = load_backbone(nn.Sequential(*LAYERS, Held(4), nn.BatchNorm2d(4), *LAST), preprocessing=Preprocessing(32))
    stages = deepcopy(backbone.stages)
    convolution = next(part for part in stages.modules() if isinstance(part, nn.Conv2d))
    convolution.unused = nn.BatchNorm2d(4).eval()
    adapted = adapt_batch_norm(replace(backbone, stages=stages), images).stages.state_dict()
    before = stages.state_dict()
    held = [key for key in before if not torch.equal(before[key], adapted[key])]
    assert len(held) == 3  # mean, variance and counter of the one that runs
    only = load_backbone(nn.Sequential(*LAYERS, Held(4), *LAST), preprocessing=Preprocessing(32))
    with pytest.raises(ValueError, match=r"keep statistics\. Got Sequential instead, whose norms are Held"):
        adapt_batch_norm(only, images)


def test_what_cannot_be_adapted_to_is_refused(images):
    with pytest.raises(ValueError, match=r"X must hold at least two images\. Got 1 instead"):
        adapt_batch_norm("tiny_fractal", images[:1])
    with pytest.raises(ValueError, match="'batch_size' parameter of adapt_batch_norm must be an int in the range"):
        adapt_batch_norm("tiny_fractal", images, batch_size=1)
    with pytest.raises(ImageReadError) as found:
        adapt_batch_norm("tiny_fractal", [*images[:3], "nowhere.png"])
    assert found.value.index == 3


def test_statistics_that_are_not_finite_are_refused(images):
    network = nn.Sequential(
        *deepcopy(LAYERS), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with torch.no_grad():
        network[0].weight.fill_(1e18)
        network[1].running_var.fill_(1e38)
    with pytest.raises(WeightsError, match="must be finite numbers"):
        adapt_batch_norm(network, images, image_size=32)
