"""Networks whose forward functions do more than call modules: read rightly, or refused by what they do."""

import copy
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sktl.backbones import Preprocessing, load_backbone, pool

SMALL = Preprocessing(crop_size=32)
N_CLASSES = 5
State = namedtuple("State", "maps mask")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        )
        self.fc = nn.Linear(16, N_CLASSES)

    def features(self, x):
        return self.body(x).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


class Slices(Net):
    def features(self, x):
        return self.body[3:](self.body[:3](x)).mean((2, 3))


class Checkpointed(Net):
    def features(self, x):
        return self.body[3:](checkpoint(self.body[:3], x, use_reentrant=False)).mean((2, 3))


class Named(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, state):
        return State(self.layer(state.maps).relu(), state.mask)


class NamedTuples(Net):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Named(nn.Conv2d(3, 8, 3, 2, 1)), Named(nn.Conv2d(8, 16, 3, 2, 1)))

    def features(self, x):
        state = State(x, None)
        for block in self.body:
            state = block(state)
        return state.maps.mean((2, 3))


class AsTheWeights(Net):
    def features(self, x):
        return self.body(x.type_as(self.fc.weight).to(self.fc.weight)).mean((2, 3))


class ChangesImages(Net):
    def features(self, x):
        x -= 0.1
        return self.body(x).mean((2, 3))


class ChecksImages(Net):
    def features(self, x):
        if torch.isnan(x).any() or not torch.isfinite(x).all():
            raise ValueError("not a number")
        return self.body(x).mean((2, 3))


class AttentionFirst(Net):
    """Its first convolution in the list is not the first that runs."""

    def __init__(self):
        super().__init__()
        body, fc = self.body, self.fc
        del self.body, self.fc
        self.attention, self.body, self.fc = nn.Conv2d(2, 1, 3, padding=1), body, fc

    def features(self, x):
        maps = self.body(x)
        summary = torch.cat([maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)], 1)
        return (maps * self.attention(summary).sigmoid()).mean((2, 3))


class MethodNames(Net):
    def __init__(self):
        super().__init__()
        body = self.body
        del self.body
        self.stem, self.extend, self.pop = body[:3], body[3:], nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU())

    def features(self, x):
        return self.pop(self.extend(self.stem(x))).mean((2, 3))


class Temperature(Net):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.full((1, 1), 2.0))

    def forward(self, x):
        return super().forward(x) / self.temperature


