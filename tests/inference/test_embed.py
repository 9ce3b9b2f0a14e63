"""Promises 1 and 2: the same vector whatever its company, and the vector that plain torchvision gives."""

import inspect
import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from sktl import PretrainedFeatureExtractor
from sktl.backbones import POOLINGS, Preprocessing, _loading, load_backbone
from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.images.protocols import Image as ImageProtocol
from sktl.images.protocols import Images
from sktl.inference import _engines as engines
from sktl.inference import embed, embedding_widths, resolve_placement
from sktl.store import open_store

CPU = resolve_placement("cpu", "float32")
# One small member of each family, and about the smallest image that it takes.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 80,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "swin_v2_t": 32,
    "vgg11": 32,
    "vit_b_32": 32,
}
HEAVY = ("alexnet", "densenet121", "inception_v3", "maxvit_t", "swin_t", "swin_v2_t", "vgg11", "vit_b_32")
# The quick ones differ in mechanism. Attention and layer norms of timm are quick in test_promises_of_sources.py.
ALIKE = ("convnext_tiny", "googlenet", "mnasnet0_5", "mobilenet_v3_small")
PRESET = {"crop_size": 64, "resize_size": 73}


def in_families(names, heavy=HEAVY):
    return [pytest.param(name, marks=pytest.mark.slow) if name in heavy else name for name in names]


def build(name, image_size=None):
    """A network with random weights in which every layer counts."""
    options = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, **options).eval().requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            # Fresh statistics leave the signal to fade away within twenty layers.
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.2, 0.6)
    return network


@pytest.fixture
def pictures():
    """Photo-like: smooth shapes and noise, of several sizes."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in ((90, 120), (64, 64), (200, 77), (50, 60), (33, 90)):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((width, height))
        noise = rng.integers(-20, 20, (height, width, 3))
        found.append(Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)))
    return found


@pytest.fixture(scope="module", params=in_families(FAMILIES, HEAVY + ALIKE))
def extractor(request):
    """An extractor on one network, shared by the tests of this file, with the stages down to the lowest but one."""
    size = FAMILIES[request.param]
    backbone = load_backbone(build(request.param, size), preprocessing=Preprocessing(crop_size=size))
    layers = [0, len(backbone.stage_names) - 1]
    yield PretrainedFeatureExtractor(backbone, layer=layers, cache=False).fit(["never read"])
    _loading._loaded.clear()


# Promise 1


def test_every_family_of_torchvision_is_here():
    def family(name):
        return inspect.signature(models.get_model_builder(name)).return_annotation

    assert {family(name) for name in FAMILIES} == {family(name) for name in models.list_models(module=models)}


def test_a_vector_does_not_depend_on_batch_size_order_or_neighbours(extractor, pictures):
    extractor.set_params(batch_size=32)
    expected = extractor.transform(pictures)
    assert np.isfinite(expected).all()
    assert len(np.unique(expected, axis=0)) == len(pictures)
    order = [3, 1, 4, 0, 2]
    company = [*pictures[2:], *(picture.rotate(90) for picture in pictures * 3), *pictures[:2]]
    np.testing.assert_array_equal(extractor.transform([pictures[i] for i in order]), expected[order])
    found = extractor.transform(company)
    np.testing.assert_array_equal(found[[-2, -1, 0, 1, 2]], expected)
    np.testing.assert_array_equal(extractor.transform([pictures[4]]), expected[[4]])
    for batch_size in (1, 3):
        np.testing.assert_array_equal(extractor.set_params(batch_size=batch_size).transform(pictures), expected)


THREADS = """
import json, sys
import numpy as np, torch
from sktl import PretrainedFeatureExtractor
from sktl.backbones import _loading
X = np.random.default_rng(0).integers(0, 256, (6, 70, 80, 3), dtype=np.uint8)
differences = {}
for name, size in json.loads(sys.argv[1]).items():
    model = PretrainedFeatureExtractor(name, weights=None, image_size=size, cache=False, random_state=0).fit(X)
    vectors = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        assert torch.get_num_threads() == n_threads
        vectors.append(model.transform(X))
    differences[name] = float(abs(vectors[0] - vectors[1]).max())
    _loading._loaded.clear()
