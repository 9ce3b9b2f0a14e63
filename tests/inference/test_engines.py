"""The function that runs a frozen network: the plain network's vectors, whatever the neighbours and the threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torchvision import models

from sktl.backbones import load_backbone, pool
from sktl.inference import _engines, resolve_placement
from sktl.inference._engines import check_engine, frozen_function

CPU = resolve_placement("cpu", "float32")
SLOW = (
    "alexnet",
    "densenet121",
    "convnext_tiny",
    "swin_t",
    "vit_b_16",
    "inception_v3",
    "maxvit_t",
    "swin_v2_t",
    "googlenet",
)
NAMES = ["tiny_fractal", "resnet18", "mobilenet_v2", "efficientnet_b0", "mobilenet_v3_small", "shufflenet_v2_x1_0"]
NAMES += [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]


@pytest.fixture(scope="module", params=NAMES)
def backbone(request):
    if request.param == "tiny_fractal":
        return load_backbone("tiny_fractal")
    options = {"init_weights": True, "aux_logits": False} if request.param in ("googlenet", "inception_v3") else {}
    torch.manual_seed(0)
    network = models.get_model(request.param, weights=None, **options)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    # From a module of its own: the record of a name is shared with other tests.
    return load_backbone(network, preprocessing=load_backbone(request.param, weights=None).preprocessing)


def block(backbone, n_rows=4):
    size = backbone.preprocessing.crop_size
    shape = (n_rows, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def make(backbone, cuts=None, placement=CPU, engine="torch", pooling="auto"):
    cuts = (len(backbone.stages),) if cuts is None else cuts
    return frozen_function(backbone, cuts, pooling, backbone.preprocessing, placement, engine=engine)


def run(function, images):
    with torch.inference_mode():
        return function(images)


def plain(backbone, images, cuts):
    with torch.inference_mode():
        output, found = backbone.preprocessing.normalize(images), {}
        for cut, stage in enumerate(backbone.stages, start=1):
            output = stage(output.clone())
            found[cut] = pool(output, "auto", backbone.own_pooling)
        return [found[cut] for cut in cuts]


def test_all_cuts_are_those_of_the_plain_network_in_the_order_asked_for(backbone):
    images = block(backbone)
    cuts = tuple(range(len(backbone.stages), 0, -1))
    expected = plain(backbone, images, cuts)
    found = run(make(backbone, cuts), images).split([one.shape[1] for one in expected], dim=1)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_the_bits_of_a_row_depend_on_neither_place_nor_neighbours_nor_thread(backbone):
    images, function = block(backbone), make(backbone)
    expected = run(function, images)
    assert torch.equal(run(function, images.flip(0)), expected.flip(0))
    alone = torch.zeros_like(images)
    alone[3] = images[0]

    def in_thread(block):
        torch.set_num_threads(1)
        return run(function, block)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(in_thread, [images.roll(1, 0), alone] * 2))
    assert all(torch.equal(one, expected.roll(1, 0)) for one in found[::2])
    assert all(torch.equal(one[3], expected[0]) for one in found[1::2])


def test_bytes_and_floats_give_the_same():
    backbone = load_backbone()
    images, function = block(backbone), make(backbone)
    torch.testing.assert_close(run(function, images / 255), run(function, images))


def test_all_functions_of_a_backbone_share_one_copy_also_from_threads(monkeypatch):
    backbone = load_backbone()
    _engines._chains.pop(backbone, None)
    made = []
    original = _engines.FastChain
    monkeypatch.setattr(_engines, "FastChain", lambda *arguments: made.append(1) or original(*arguments))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda cut: make(backbone, (cut,)), [1, 5, 2, 5]))
    assert len(made) == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_the_precision_of_the_placement_is_kept(precision):
    backbone, placement = load_backbone(), resolve_placement("cpu", precision)
    images = block(backbone)
    with placement.autocast():
        found = run(make(backbone, placement=placement), images)
    (expected,) = plain(backbone, images, (5,))
    assert (found.float() - expected).abs().max() <= (1e-5 if precision == "float32" else 0.05) * expected.abs().max()


def test_an_unknown_engine_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match="engine must be one of"):
        check_engine("tensorrt", resolve_placement("cpu", "float32"))
