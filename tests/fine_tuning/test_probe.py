"""A linear head starts from linear probes on the same features."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sktl import LinearProbeClassifier
from sktl.fine_tuning._numbers import Numbers
from sktl.fine_tuning._probe import label_probe
from sktl.training._heads import build_head


def labelled(n_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % n_classes
    features = rng.normal(size=(60, 5)).astype(np.float32) * 3 + 7
    features[:, :n_classes] += 4 * np.eye(n_classes)[labels]
    return features, labels, rng.uniform(0.5, 2, 60)


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_head_gives_the_decisions_of_the_probe(n_classes, scale):
    features, labels, weights = labelled(n_classes)
    head = build_head("linear", 5, n_classes, 0.0)
    head.standardise(torch.from_numpy(features))
    solution = head.solve(
        lambda *data: label_probe(*data, n_classes),
        torch.from_numpy(features),
        torch.from_numpy(labels),
        torch.from_numpy(weights),
    )
    head.take(solution, scale)
    assert head.from_probe
    oracle = LinearProbeClassifier().fit(features, labels, sample_weight=weights)
    outputs = head.eval()(torch.from_numpy(features)).detach().numpy()
    assert (outputs.argmax(1) == oracle.predict(features)).all()
    expected = oracle.decision_function(features)
    outputs = outputs[:, 1] - outputs[:, 0] if n_classes == 2 else outputs
    assert_allclose(outputs, scale * expected, rtol=1e-4, atol=1e-5)


def test_a_head_is_bounded_where_a_feature_was_nearly_dead_in_training():
    """Divided by its own spread, the dead feature would drown all others."""
    features, labels, weights = labelled(2)
    features[:, 4] = 1e-6 * np.random.default_rng(1).normal(size=60)
    head = build_head("linear", 5, 2, 0.0)
    data = (torch.from_numpy(part) for part in (features, labels, weights))
    head.standardise(torch.from_numpy(features))
    head.take(head.solve(lambda *data: label_probe(*data, 2), *data), 1.0)
    awake = features[:1].repeat(2, axis=0)
    awake[1, 4] = features[:, :4].std()
    asleep, woken = head.eval()(torch.from_numpy(awake)).detach().numpy()
    assert abs(asleep - woken).max() < 5


def test_a_class_without_images_gives_no_probe():
    features, labels, weights = labelled(2)
    assert label_probe(features, labels, weights, 3) is None


@pytest.mark.parametrize("n_targets", [1, 2])
def test_numbers_start_from_a_ridge_regression(n_targets):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 4))
    targets = features @ rng.normal(size=(4, n_targets))
    numbers = Numbers(np.zeros(n_targets), np.ones(n_targets), flat=False)
    coefficients, intercepts = numbers.probe(features, targets, np.ones(80))
    assert coefficients.shape == (n_targets, 4)
    assert_allclose(features @ coefficients.T + intercepts, targets, atol=0.05)


def test_hidden_layers_are_left_as_they_are():
    features, labels, weights = labelled(2)
    head = build_head([3], 5, 2, 0.0)
    before = [p.clone() for p in head.parameters()]
    data = (torch.from_numpy(features), torch.from_numpy(labels), torch.from_numpy(weights))
    assert head.solve(lambda *data: label_probe(*data, 2), *data) is None
    assert not head.from_probe
    assert all(torch.equal(a, b) for a, b in zip(before, head.parameters(), strict=True))
