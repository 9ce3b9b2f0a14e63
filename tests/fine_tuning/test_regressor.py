"""FineTuneRegressor: targets in their own units, one or several."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

from sktl import FineTuneRegressor

QUICK = {"max_epochs": 2, "random_state": 0}


@pytest.fixture
def brightness():
    """Pictures and two targets: how bright they are, and how much brighter their left half is."""
    rng = np.random.default_rng(0)
    left, right = rng.uniform(20, 230, (2, 60))
    X = np.empty((60, 16, 16, 3), dtype=np.uint8)
    X[:, :, :8] = left[:, None, None, None]
    X[:, :, 8:] = right[:, None, None, None]
    return X, np.c_[1000 + (left + right), (left - right) / 100]


@pytest.mark.parametrize(
    "columns",
    [pytest.param(0, marks=pytest.mark.slow), pytest.param([0], marks=pytest.mark.slow), [0, 1]],
    ids=["flat", "one column", "two"],
)
def test_targets_come_back_in_their_units_and_shape(brightness, columns):
    X, targets = brightness
    y = targets[:, columns]
    options = {"unfreeze_depth": "all", "image_size": 24, "max_epochs": 25, "learning_rate": 3e-3}
    model = FineTuneRegressor(**options, random_state=0).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.8


def test_a_constant_target_is_predicted_exactly(brightness):
    X, _ = brightness
    model = FineTuneRegressor(**QUICK).fit(X, np.full(len(X), 7.3))
    assert_allclose(model.predict(X), 7.3, rtol=1e-6)


def test_weights_count_as_copies_and_order_is_forgotten(brightness):
    X, y = brightness
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, len(y))
    model = FineTuneRegressor(**QUICK)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    rows = rng.permutation(np.repeat(np.arange(len(y)), weights))
    repeated = clone(model).fit(X[rows], y[rows])
    for name, tensor in weighted.module_.state_dict().items():
        assert torch.equal(tensor, repeated.module_.state_dict()[name]), name
    assert np.array_equal(weighted.predict(X), repeated.predict(X))


def test_early_stopping_and_partial_fit_run(brightness):
    X, y = brightness
    model = FineTuneRegressor(early_stopping=True, patience=2, max_epochs=5, random_state=0).fit(X, y)
    assert "valid_loss" in model.history_[-1]
    epochs = len(model.history_)
    assert len(model.partial_fit(X, y).history_) == epochs + 1
    with pytest.raises(ValueError, match="2 target"):
        model.partial_fit(X, y[:, 0])


def test_one_distinct_image_is_too_few(brightness):
    X, _ = brightness
    with pytest.raises(ValueError, match="at least 2 distinct images"):
        FineTuneRegressor(**QUICK).fit(X[[0, 0, 0]], [1.0, 1.0, 1.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_must_be_finite(brightness, bad):
    X, y = brightness
    with pytest.raises(ValueError, match="Input y contains"):
        FineTuneRegressor(**QUICK).fit(X, np.r_[bad, y[1:, 0]])
