"""Fast copies of stages compute what the stages compute, and stay away where they cannot."""

import copy

import pytest
import torch
from torch import nn

from sktl.backbones import load_backbone
from sktl.inference._folding import TOLERANCE, FastChain, pooled_outputs


class Shared(nn.Module):
    """The output of its convolution goes to the batch norm and past it."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        maps = self.convolution(images)
        return self.norm(maps) + maps


class Twice(Shared):
    """Its convolution runs twice, once without the batch norm."""

    def forward(self, images):
        return self.norm(self.convolution(images)) + self.convolution(-images)


class Views(Shared):
    """Insists on torch's usual layout."""

    def forward(self, images):
        return self.norm(self.convolution(images.view(-1).view(images.shape))).relu()


class Fails(nn.Module):
    def forward(self, images):
        raise ArithmeticError("no")


def lively(module):
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.1)
    return module.eval().requires_grad_(False)


def n_norms(modules):
    return sum(isinstance(part, nn.BatchNorm2d) for module in modules for part in module.modules())


def run(stages, images):
    with torch.inference_mode():
        for stage in stages:
            images = stage(images)
    return images


@pytest.mark.parametrize(("name", "left"), [("resnet18", 0), ("mobilenet_v2", 0), ("densenet121", 62)])
def test_every_norm_behind_a_convolution_is_folded(name, left):
    stages = lively(copy.deepcopy(load_backbone(name, weights=None).stages))
    fast = FastChain(stages, 32, fold=True).below(len(stages))
    assert n_norms(fast) == left
    images = torch.rand(4, 3, 64, 64)
    expected = run(stages, images)
    found = run(fast, images.contiguous(memory_format=torch.channels_last))
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_the_chain_itself_is_not_changed_and_shares_what_need_not_differ():
    stages = lively(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Flatten(), nn.Linear(4, 2)))
    before = copy.deepcopy(stages.state_dict())
    fast = FastChain(stages, 3, fold=True).below(3)
    assert all(torch.equal(tensor, before[key]) for key, tensor in stages.state_dict().items())
    assert stages[0][0].weight.is_contiguous()
    assert fast[2] is stages[2]
    assert fast[0][0].weight is not stages[0][0].weight


@pytest.mark.parametrize("kind", [Shared, Twice])
def test_a_norm_that_is_not_the_only_user_is_left_in_place(kind):
    stages = lively(nn.Sequential(kind()))
    fast = FastChain(stages, 8, fold=True).below(1)
    assert n_norms(fast) == 1
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(run(fast, images), run(stages, images))


def test_without_folding_norms_stay():
    stages = lively(copy.deepcopy(load_backbone("resnet18", weights=None).stages))
    assert n_norms(FastChain(stages, 32, fold=False).below(2)) == n_norms(stages[:2])


def test_a_stage_that_takes_one_layout_only_gets_it():
    stages = lively(nn.Sequential(Views()))
    fast = FastChain(stages, 8, fold=True).below(1)
    images = torch.rand(2, 3, 8, 8)
    expected = run(stages, images)
    assert torch.equal(run(fast, images.contiguous(memory_format=torch.channels_last)), expected)


def test_stages_are_made_no_further_up_than_asked_for_and_a_failing_one_fails_when_it_is_run():
    stages = nn.Sequential(nn.ReLU(), Fails(), nn.ReLU())
    chain = FastChain(stages, 8, fold=True)
    assert len(chain.below(1)) == 1
    fast = chain.below(3)
    assert fast[1] is stages[1]
    with pytest.raises(ArithmeticError):
        run(fast, torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize("activation", [nn.SiLU, nn.Sigmoid, nn.GELU, nn.Softplus, nn.Mish])
def test_an_activation_rounds_every_row_alike(activation):
    (fast,) = FastChain(nn.Sequential(activation()), 4, fold=True).below(1)
    for width in (1, 5, 10, 28):
        vectors = torch.randn(4, width, 1, 1, generator=torch.Generator().manual_seed(0)) * 3
        found = run([fast], vectors)
        for shift in (1, 2, 3):
            assert torch.equal(run([fast], vectors.roll(shift, 0)), found.roll(shift, 0))
        torch.testing.assert_close(found, activation()(vectors))


def test_a_vector_is_not_overwritten_by_the_next_stage():
    images = torch.randn(2, 3, 4, 4)
    found = pooled_outputs([nn.Flatten(), nn.ReLU(inplace=True)], images.clone(), (2, 1), "auto", "avg")
    torch.testing.assert_close(found, torch.cat([images.flatten(1).relu(), images.flatten(1)], dim=1))


def test_a_large_linear_layer_is_packed_and_rounds_every_row_alike():
    stages = nn.Sequential(nn.Linear(2048, 2048)).eval().requires_grad_(False)
    chain = FastChain(stages, 4, fold=True, pack=torch.float32)
    chain._made = [], torch.rand(1, 2048)
    (fast,) = chain.below(1)
    if fast is stages[0]:
        pytest.skip("this torch has no oneDNN")
    vectors = torch.randn(4, 2048)
    found = run([fast], vectors)
    torch.testing.assert_close(found, run(stages, vectors), rtol=1e-4, atol=1e-5)
    assert torch.equal(run([fast], vectors.flip(0)), found.flip(0))