print(json.dumps(differences))
"""


def differences_between_threads(sizes):
    done = subprocess.run(
        [sys.executable, "-c", THREADS, json.dumps(sizes)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_another_number_of_threads_changes_no_bit():
    differences = differences_between_threads({"mobilenet_v3_small": 64, "squeezenet1_1": 96})
    assert len(differences) == 2
    assert not any(differences.values()), differences


@pytest.mark.slow
def test_another_number_of_threads_changes_no_bit_in_any_family():
    sizes = {name: max(size, 96) for name, size in FAMILIES.items() if not name.startswith("vit_")}
    differences = differences_between_threads({**sizes, "vit_b_32": 224})
    assert differences.keys() == FAMILIES.keys()
    assert not any(differences.values()), differences


# Promise 2


def watched_output(network, module, arguments, before):
    """Run a network, and return what goes into, or comes out of, one of its modules."""
    seen = []
    if before:
        hook = module.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    else:
        hook = module.register_forward_hook(lambda *given: seen.append(given[2].clone()))
    with torch.no_grad():
        network(arguments)
    hook.remove()
    return seen[-1]


def pooled(output):
    return (output.mean((2, 3)) if output.ndim == 4 else output).numpy()


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert abs(found - expected).max() <= 1e-4 * abs(expected).max()


# A stage, and the module of torchvision that ends it.
CUTS = {
    "densenet121": ("denseblock2", "features.transition2"),
    "efficientnet_b0": ("stage1", "features.2"),
    "mobilenet_v2": ("stage1", "features.3"),
    "regnet_y_400mf": ("block2", "trunk_output.block2"),
    "resnet18": ("layer2", "layer2"),
    "shufflenet_v2_x0_5": ("stage3", "stage3"),
    "squeezenet1_1": ("stem", "features.1"),
}


@pytest.mark.parametrize("name", in_families(CUTS))
def test_vectors_of_pil_images_are_those_of_torchvision_with_its_own_transforms(name, pictures, tmp_path):
    network = build(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    stage, cut = CUTS[name]
    transforms = models.get_model_weights(name).IMAGENET1K_V1.transforms(**PRESET)
    batch = torch.stack([transforms(picture) for picture in pictures])
    last = [part for part in network.modules() if isinstance(part, nn.Linear)]
    top = pooled(watched_output(network, last[-1] if last else network.classifier[1], batch, before=True))
    inner = pooled(watched_output(network, network.get_submodule(cut), batch, before=False))
    preprocessing = load_backbone(name, tmp_path / "weights.pth").preprocessing
    assert preprocessing.resized(PRESET["crop_size"]).resize_size == PRESET["resize_size"]
    found = PretrainedFeatureExtractor(
        name, weights=tmp_path / "weights.pth", image_size=PRESET["crop_size"], layer=["penultimate", stage]
    ).fit_transform(pictures)
    assert_close(found[:, : top.shape[1]], top)
    assert_close(found[:, top.shape[1] :], inner)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t", "vit_b_32", "vgg11", "maxvit_t"])
def test_vectors_of_other_families_are_what_their_head_is_given(name, pictures):
    size = 224 if name == "maxvit_t" else 64
    network = build(name, size)
    preset = ImageClassification(crop_size=size, resize_size=size + 9)
    batch = torch.stack([preset(picture) for picture in pictures])
    last = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
    expected = pooled(watched_output(network, last, batch, before=True))
    backbone = load_backbone(network, preprocessing=Preprocessing(crop_size=size, resize_size=size + 9))
    assert_close(PretrainedFeatureExtractor(backbone).fit_transform(pictures), expected)


REAL = {
    "mobilenet_v2-imagenet-tf": ("mobilenet_v2", 1000),
    "squeezenet1_1-imagenet": ("squeezenet1_1", 1000),
    "mobilenet_v2-inat_bird-tf": ("mobilenet_v2", 965),
}


@pytest.fixture
def photos(shared_data):
    paths = sorted((shared_data / "datasets" / "sanity_photos").glob("*.jpg"))
    assert len(paths) == 20
    return paths


@pytest.mark.parametrize("file", in_families(REAL, ("mobilenet_v2-inat_bird-tf", "squeezenet1_1-imagenet")))
def test_real_weights_give_torchvisions_vectors_and_name_the_same_classes(file, photos, shared_data):
    name, n_classes = REAL[file]
    path = shared_data / "weights" / f"{file}.pth"
    network = models.get_model(name, num_classes=n_classes).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    images = [Image.open(photo).convert("RGB") for photo in photos]
    batch = torch.stack([models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()(image) for image in images])
    with torch.no_grad():
        classes = network(batch).argmax(1)
    maps = watched_output(network, network.classifier[1], batch, before=True)
    is_squeezenet = maps.ndim == 4
    model = PretrainedFeatureExtractor(name, weights=path, pooling="flatten" if is_squeezenet else "auto", batch_size=7)
    # Files, so that decoding is judged, too.
    found = model.fit(photos).transform([str(photo) for photo in photos])
    assert_close(found, maps.flatten(1).numpy())
    features = torch.from_numpy(found).reshape(maps.shape)
    with torch.no_grad():
        answers = model.backbone_.head(features)
    assert torch.equal(answers.argmax(1), classes)
    assert len(set(classes.tolist())) > 5
    if is_squeezenet:
        average = model.set_params(pooling="avg").fit(photos[:2]).transform(photos[:2])
        assert_close(average, maps[:2].mean((2, 3)).numpy())


# The function itself


def test_rows_widths_and_failures_agree():
    backbone = load_backbone()
    images = as_images([np.zeros((8, 9, 3), np.uint8), b"bad", np.full((8, 9), 200, np.uint8)])
    layers = ("stage1", 0)
    found, failures = embed(
        images, backbone, backbone.preprocessing, CPU, layers=layers, pooling="max", batch_size=2, on_error="nan"
    )
    widths = embedding_widths(backbone, layers, "max", backbone.preprocessing)
    assert found.shape == (3, sum(widths))
    assert found.dtype == np.float32
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
    assert [error.index for error in failures] == [1]


def test_nothing_above_the_highest_layer_asked_for_is_run(pictures):
    class Explodes(nn.Module):
        def forward(self, x):
            raise AssertionError("this stage need not run")

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
    backbone = load_backbone(network, preprocessing=Preprocessing(crop_size=16))
    expected, _ = embed(as_images(pictures), backbone, backbone.preprocessing, CPU, layers=(1,))
    backbone.stages[-1] = Explodes()
    found, _ = embed(as_images(pictures), backbone, backbone.preprocessing, CPU, layers=(1,))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(AssertionError, match="need not run"):
        embed(as_images(pictures), backbone, backbone.preprocessing, CPU, layers=(0,))


def test_a_network_that_changes_with_its_mode_is_run_in_eval_mode_without_gradients(pictures):
    seen = []

    class Watch(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.is_grad_enabled(), x.is_contiguous(memory_format=torch.channels_last)))
            return x

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Watch(), nn.Dropout(0.5)).train()
    backbone = load_backbone(network, preprocessing=Preprocessing(crop_size=16))
    seen.clear()
    one = embed(as_images(pictures), backbone, backbone.preprocessing, CPU)[0]
    assert {(training, grad) for training, grad, _ in seen} == {(False, False)}
    seen.clear()
    again = embed(as_images(pictures), backbone, backbone.preprocessing, CPU)[0]
    assert set(seen) == {(False, False, True)}
    np.testing.assert_array_equal(again, one)


def test_a_function_that_makes_a_network_embeds_as_the_network_does(pictures):
    make = partial(build, "squeezenet1_1")
    expected = PretrainedFeatureExtractor(make(), image_size=48, cache=False).fit_transform(pictures)
    np.testing.assert_array_equal(
        PretrainedFeatureExtractor(make, image_size=48, cache=False).fit_transform(pictures), expected
    )


# Networks that came as a module: anything is possible.


class Channelwise(nn.Module):
    """Smooths each channel by itself, in the way that anti-aliased networks do."""

    def forward(self, x):
        b, c, h, w = x.shape
        return torch.nn.functional.conv2d(x.view(b * c, 1, h, w), torch.ones(1, 1, 3, 3)).view(b, c, h - 2, w - 2)


class Pair(nn.Module):
    def forward(self, x):
        return x, x.mean((2, 3), keepdim=True)


class Product(nn.Module):
    def forward(self, pair):
        return pair[0] * pair[1]


class Spread(nn.Module):
    def forward(self, x):
        return x.mean((2, 3), keepdim=True).expand(-1, -1, 5, 5)


class Functional(nn.Module):
    def forward(self, x):
        return torch.nn.functional.silu(torch.nn.functional.adaptive_avg_pool2d(x, 1))


class Flat(nn.Module):
    def forward(self, x):
        return x.view(x.shape[0], -1)


ODD = {
    "channelwise": lambda: [nn.Conv2d(3, 5, 3), Channelwise(), nn.Conv2d(5, 5, 3)],
    "pair": lambda: [nn.Conv2d(3, 5, 3), Pair(), Product()],
    "spread": lambda: [nn.Conv2d(3, 5, 3), Spread(), nn.Conv2d(5, 5, 3)],
    "functional": lambda: [nn.Conv2d(3, 5, 3), Functional()],
    "flat": lambda: [nn.Conv2d(3, 5, 3), Flat()],
    "no statistics": lambda: [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False)],
    "not affine": lambda: [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=False), nn.ReLU()],
    "weight norm": lambda: [nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 5, 3)), nn.BatchNorm2d(5), nn.Tanh()],
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_networks_give_what_they_give_themselves_whatever_the_company(kind):
    torch.manual_seed(0)
    network = nn.Sequential(*ODD[kind]()).eval()
    backbone = load_backbone(network, preprocessing=Preprocessing(crop_size=12))
    X = np.random.default_rng(0).integers(0, 256, (37, 12, 12, 3), dtype=np.uint8)
    found, _ = embed(as_images(X), backbone, backbone.preprocessing, CPU)
    for i in range(3):
        with torch.no_grad():
            expected = network(backbone.preprocessing.normalize(torch.from_numpy(X[[i]].transpose(0, 3, 1, 2).copy())))
        expected = expected.mean((2, 3)) if expected.ndim == 4 else expected
        np.testing.assert_allclose(found[[i]], expected, rtol=1e-4, atol=1e-5)
    order = np.random.default_rng(1).permutation(len(X))
    shuffled, _ = embed(as_images(X[order]), backbone, backbone.preprocessing, CPU)
    # The trial may miss an activation that is no module: its last bits may then depend on the row's place.
    np.testing.assert_allclose(shuffled, found[order], rtol=1e-6 if kind == "functional" else 0, atol=0)


def test_one_backbone_serves_several_image_sizes():
    backbone = load_backbone(nn.Sequential(nn.Conv2d(3, 5, 5), Flat()), preprocessing=Preprocessing(crop_size=12))
    X = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
    small = embed(as_images(X), backbone, backbone.preprocessing.resized(5), CPU)[0]
    assert small.shape == (4, 5)
    assert embed(as_images(X), backbone, backbone.preprocessing, CPU)[0].shape == (4, 5 * 64)


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if name != "token"])
def test_no_pooling_makes_a_vector_depend_on_its_row(pooling):
    backbone = load_backbone(build("shufflenet_v2_x0_5"), preprocessing=Preprocessing(crop_size=64))
    X = np.random.default_rng(0).integers(0, 256, (21, 64, 64, 3), dtype=np.uint8)
    layers = ["stem", "stage2"]
    options = {"layers": layers, "pooling": pooling}
    expected, _ = embed(as_images(X), backbone, backbone.preprocessing, CPU, **options)
    found, _ = embed(as_images(np.roll(X, 1, 0)), backbone, backbone.preprocessing, CPU, **options)
    np.testing.assert_array_equal(found, np.roll(expected, 1, 0))


@pytest.mark.parametrize("default", [torch.float64, torch.float32])
def test_the_default_type_of_torch_changes_nothing(pictures, default):
    expected, _ = embed(as_images(pictures), (backbone := load_backbone()), backbone.preprocessing, CPU)
    engines._chains.clear()
    torch.set_default_dtype(default)
    try:
        found, _ = embed(as_images(pictures), backbone, backbone.preprocessing, CPU)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("store", [False, True])
def test_the_first_image_that_cannot_be_read_is_the_one_that_is_named(pictures, store):
    X = [*pictures, b"\x89PNG\r\n\x1a\nnothing", "absent.png", *pictures]
    with pytest.raises(ImageReadError, match="image 5"):
        PretrainedFeatureExtractor(cache=store).fit(pictures).transform(X)


class Squares:
    """The least that may be passed as images: nothing but what the protocol names."""

    def __len__(self):
        return 6

    def open(self, i):
        if i == 2:
            raise ImageReadError("there is none", i)
        return Square(i % 4)


class Square:
    def __init__(self, side):
        self.side = side

    def digest(self):
        return bytes([self.side]) * 16

    def picture(self):
        if self.side == 3:
            raise ImageReadError("it is damaged")
        return np.pad(np.full((1, 1, 3), 255, np.uint8), ((self.side, 5), (self.side, 5), (0, 0)))


@pytest.mark.parametrize("with_store", [False, True])
def test_images_are_whatever_follows_the_protocol(with_store):
    backbone = load_backbone("tiny_fractal")
    assert isinstance(Squares(), Images)
    assert isinstance(Square(0), ImageProtocol)
    store = open_store() if with_store else None
    found, failures = embed(Squares(), backbone, backbone.preprocessing, CPU, store=store, on_error="nan")
    assert [str(error) for error in failures] == ["image 2: there is none", "the image: it is damaged"]
    pictures = as_images([Square(side).picture() for side in (0, 1, 0, 1)])
    expected, _ = embed(pictures, backbone, backbone.preprocessing, CPU)
    np.testing.assert_array_equal(found[[0, 1, 4, 5]], expected)
    assert np.isnan(found[[2, 3]]).all()


def test_a_collection_follows_the_protocol(pictures):
    images = as_images(pictures)
    assert isinstance(images, Images)
    assert isinstance(images.open(0), ImageProtocol)
