"""The head standardises pretrained features and starts at zero."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler

from sktl.training._heads import build_head


def test_standardises_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    features = rng.normal(5, [0.5, 1, 100], (40, 3))
    head = build_head("linear", 3, 2, 0.0)
    head.standardise(torch.as_tensor(features, dtype=torch.float32))
    scaler = StandardScaler().fit(features)
    assert_allclose(head.mean, scaler.mean_, rtol=1e-5)
    assert_allclose(head.scale, scaler.scale_, rtol=1e-4)


def test_a_feature_that_never_varies_is_not_blown_up():
    head = build_head("linear", 2, 2, 0.0)
    features = torch.tensor([[0.1, 3.0], [0.1, 5.0], [0.1, 4.0]])
    head.standardise(features)
    assert head.scale[0] == pytest.approx(1e-3 * features.square().mean().sqrt().item())
    assert head.scale[1] == pytest.approx(features[:, 1].std(correction=0).item())


def test_features_that_are_all_zero_are_survived():
    head = build_head("linear", 2, 2, 0.0)
    head.standardise(torch.zeros(3, 2))
    assert torch.equal(head.scale, torch.ones(2))


@pytest.mark.parametrize("head", ["linear", [4], [4, 3]])
def test_outputs_start_at_zero(head):
    built = build_head(head, 5, 3, 0.0)
    assert torch.equal(built(torch.randn(2, 5)), torch.zeros(2, 3))


def test_dropout_acts_in_training_only():
    built = build_head("linear", 1000, 1, 0.5)
    torch.nn.init.ones_(built.layers[0].weight)
    features = torch.arange(1.0, 1001.0)[None]  # each counts differently: dropping one half seldom gives the same sum
    torch.manual_seed(0)
    assert built.eval()(features).item() == 500_500
    assert built.train()(features).item() != 500_500
