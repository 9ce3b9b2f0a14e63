import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision import models

from sktl.backbones import Preprocessing, load_backbone, pool
from sktl.exceptions import WeightsError

SMALL = Preprocessing(crop_size=32)


class Plain(nn.Module):
    """Children in the order of their use, and what is no module done by functions."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.maps(x).mean((2, 3)))

    def maps(self, x):
        return self.conv2(self.relu1(self.norm1(self.conv1(x))))


class Flattening(Plain):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6 * 16 * 16, 4)

    def forward(self, x):
        return self.fc(self.maps(x).flatten(1))


class HiddenActivation(Plain):
    """An activation that no child tells of."""

    def forward(self, x):
        return self.fc(torch.tanh(self.maps(x)).mean((2, 3)))


class OutOfOrder(Plain):
    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return super().forward(self.conv0(x))


class Tokens(nn.Module):
    """Patches as tokens, the mean or the first of which goes to the head."""

    def __init__(self, take):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.Flatten(2))
        self.body = nn.Linear(16, 16)
        self.swap = Swap()
        self.head = nn.Linear(8, 3)
        self.take = take

    def forward(self, x):
        return self.head(self.take(self.swap(self.body(self.stem(x)))))


class Swap(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


def images(size=32):
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(5))


def assert_reproduces(backbone, module):
    """The record's features through its head are the module's own answer."""
    features = pool(backbone.stages(images()), "auto", backbone.own_pooling)
    assert features.shape[1] == backbone.n_features
    torch.testing.assert_close(backbone.head(features), module(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [Plain, Flattening])
def test_top_level_children_become_the_stages(make):
    module = make().eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    assert backbone.stage_names == ("stem", "conv2")
    assert isinstance(backbone.head, nn.Linear)
    assert backbone.family == "module"
    assert backbone.name == make.__name__
    with torch.no_grad():
        assert_reproduces(backbone, module)


@pytest.mark.parametrize(
    ("take", "own_pooling"), [(lambda x: x.mean(1), "avg"), (lambda x: x[:, 0], "token")], ids=["mean", "first"]
)
def test_tokens_are_pooled_as_the_network_does(take, own_pooling):
    module = Tokens(take).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    assert backbone.own_pooling == own_pooling
    with torch.no_grad():
        assert_reproduces(backbone, module)


def test_a_sequential_gets_numbered_stages():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    ).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    assert backbone.stage_names == ("stem", "stage1")
    with torch.no_grad():
        assert_reproduces(backbone, module)


def test_a_head_that_starts_from_zero_does_not_hide_what_it_is_handed():
    module = HiddenActivation().eval()
    features = torch.tanh(module.maps(images())).mean((2, 3))
    nn.init.zeros_(module.fc.weight)
    nn.init.zeros_(module.fc.bias)
    backbone = load_backbone(module, preprocessing=SMALL)
    torch.testing.assert_close(pool(backbone.stages(images())), features.detach())


@pytest.mark.parametrize("make", [HiddenActivation, OutOfOrder])
def test_what_is_no_child_or_out_of_order_is_part_of_the_stages(make):
    module = make().eval()
    with torch.no_grad():
        assert_reproduces(load_backbone(module, preprocessing=SMALL), module)


def test_a_network_without_a_linear_head_is_all_stages():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    assert backbone.head is None
    assert backbone.n_features == 5
    assert torch.equal(backbone.stages(images()), module(images()))


def test_networks_of_torchvision_get_the_chain_of_their_family():
    module = models.resnet18(num_classes=7)
    module.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 7))
    backbone = load_backbone(module, preprocessing=Preprocessing(crop_size=64))
    assert backbone.stage_names == ("stem", "layer1", "layer2", "layer3", "layer4")
    assert backbone.family == "resnet"
    assert backbone.head[1].out_features == 7


def test_a_changed_network_of_torchvision_keeps_its_own_pooling():
    module = models.resnet18(num_classes=7).eval()
    module.avgpool = nn.AdaptiveMaxPool2d(1)
    with torch.no_grad():
        assert_reproduces(load_backbone(module, preprocessing=Preprocessing(crop_size=64)), module)


def test_a_wrapped_network_is_unwrapped():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = models.resnet18(num_classes=3)

        def forward(self, x):
            return self.network(x)

    backbone = load_backbone(Wrapper(), preprocessing=Preprocessing(crop_size=64))
    assert backbone.stage_names == ("stem", "layer1", "layer2", "layer3", "layer4_0", "layer4_1")


def test_the_module_is_copied_and_left_as_it_is():
    module = Plain().train()
    module.conv1.weight.requires_grad_(True)
    before = copy.deepcopy(module.state_dict())
    backbone = load_backbone(module, preprocessing=SMALL)
    assert module.training
    assert module.conv1.weight.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.stages.parameters())
    assert not any(part.training for part in (*backbone.stages.modules(), *backbone.head.modules()))
    with torch.no_grad():
        module.conv1.weight.zero_()
    assert next(backbone.stages.stem.parameters()).abs().max() > 0


def test_half_precision_is_computed_in_float32():
    backbone = load_backbone(Plain().half(), preprocessing=SMALL)
    assert {each.dtype for each in backbone.stages.parameters()} == {torch.float32}


@pytest.mark.parametrize("by_name", [True, False])
def test_own_stages_by_name_or_module(by_name):
    module = HiddenActivation().eval()
    conv2 = "conv2" if by_name else module.conv2
    stages = [("stem", ["conv1", "norm1", nn.ReLU()]), ("top", [conv2, nn.Tanh()])]
    backbone = load_backbone(module, stages=stages, preprocessing=SMALL)
    assert backbone.stage_names == ("stem", "top")
    with torch.no_grad():
        assert_reproduces(backbone, module)


class Maximum(Plain):
    def forward(self, x):
        return self.fc(self.maps(x).amax((2, 3)))


class DropoutInHead(Plain):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Dropout(), nn.Linear(6, 4), nn.Softplus())


class WithoutHead(Plain):
    def forward(self, x):
        return self.maps(x).mean((2, 3))


@pytest.mark.parametrize("make", [Plain, Flattening, Maximum, DropoutInHead])
def test_own_stages_are_followed_by_what_leads_to_the_head(make):
    torch.manual_seed(0)
    module = make().eval()
    stages = [("stem", [module.conv1, module.norm1, nn.ReLU()]), ("top", [module.conv2, nn.Identity()])]
    backbone = load_backbone(module, stages=stages, preprocessing=SMALL)
    assert backbone.stage_names == ("stem", "top")
    with torch.no_grad():
        assert_reproduces(backbone, module)


@pytest.mark.parametrize(
    ("take", "own_pooling"), [(lambda x: x.mean(1), "avg"), (lambda x: x[:, 0], "token")], ids=["mean", "first"]
)
def test_own_stages_of_tokens_are_pooled_as_the_network_does(take, own_pooling):
    module = Tokens(take).eval()
    stages = [("stem", [module.stem]), ("top", [module.body, nn.Identity(), module.swap])]
    backbone = load_backbone(module, stages=stages, preprocessing=SMALL)
    assert backbone.own_pooling == own_pooling
    with torch.no_grad():
        assert_reproduces(backbone, module)


def test_own_stages_of_a_network_without_a_head_give_its_output():
    module = WithoutHead().eval()
    del module.fc
    backbone = load_backbone(
        module, stages=[("stem", [module.conv1, module.norm1, nn.ReLU()]), ("top", [module.conv2])], preprocessing=SMALL
    )
    assert backbone.head is None
    with torch.no_grad():
        torch.testing.assert_close(pool(backbone.stages(images())), module(images()))


def test_own_stages_by_dotted_names():
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)), nn.Flatten(), nn.Linear(3920, 2))
    backbone = load_backbone(module, stages=["0.0", "0.1", ("flat", "1")], preprocessing=SMALL)
    assert backbone.stage_names == ("0_0", "0_1", "flat")
    assert backbone.head.out_features == 2


def test_own_stages_end_where_the_named_parts_end():
    torch.manual_seed(0)
    transformer = models.VisionTransformer(32, 8, 4, 2, 24, 48, num_classes=3).eval()
    module = nn.Sequential(OrderedDict(vit=transformer))
    layers = [f"vit.encoder.layers.encoder_layer_{i}" for i in (0, 2)]
    backbone = load_backbone(module, stages=[("low", layers[0]), *layers[1:], "vit.encoder.ln"], preprocessing=SMALL)
    assert backbone.stage_names == ("low", "vit_encoder_layers_encoder_layer_2", "vit_encoder_ln")
    assert backbone.own_pooling == "token"
    with torch.no_grad():
        assert_reproduces(backbone, module)


def test_own_stages_by_name_leave_out_no_activation():
    module = HiddenActivation().eval()
    backbone = load_backbone(module, stages=[("stem", ["conv1", "norm1", "relu1"]), "conv2"], preprocessing=SMALL)
    with torch.no_grad():
        assert_reproduces(backbone, module)


def test_own_stages_may_stop_early():
    backbone = load_backbone(HiddenActivation(), stages=["conv1"], preprocessing=SMALL)
    assert backbone.head is None
    assert backbone.n_features == 8


def test_own_stages_that_forget_an_activation_are_warned_about():
    stages = [("stem", ["conv1", "norm1", nn.ReLU()]), "conv2"]
    with pytest.warns(UserWarning, match="an activation may be missing"):
        backbone = load_backbone(HiddenActivation(), stages=stages, preprocessing=SMALL)
    assert backbone.head is None


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["conv3"], "must name parts of the network. Got 'conv3' instead. Did you mean 'conv"),
        ([("a", nn.Linear(2, 2))], "must be made of the network's own modules.* Got Linear"),
        (["conv1", "conv1"], "different names"),
        ([], "at least one stage"),
        ([nn.ReLU()], "must be a name, or a pair"),
        (["conv2", "conv1"], "must run one after the other"),
    ],
)
def test_wrong_stages_are_named(stages, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(Plain(), stages=stages, preprocessing=SMALL)


def test_a_network_that_does_not_run_names_the_image_size():
    with pytest.raises(ValueError, match=r"shape \(n_images, 3, 224, 224\).*preprocessing=Preprocessing\(crop_size"):
        load_backbone(Flattening())


def test_a_network_that_returns_no_tensor_is_refused():
    class Pair(Plain):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ValueError, match=r"must return one tensor in eval mode\. Got tuple"):
        load_backbone(Pair(), preprocessing=SMALL)


def test_random_weights_of_a_module_follow_the_seed():
    module = Plain()
    first, again, other = (
        load_backbone(module, None, preprocessing=SMALL, random_state=seed).digest for seed in (0, 0, 1)
    )
    assert first == again
    assert len({first, other, load_backbone(module, preprocessing=SMALL).digest}) == 3


def test_random_weights_need_modules_that_can_draw_them():
    class Scaled(Plain):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return super().forward(x * self.scale)

    with pytest.raises(ValueError, match="'Scaled' of Scaled cannot: pass a function"):
        load_backbone(Scaled(), None, preprocessing=SMALL)


class ScaledConv(nn.Conv2d):
    """Draws what a convolution has, and forgets its own parameter."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.gamma = nn.Parameter(torch.full((1,), 123.0))

    def forward(self, x):
        return self.gamma * super().forward(x)


