"""Stages cut out of recorded networks do what the network does: in any mode, for any batch, copied, pickled."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sktl.backbones import Preprocessing, load_backbone, pool
from sktl.stages._calls import RecordingError
from sktl.stages._recording import Recorder
from sktl.stages._segments import Calls

SMALL = Preprocessing(crop_size=32)


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(n_in, n_out, 3, 2, 1), nn.BatchNorm2d(n_out), nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(F.gelu(self.norm(self.conv(x))))


class Tokens(nn.Module):
    """What is done between modules: parameters, sizes, tokens, dropout as a function, changes in place."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.class_token = nn.Parameter(torch.randn(1, 1, 24))
        self.positions = nn.Parameter(torch.randn(1, 17, 24) * 0.1)
        self.register_buffer("scale", torch.tensor(1.5))
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(24, 2, 48, batch_first=True) for _ in range(4)])
        self.norm, self.fc = nn.LayerNorm(24), nn.Linear(24, 3)

    def forward(self, x):
        x = self.patches(x)
        n_images, width, height = x.shape[0], x.shape[1], x.shape[2]
        x = x.reshape(n_images, width, height * height).mT
        x = torch.cat([self.class_token.expand(n_images, -1, -1), x], 1)
        x += self.positions
        x = F.dropout(x * self.scale, 0.2, self.training)
        for block in self.blocks:
            x = block(x)
        x[:, 1:] = 0
        return self.fc(self.norm(x)[:, 0])


class Squares(nn.Module):
    """Tokens without an order of their own, whose places a block gets as the side of their square."""

    def __init__(self):
        super().__init__()
        self.patches, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)
        self.convolutions = nn.ModuleList([nn.Conv2d(8, 8, 3, 1, 1) for _ in range(4)])

    def forward(self, x):
        x = self.patches(x)
        side = x.shape[3]
        x = x.flatten(2).mT
        for convolution in self.convolutions:
            x = x + convolution(x.mT.reshape(len(x), 8, side, side)).flatten(2).mT
        return self.fc(x.mean(1))


class Branches(nn.Module):
    """Changes the list that it is given, as high-resolution networks do."""

    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(4, 4, 3, 1, 1) for _ in range(2)])

    def forward(self, branches):
        for i, convolution in enumerate(self.convolutions):
            branches[i] = convolution(branches[i])
        return [branches[0] + branches[1], branches[0] * branches[1]]


class Exchange(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.top = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.first, self.second, self.fc = Branches(), Branches(), nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        branches = self.second(self.first([x, x + 1]))
        return self.fc(self.top(branches[0] + branches[1]).mean((2, 3)))


def convolutions():
    return nn.Sequential(
        Block(3, 8), Block(8, 12), Block(12, 16), Block(16, 20), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 3)
    )


NETWORKS = {"convolutions": convolutions, "tokens": Tokens}
ODD = {"squares": Squares, "exchange": Exchange}


def make(kind):
    torch.manual_seed(0)
    module = NETWORKS[kind]().eval()
    return module, load_backbone(module, preprocessing=SMALL)


def images(n=2, size=32):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(n))


def scores(backbone, x):
    return backbone.head(pool(backbone.stages(x), "auto", backbone.own_pooling))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("n_images", [1, 2, 5])
def test_outputs_are_the_same_bits_for_any_number_of_images(kind, n_images):
    module, backbone = make(kind)
    assert len(backbone.stages) >= 4
    with torch.no_grad():
        assert torch.equal(scores(backbone, images(n_images)), module(images(n_images)))


@pytest.mark.parametrize(("kind", "n_stages"), [("squares", 4), ("exchange", 3)])
def test_sides_of_squares_and_lists_that_modules_change_are_followed(kind, n_stages):
    torch.manual_seed(0)
    module = ODD[kind]().eval()
    backbone = load_backbone(module, preprocessing=SMALL)
    assert len(backbone.stages) >= n_stages
    with torch.no_grad():
        for n_images in (1, 5):
            torch.testing.assert_close(scores(backbone, images(n_images)), module(images(n_images)))
        torch.testing.assert_close(scores(backbone, images(2, 64)), module(images(2, 64)))


@pytest.mark.parametrize("size", [24, 33, 64])
def test_other_image_sizes_are_the_same_bits_where_the_network_takes_them(size):
    module, backbone = make("convolutions")
    with torch.no_grad():
        assert torch.equal(scores(backbone, images(2, size)), module(images(2, size)))


def test_other_image_sizes_are_refused_where_the_network_was_made_for_one():
    _, backbone = make("tokens")
    with pytest.raises(ValueError, match="image_size must be 32 for this network"):
        backbone.stages(images(2, 64))


