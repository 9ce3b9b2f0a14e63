"""Steps, warm-up and cosine, and one learning rate per stage."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sktl.training._heads import build_head
from sktl.training._schedule import (
    OptimizerSettings,
    WarmUpCosine,
    base_learning_rate,
    n_batches,
    n_epochs,
    parameter_groups,
)


@pytest.mark.parametrize(("n_samples", "steps"), [(50, 300), (320, 300), (1000, 640), (5000, 3000), (50_000, 3000)])
def test_auto_epochs_are_twenty_between_300_and_3000_steps(n_samples, steps):
    per_epoch = n_batches(n_samples, 32)
    assert abs(n_epochs("auto", n_samples, 32) * per_epoch - steps) <= per_epoch


def test_given_epochs_are_kept():
    assert n_epochs(7, 50, 32) == 7


@pytest.mark.parametrize("n_samples", range(2, 40))
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_no_batch_holds_a_single_image(n_samples, batch_size):
    sizes = [len(part) for part in np.array_split(np.arange(n_samples), n_batches(n_samples, batch_size))]
    assert min(sizes) >= 2
    assert max(sizes) <= max(batch_size, 3)


def test_the_factor_rises_for_a_tenth_and_falls_as_a_cosine():
    factor = WarmUpCosine(100)
    values = [factor(step) for step in range(101)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * i / 90)) for i in range(91)])


def test_auto_learning_rates_depend_on_the_family_and_on_scratch():
    assert base_learning_rate("auto", "vit", False) < base_learning_rate("auto", "resnet", False)
    assert base_learning_rate("auto", "vit", True) == base_learning_rate("auto", "resnet", True)
    assert base_learning_rate(0.5, "vit", True) == 0.5


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)) for _ in range(3)))
        self.head = build_head("linear", 3, 2, 0.0)


@pytest.mark.parametrize(("from_probe", "head_rate"), [(False, 0.1), (True, 0.01)])
def test_every_parameter_is_in_one_group_at_the_rate_of_its_stage(from_probe, head_rate):
    network = Toy()
    network.head.from_probe = from_probe
    network.stages[0].requires_grad_(False)
    groups = parameter_groups(network, OptimizerSettings(0.1, 0.5, 0.05, from_scratch=False))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == len(list(network.parameters())) == sum(len(group["params"]) for group in groups)
    for part, rate in zip([*network.stages, network.head], [0.025, 0.05, 0.1, head_rate], strict=True):
        assert [rates[id(p)] for p in part.parameters()] == pytest.approx([rate] * len(list(part.parameters())))


def test_only_matrices_decay():
    for group in parameter_groups(Toy(), OptimizerSettings(0.1, 0.5, 0.05, from_scratch=False)):
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == 0.05}


def test_from_scratch_all_parts_learn_at_one_rate():
    assert {group["lr"] for group in parameter_groups(Toy(), OptimizerSettings(0.1, 0.5, 0.05, from_scratch=True))} == {
        0.1
    }
    torch.optim.AdamW(parameter_groups(Toy(), OptimizerSettings(0.1, 0.5, 0.05, from_scratch=True)))