class Prior(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("prior", torch.randn(1, N_CLASSES))

    def forward(self, x):
        return super().forward(x) - self.prior


class Evidence(Net):
    def forward(self, x):
        return F.softplus(super().forward(x))


class PointwiseWithoutFlatten(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(16, N_CLASSES, 1)

    def forward(self, x):
        return self.fc(self.features(x)[:, :, None, None])


class KernelOfTheWholeMap(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(16, N_CLASSES, 8)

    def forward(self, x):
        return self.fc(self.body(x)).flatten(1)


READ = [
    *(Slices, Checkpointed, NamedTuples, AsTheWeights, ChangesImages, ChecksImages, AttentionFirst, MethodNames),
    *(Temperature, Prior, Evidence, PointwiseWithoutFlatten, KernelOfTheWholeMap),
]


def images(n=3, size=32):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def features_of(backbone, x):
    with torch.no_grad():
        return pool(backbone.stages(x), "auto", backbone.own_pooling)


@pytest.mark.parametrize("n_images", [1, 3])
@pytest.mark.parametrize("kind", READ)
def test_features_are_those_before_the_last_layer(kind, n_images):
    torch.manual_seed(0)
    module = kind().eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    expected = module.features(images(n_images)).detach()
    torch.testing.assert_close(features_of(backbone, images(n_images)), expected)


def test_a_stage_leaves_what_it_is_given_as_it_is():
    module = ChangesImages().eval()
    given = images()
    features_of(load_backbone(module, preprocessing=SMALL), given)
    assert torch.equal(given, images())


class Threshold(Net):
    def features(self, x):
        return self.body(x / 255 if x.max() > 1 else x).mean((2, 3))


class Hidden(Net):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Conv2d(16, 16, 1)]

    def features(self, x):
        return self.layers[0](self.body(x)).relu().mean((2, 3))


class ConvolutionalScores(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(16, N_CLASSES, 3, padding=1)

    def forward(self, x):
        return self.fc(self.body(x)).mean((2, 3))


class Noisy(Net):
    def features(self, x):
        features = super().features(x)
        return features + torch.randn(features.shape)


class Itself(nn.Conv2d):
    def __deepcopy__(self, memo):
        return self


class NotCopied(Net):
    def __init__(self):
        super().__init__()
        self.body[0] = Itself(3, 8, 3, 2, 1)


class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.fc = nn.LazyLinear(N_CLASSES)


REFUSED = {
    Threshold: "reads numbers off its images",
    Hidden: "weights that belong to none of its modules",
    ConvolutionalScores: "a convolution, may give scores or features",
    Noisy: "the same output each time",
    NotCopied: "copy.deepcopy copies.*the same object",
    Lazy: "run it once first",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_told_is_refused_by_what_the_network_does(kind):
    torch.manual_seed(0)
    module = kind().eval()
    classes = [type(part) for part in module.modules()]
    with pytest.raises(ValueError, match=REFUSED[kind]):
        load_backbone(module, preprocessing=SMALL)
    assert classes == [type(part) for part in module.modules()]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_what_a_training_has_left_in_modules_does_not_hinder_copies():
    class Kept(Net):
        def features(self, x):
            self.last = super().features(x)
            return self.last

    module = Kept()
    module.body[0] = nn.utils.weight_norm(module.body[0])
    module(images()).sum().backward()
    module.eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    torch.testing.assert_close(features_of(backbone, images()), module.features(images()).detach())
    assert module.last.requires_grad


@pytest.mark.parametrize("function", [F.dropout1d, F.dropout3d, F.feature_alpha_dropout])
def test_every_function_of_dropout_follows_the_mode(function):
    class Dropping(Net):
        def features(self, x):
            maps = self.body[:3](x)
            shape = (len(x), 8, -1) if function is F.dropout1d else (len(x), 8, 1, *maps.shape[2:])
            dropped = function(maps.reshape(shape), 0.5, training=self.training).reshape(maps.shape)
            return self.body[3:](dropped).mean((2, 3))

    torch.manual_seed(0)
    module = Dropping().eval()
    stages = copy.deepcopy(load_backbone(module, preprocessing=SMALL).stages).train()
    module.train()
    torch.manual_seed(1)
    expected = module.features(images())
    torch.manual_seed(1)
    torch.testing.assert_close(pool(stages(images())), expected.detach())


class Padded(Net):
    def forward(self, x):
        height = x.shape[2]
        return super().forward(nn.functional.pad(x, (0, 0, 0, (8 - height % 8) % 8)))


class Windows(Net):
    def forward(self, x):
        size = -(-x.shape[3] // 8)
        return super().forward(nn.functional.interpolate(x, size=(4 * size, 4 * size)))


@pytest.mark.parametrize("kind", [Padded, Windows])
@pytest.mark.parametrize("size", [32, 33, 45, 64, 96])
def test_what_is_rounded_at_other_image_sizes_is_right_or_refused(kind, size):
    torch.manual_seed(0)
    module = kind().eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        try:
            found = backbone.head(pool(backbone.stages(images), "auto", backbone.own_pooling))
        except ValueError as error:
            found = None
            message = str(error)
        if found is None:
            assert "image_size must be 32 for this network" in message
        else:
            torch.testing.assert_close(found, module(images))


class NoisyInTraining(Net):
    def forward(self, x):
        if self.training:
            x = x + torch.randn_like(x)
        return super().forward(x)


class DroppedInTraining(Net):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


def test_what_only_a_training_does_outside_of_modules_is_told():
    with pytest.warns(UserWarning, match="NoisyInTraining does something else in training mode.*a module of its own"):
        load_backbone(NoisyInTraining(), preprocessing=SMALL)
    load_backbone(DroppedInTraining(), preprocessing=SMALL)