@pytest.mark.parametrize("kind", NETWORKS)
def test_training_mode_drops_and_normalises_as_the_network(kind):
    module, backbone = make(kind)
    chain = nn.ModuleDict({"stages": copy.deepcopy(backbone.stages), "head": copy.deepcopy(backbone.head)})
    module.train()
    chain.train()
    torch.manual_seed(3)
    expected = module(images(4))
    torch.manual_seed(3)
    found = chain["head"](pool(chain["stages"](images(4)), "auto", backbone.own_pooling))
    assert torch.equal(found, expected)
    for name, buffer in module.named_buffers():
        end = name.partition(".")[2] or name
        found = [other for key, other in chain.named_buffers() if key.endswith(end) and other.shape == buffer.shape]
        assert any(torch.equal(buffer, other) for other in found), name
    torch.manual_seed(4)
    assert not torch.equal(chain["head"](pool(chain["stages"](images(4)), "auto", backbone.own_pooling)), expected)


@pytest.mark.parametrize("kind", NETWORKS)
def test_all_weights_are_there_once_and_get_gradients(kind):
    module, backbone = make(kind)
    stages = copy.deepcopy(backbone.stages).requires_grad_(True)
    head = copy.deepcopy(backbone.head).requires_grad_(True)
    head(pool(stages(images()), "auto", backbone.own_pooling)).sum().backward()
    found = [*stages.parameters(), *head.parameters()]
    assert sum(each.numel() for each in found) == sum(each.numel() for each in module.parameters())
    assert all(each.grad is not None for each in found)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda stages: pickle.loads(pickle.dumps(stages))])
def test_copies_and_pickles_give_the_same_bits_and_share_nothing(kind, duplicate):
    _, backbone = make(kind)
    again = duplicate(backbone.stages)
    with torch.no_grad():
        assert torch.equal(again(images()), backbone.stages(images()))
        for parameter in again.parameters():
            parameter.zero_()
        assert not torch.equal(again(images()), backbone.stages(images()))


def test_the_network_and_other_threads_are_left_alone():
    module = Tokens().eval()
    classes = [type(part) for part in module.modules()]
    other, errors, done = nn.Conv2d(3, 3, 3), [], threading.Event()

    def work():
        while not done.is_set():
            if type(other(torch.zeros(1, 3, 8, 8))) is not torch.Tensor:
                errors.append("watched")

    thread = threading.Thread(target=work)
    thread.start()
    load_backbone(module, preprocessing=SMALL)
    done.set()
    thread.join()
    assert not errors
    assert [type(part) for part in module.modules()] == classes
    assert type(module).__call__ is nn.Module.__call__


def places_of(function, n_images=2):
    network = nn.Conv2d(3, 4, 3)
    recording = Recorder(network, function, 16).record({""})
    return Calls(network, recording)


def test_sizes_are_told_from_constants():
    calls = places_of(lambda net, x: x.reshape(x.shape[0] * 3, 16 * 16).sum(1).reshape(len(x), 3))
    with torch.no_grad():
        stage = calls.stage(0, len(calls.of_images))
        torch.testing.assert_close(stage(images(5, 16)), images(5, 16).sum((2, 3)))


def test_a_size_that_follows_from_no_tensor_at_hand_is_refused():
    calls = places_of(lambda net, x: x[: 2 ** len(x) % 5])
    with pytest.raises(RecordingError, match="none of the sides"):
        calls.stage(0, len(calls.of_images))


def test_other_calls_for_other_numbers_of_images_are_refused():
    with pytest.raises(RecordingError, match="something else for other sizes"):
        places_of(lambda net, x: x.relu() if len(x) == 2 else x.tanh())


REFUSED = {
    "writes": (lambda net, x: torch.tanh(x, out=torch.empty_like(x)), "tanh writes into a tensor that it is given"),
    "drops": (lambda net, x: F.dropout(x, 0.5, training=True), "drops values in eval mode"),
    "keywords": (
        lambda net, x: F.leaky_relu(x, **({"inplace": False} if len(x) == 2 else {"negative_slope": 0.1})),
        "something else for other sizes",
    ),
    "length": (lambda net, x: torch.cat([x] * len(x)), "something else for other sizes"),
    "number": (lambda net, x: x * (1.5 if len(x) == 2 else 2.5), "something else for other sizes"),
}


@pytest.mark.parametrize(("run", "message"), REFUSED.values(), ids=REFUSED)
def test_calls_that_cannot_be_done_again_are_refused(run, message):
    with pytest.raises(RecordingError, match=message):
        Recorder(nn.Conv2d(3, 4, 3).eval(), run, 16).record({""})


