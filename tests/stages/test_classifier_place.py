"""What a network hands to its last layer are its features, however the last layer is written."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from sktl.backbones import Preprocessing, load_backbone, pool

SMALL = Preprocessing(crop_size=32)
N_CLASSES = 5


class Head(nn.Module):
    def __init__(self, n_features=16):
        super().__init__()
        self.pool, self.drop, self.fc = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2), nn.Linear(n_features, N_CLASSES)

    def forward(self, maps):
        return self.fc(self.drop(self.pool(maps).flatten(1)))


class CosineHead(nn.Module):
    """No layer of torch, and its weights are normalised on their way."""

    def __init__(self):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(N_CLASSES, 16)), nn.Parameter(torch.tensor(10.0))

    def forward(self, maps):
        return self.scale * F.linear(F.normalize(maps.mean((2, 3))), F.normalize(self.weight))


class ConvHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, N_CLASSES, 1)

    def forward(self, maps):
        return F.adaptive_avg_pool2d(self.conv(maps).relu(), 1).flatten(1)


class Affine(nn.Module):
    """A bias and a scale of each class of their own, as calibration adds them."""

    def __init__(self):
        super().__init__()
        self.bias, self.scale = nn.Parameter(torch.randn(N_CLASSES)), nn.Parameter(torch.rand(N_CLASSES) + 0.5)

    def forward(self, scores):
        return (scores + self.bias) * self.scale


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(16, N_CLASSES)), nn.Parameter(torch.randn(N_CLASSES))

    def forward(self, maps):
        return maps.mean((2, 3)) @ self.weight + self.bias


class WeightedHeads(nn.Module):
    """Scores of several layers, each with a share that was learnt."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.shares = Head(), Head(), nn.Parameter(torch.zeros(2))

    def forward(self, maps):
        shares = self.shares.softmax(0)
        return self.one(maps) * shares[0] + self.other(maps) * shares[1]


class TokenHeads(nn.Module):
    """Scores of a token for itself, and the best of all the others."""

    def __init__(self):
        super().__init__()
        self.one, self.others = nn.Linear(16, N_CLASSES), nn.Linear(16, N_CLASSES)

    def forward(self, maps):
        tokens = maps.flatten(2).transpose(1, 2)
        return self.one(tokens[:, 0]) + 0.5 * self.others(tokens[:, 1:]).max(1)[0]


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = Head(), Head()

    def forward(self, maps):
        return (self.one(maps) + self.other(maps)) / 2


class Scores(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.head, self.function = Head(), function

    def forward(self, maps):
        return self.function(self.head(maps))


def _softmax(scores):
    return scores.softmax(1)


class Net(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        )
        self.head = head

    def forward(self, images):
        return self.head(self.features(images))


class Wrapped(nn.Module):
    """As Lightning keeps a network, beside what it trains with."""

    def __init__(self, net):
        super().__init__()
        self.criterion, self.model = nn.CrossEntropyLoss(), net

    def forward(self, images):
        return self.model(images)


HEADS = {
    "pool, dropout and linear": Head,
    "cosine": CosineHead,
    "convolution": ConvHead,
    "calibrated": lambda: nn.Sequential(Head(), Affine()),
    "product with a bias": Product,
    "softmax": lambda: Scores(_softmax),
    "log-softmax": lambda: Scores(nn.LogSoftmax(1)),
    "sigmoid": lambda: Scores(torch.sigmoid),
    "hidden layer": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, N_CLASSES)
    ),
}


def images(n=3, size=32):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def features_of(backbone, size=32):
    with torch.no_grad():
        return pool(backbone.stages(images(size=size)), "auto", backbone.own_pooling)


@pytest.mark.parametrize("wrap", [nn.Identity, Wrapped], ids=["plain", "wrapped"])
@pytest.mark.parametrize("kind", HEADS)
def test_features_are_what_the_last_layer_is_handed(kind, wrap):
    torch.manual_seed(0)
    net = Net(HEADS[kind]()).eval()
    module = net if wrap is nn.Identity else wrap(net).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    expected = net.features(images()).mean((2, 3)).detach()
    if kind == "hidden layer":
        expected = net.head[:-1](net.features(images())).detach()
    if kind == "cosine":
        expected = F.normalize(expected)
    features = features_of(backbone)
    torch.testing.assert_close(features, expected)
    given = backbone.stages(images()) if kind == "convolution" else features
    torch.testing.assert_close(backbone.head(given), module(images()))


