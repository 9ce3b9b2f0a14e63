import pytest
import torch
from torch import nn
from torchvision import models

from sktl.backbones import pool
from sktl.backbones.sources._bundled import BundledSource, TinyResNet
from sktl.backbones.sources._named import _head_is_loaded, _sizes_in, _widths, _without_classifier
from sktl.backbones.sources._torchvision import TorchvisionSource
from sktl.checkpoints.weight_files import LoadReport
from sktl.stages.chain import Chain
from sktl.stages.torchvision_stages import chain_of_known_family


def small_vit(image_size, num_classes=5):
    return models.VisionTransformer(
        image_size=image_size, patch_size=8, num_layers=1, num_heads=1, hidden_dim=4, mlp_dim=4, num_classes=num_classes
    )


@pytest.mark.parametrize(
    ("network", "other", "found"),
    [
        (small_vit(32), small_vit(32), {}),
        (small_vit(32), small_vit(64), {"image_size": 64}),
        (small_vit(32), small_vit(64, 9), {"image_size": 64, "n_classes": 9}),
        (TinyResNet(4), TinyResNet(6), {"n_classes": 6}),
        (models.squeezenet1_1(num_classes=4), models.squeezenet1_1(num_classes=6), {"n_classes": 6}),
        (models.mobilenet_v3_small(num_classes=4), models.mobilenet_v3_small(num_classes=6), {"n_classes": 6}),
    ],
)
def test_sizes_are_read_off_the_file(network, other, found):
    source = BundledSource() if isinstance(network, TinyResNet) else TorchvisionSource()
    assert _sizes_in(source, network, other.state_dict()) == found


def test_a_file_of_another_architecture_asks_for_no_size():
    assert _sizes_in(BundledSource(), TinyResNet(4), models.mobilenet_v3_small().state_dict()) == {}


def test_widths_of_a_head_are_features_and_classes():
    for layers in (
        [nn.Dropout(), nn.Linear(7, 3)],
        [nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)],
        [nn.Conv2d(7, 3, 1), nn.Flatten()],
    ):
        assert _widths(Chain(nn.Sequential(), nn.Sequential(*layers), "toy")) == (7, 3)


def test_the_chain_says_its_width_where_the_head_does_not():
    assert _widths(Chain(nn.Sequential(), None, "toy", n_features=9)) == (9, None)
    assert _widths(Chain(nn.Sequential(), nn.Linear(7, 3), "toy", n_features=9)) == (9, 3)


def test_a_head_counts_as_loaded_only_as_a_whole():
    network = TinyResNet(4)
    assert _head_is_loaded(network, network.fc, LoadReport(3, missing=("stem.0.weight",)))
    assert not _head_is_loaded(network, network.fc, LoadReport(3, missing=("fc.bias",)))
    assert not _head_is_loaded(network, network.fc, LoadReport(3, mismatched=("fc.weight: (1,) in the file",)))


def test_hidden_layers_without_weights_are_dropped():
    chain = chain_of_known_family(models.mobilenet_v3_small())
    shorter, n_features = _without_classifier(chain)
    assert [name for name, _ in shorter.stages.named_children()] == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert n_features == 576
    assert shorter.head is None
    assert pool(shorter.stages(torch.zeros(1, 3, 32, 32))).shape == (1, 576)