class Final(nn.Conv2d):
    def __init_subclass__(cls):
        raise TypeError("nobody derives from it")


class Locked(nn.Conv2d):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lock = threading.Lock()


class Passing(nn.Module):
    """Hands a module over to another one."""

    def __init__(self):
        super().__init__()
        self.conv, self.caller = nn.Conv2d(3, 8, 3), Caller()

    def forward(self, x):
        return self.caller(self.conv, x)


class Caller(nn.Module):
    def forward(self, part, x):
        return part(x)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Final(3, 8, 3), "Final cannot be watched"),
        (Locked(3, 8, 3), "it cannot be copied"),
        (Passing(), "a module is passed as an argument"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_whose_calls_cannot_be_told_are_refused(module, message):
    with pytest.raises(RecordingError, match=message):
        Recorder(module, lambda network, images: network(images), 32).record({""})


def test_residual_connections_are_no_place_to_cut():
    calls = places_of(lambda net, x: (x.relu().tanh() + x).sigmoid())
    assert [call.target for call in calls.of_images] == ["relu", "tanh", "__add__", "sigmoid"] or len(
        calls.of_images
    ) == 4
    assert list(calls.places) == [0, 3, 4]


def test_what_is_made_of_parameters_alone_belongs_to_whoever_takes_it():
    def run(net, x):
        doubled = net.weight * 2
        return F.conv2d(x.relu(), doubled)

    calls = places_of(run)
    assert list(calls.places) == [0, 1, 2]
    with torch.no_grad():
        stage = calls.stage(1, 2)
        assert torch.equal(stage(images(2, 16)), F.conv2d(images(2, 16), calls.network.weight * 2))
    assert [name for name, _ in stage.named_parameters()] == ["parts.weight"]


class Rotations(nn.Module):
    """Makes rotations from nothing but the size of the images, as rotary position embeddings do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.rand(12), persistent=False)

    def forward(self, images):
        angles = torch.arange((images.shape[2] // 8) ** 2)[:, None] * self.frequencies
        return angles.cos(), angles.sin()


class Rotated(nn.Module):
    """Blocks that all take the same rotations, and a side classifier that nobody reads."""

    def __init__(self):
        super().__init__()
        self.patches, self.rotations = nn.Conv2d(3, 12, 8, 8), Rotations()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)) for _ in range(4)])
        self.unread, self.fc = nn.Linear(12, 9), nn.Linear(12, 3)

    def forward(self, x):
        cos, sin = self.rotations(x)
        x = self.patches(x).flatten(2).mT
        for block in self.blocks:
            x = x * cos + block(x.roll(1, 2) * sin)
        self.unread(x)
        return self.fc(x.mean(1))


def test_what_is_made_from_sizes_alone_does_not_cross():
    network = Rotated().eval()
    backbone = load_backbone(network, preprocessing=SMALL)
    assert len(backbone.stage_names) >= 4
    images = torch.rand(3, 3, 32, 32)
    features = pool(backbone.stages(images), "auto", backbone.own_pooling)
    torch.testing.assert_close(network.fc(features), network(images))


def test_what_nobody_reads_is_left_out():
    stages = load_backbone(Rotated(), preprocessing=SMALL).stages
    assert not any("unread" in name for name, _ in stages.named_parameters())


class Constant(nn.Module):
    """Adds a tensor of its own, which is no buffer and follows the size of the images."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 3)
        self.made = {}

    def forward(self, x):
        side = x.shape[2]
        if side not in self.made:
            with torch.inference_mode(False):
                self.made[side] = torch.from_numpy(np.full((side, side), side / 32, dtype=np.float32))
        return self.fc(self.conv(x + self.made[side]).mean((2, 3)))


class Array(nn.Module):
    """Makes an array of numpy in every call."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 3)

    def forward(self, x):
        scale = torch.as_tensor(np.linspace(1, 2, 8, dtype=np.float32))
        return self.fc((self.conv(x) * scale[:, None, None]).mean((2, 3)))


def test_arrays_among_the_arguments_are_compared():
    torch.manual_seed(0)
    module, x = Array().eval(), images()
    with torch.no_grad():
        torch.testing.assert_close(scores(load_backbone(module, preprocessing=SMALL), x), module(x))


def test_constants_that_follow_the_size_are_recorded_for_one_size():
    recording = Recorder(Constant().eval(), lambda network, images: network(images), 32).record({""})
    assert not recording.follows_image_size
