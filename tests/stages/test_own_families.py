"""Networks of all kinds, passed as modules of the user's own: their features are right, or it is an error."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from sktl.backbones import Preprocessing, load_backbone, pool

TABLE = Path(__file__).parents[2] / "docs" / "user_guide" / "timm.md"
QUICK = ["test_resnet", "test_vit"]
DOCUMENTED = re.findall(r"^\| (\w+) \| [\d.]+ M", TABLE.read_text("utf-8"), re.MULTILINE)
OTHERS = [name for name in ("test_convnext", "test_efficientnet", *DOCUMENTED) if name not in QUICK]
# Two classifiers give their scores together: what stands before them is nobody's to tell.
TOGETHER = [
    *("deit_tiny_distilled_patch16_224", "levit_128s", "efficientformer_l1", "efficientformerv2_s0", "volo_d1_224"),
    *("crossvit_tiny_240", "pit_ti_distilled_224", "repvit_m1", "swiftformer_xs", "efficientvim_m1"),
]
TORCHVISION = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "maxvit_t", "mnasnet0_5"),
    *("mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"),
    *("swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32", "inception_v3"),
]


class Wrapped(nn.Module):
    """Hides where a network comes from."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)


def features(backbone, images):
    with torch.no_grad():
        return pool(backbone.stages(images), "auto", backbone.own_pooling)


def check_timm(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=7).eval()
    size = network.pretrained_cfg["input_size"][1]
    preprocessing = Preprocessing(crop_size=size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of networks that are one whole stage
        if name in TOGETHER:
            with pytest.raises(ValueError, match=r"must be told from its class scores.*several layers"):
                load_backbone(Wrapped(network), preprocessing=preprocessing)
            return
        backbone = load_backbone(Wrapped(network), preprocessing=preprocessing)
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(images), pre_logits=True)
    found = features(backbone, images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", QUICK)
def test_features_of_hidden_networks_of_timm_are_timms_own(name):
    check_timm(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_features_of_all_hidden_families_of_timm_are_timms_own(name):
    check_timm(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_features_of_hidden_families_of_torchvision_are_those_of_their_chains(name):
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, num_classes=7, **options).eval()
    size = {"maxvit_t": 224, "vit_b_32": 224, "inception_v3": 96}.get(name, 64)
    preprocessing = Preprocessing(crop_size=size)
    images = torch.rand(2, 3, size, size)
    found, expected = (load_backbone(each, preprocessing=preprocessing) for each in (Wrapped(network), network))
    found, expected = features(found, images), features(expected, images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