class DampedConv(nn.Conv2d):
    """Makes its new weights from the old ones."""

    def reset_parameters(self):
        with torch.no_grad():
            self.weight.mul_(0.5)
            self.bias.zero_()


@pytest.mark.parametrize(("layer", "kept"), [(ScaledConv, "0.gamma"), (DampedConv, "0.weight")])
def test_a_parameter_that_no_drawing_sets_is_named_rather_than_kept(layer, kept):
    module = nn.Sequential(layer(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[0].weight.fill_(1.0)
    with pytest.raises(ValueError, match=f"That of {layer.__name__} leaves '{kept}' of Sequential as it was"):
        load_backbone(module, None, preprocessing=SMALL)
    assert not any(parameter.isnan().any() for parameter in module.parameters())


def test_constants_that_the_drawing_writes_count_as_drawn():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    twin = load_backbone(module, None, preprocessing=SMALL)
    values = {key.rpartition(".")[2]: value for key, value in twin.stages[0][1].state_dict().items()}
    assert values["weight"].tolist() == [1.0] * 4
    assert values["bias"].tolist() == [0.0] * 4


def test_a_network_whose_names_begin_like_a_wrapper_loads_its_own_weights(tmp_path):
    for name in ("model", "module"):
        torch.manual_seed(0)
        network = nn.Sequential(OrderedDict({name: Plain()}))
        torch.save(network.state_dict(), tmp_path / "own.pth")
        loaded = load_backbone(network, tmp_path / "own.pth", preprocessing=SMALL)
        assert loaded.digest == load_backbone(network, preprocessing=SMALL).digest


def test_a_head_of_nan_is_refused_by_name():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[4].bias[0] = torch.nan
    with pytest.raises(WeightsError, match=r"NaN or infinity in 1 tensors of Sequential \('4.bias'\)"):
        load_backbone(module, preprocessing=SMALL)


def test_layers_without_tensors_count_in_the_digest():
    def network(places):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(places))

    one, other, again = (load_backbone(network(places)) for places in (1, 2, 1))
    assert one.digest == again.digest
    assert one.digest != other.digest