BODIES = {
    "norm at the end": lambda: nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 9), nn.BatchNorm1d(9)
    ),
    "activation at the end": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 9), nn.Tanh()),
    "maps": lambda: nn.Identity(),
    "pooled maps": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_network_without_classifier_gives_its_own_output(kind):
    torch.manual_seed(0)
    module = Net(BODIES[kind]()).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    assert backbone.head is None
    output = module(images()).detach()
    torch.testing.assert_close(features_of(backbone), output if output.ndim == 2 else output.mean((2, 3)))


@pytest.mark.parametrize("head", [TwoHeads, WeightedHeads, TokenHeads])
def test_scores_that_several_layers_give_are_never_taken_for_features(head):
    with pytest.raises(ValueError, match=r"must be told from its class scores.*several layers.*Pass stages="):
        load_backbone(Net(head()), preprocessing=SMALL)


def test_a_network_may_make_the_channels_of_its_first_convolution_itself():
    torch.manual_seed(0)
    unshuffle = nn.PixelUnshuffle(4)
    module = nn.Sequential(
        unshuffle, nn.Conv2d(48, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    torch.testing.assert_close(backbone.head(features_of(backbone)), module(images()))


@pytest.mark.parametrize("make", [lambda: nn.ReLU(), lambda: nn.ReLU6(inplace=True), lambda: nn.Dropout2d(0.5)])
def test_one_object_may_be_used_several_times(make):
    torch.manual_seed(0)
    shared = make()
    module = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), shared, nn.Conv2d(8, 8, 3), shared),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, N_CLASSES)),
    ).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    torch.testing.assert_close(backbone.head(features_of(backbone)), module(images()))
    assert len(backbone.stage_names) == 2


def test_weights_that_are_used_twice_stay_in_one_stage():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
            self.top, self.fc = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, N_CLASSES)

        def forward(self, x):
            x = self.block(self.block(self.stem(x)).relu()).relu()
            return self.fc(self.top(x).mean((2, 3)))

    module = Tied().eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    owners = [{id(each) for each in stage.parameters()} for stage in backbone.stages]
    assert sum(map(len, owners)) == len(set.union(*owners))
    torch.testing.assert_close(backbone.head(features_of(backbone)), module(images()))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_a_copy_of_a_class_of_torchvision_is_read_as_the_original(name):
    torch.manual_seed(0)
    module = models.get_model(name, weights=None, num_classes=N_CLASSES).eval()
    original = load_backbone(module, preprocessing=Preprocessing(crop_size=64))

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = module

        def forward(self, x):
            return self.net(x)

    found = load_backbone(Other().eval(), preprocessing=Preprocessing(crop_size=64))
    torch.testing.assert_close(features_of(found, 64), features_of(original, 64))
    assert len(found.stage_names) >= 4


def test_grey_networks_see_the_luminance():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    luminance = (images() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(backbone.head(features_of(backbone)), module(luminance))


def test_other_numbers_of_channels_are_refused_by_number():
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(ValueError, match=r"must take images of 1 or 3 channels\. Its first convolution takes 4"):
        load_backbone(module, preprocessing=SMALL)


def test_a_network_that_cannot_be_cut_is_one_stage_and_says_so():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
            self.fc = nn.Linear(16, N_CLASSES)

        def forward(self, x):
            return self.fc(torch.cat([self.one(x), self.other(x)], 1).mean((2, 3)))

    module = Branches().eval()
    with pytest.warns(UserWarning, match="one whole stage.*unfreeze_depth is 0 or 'all'.*Pass stages="):
        backbone = load_backbone(module, preprocessing=SMALL)
    assert len(backbone.stages) == 1
    torch.testing.assert_close(backbone.head(features_of(backbone)), module(images()))
