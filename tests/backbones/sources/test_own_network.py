import pytest
import torch
from torchvision import models

from sktl.backbones import Preprocessing, load_backbone
from sktl.exceptions import WeightsError


def test_auxiliary_heads_of_a_module_may_hold_anything():
    network = models.googlenet(num_classes=3, init_weights=False, aux_logits=True)
    small = Preprocessing(crop_size=64)
    with torch.no_grad():
        network.aux1.fc1.weight.fill_(torch.nan)
        assert load_backbone(network, preprocessing=small).n_features == 1024
        network.conv1.conv.weight[0] = torch.nan
    with pytest.raises(WeightsError, match=r"in 1 tensors of GoogLeNet \('conv1.conv.weight'\)"):
        load_backbone(network, preprocessing=small)
