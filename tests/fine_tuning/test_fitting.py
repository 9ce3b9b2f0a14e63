"""Probe, training, and which of the two is kept; the second training on all images."""

import numpy as np
import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.images import as_images
from sktl.training._training_set import canonical

STOPPING = {"early_stopping": True, "validation_fraction": 0.25, "random_state": 0}
CONSTANT = skorch.callbacks.LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=10**6)
RUINOUS = 3.0  # a rate at which nothing is learnt


@pytest.fixture
def noise():
    """Pictures with labels that have nothing to do with them."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), rng.permutation(np.arange(40) % 2)


def weights(model):
    return model.module_.state_dict()


def assert_same_network(one, other):
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


def test_the_probe_is_kept_when_no_epoch_was_better(noise):
    X, y = noise
    positions = []

    class Watch(skorch.callbacks.Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            positions.extend(X.positions)

    model = FineTuneClassifier(learning_rate=RUINOUS, max_epochs=3, callbacks=[Watch()], ensemble=False, **STOPPING)
    model.fit(X, y)
    assert model.best_epoch_ == 0
    assert len(model.history_) == 3
    rows, _, _ = canonical(as_images(X), y, np.ones(len(y)))
    part = rows[positions]
    assert len(part) == 30
    probe = FineTuneClassifier(unfreeze_depth=0).fit(X[part], y[part])
    assert_allclose(model.predict_proba(X), probe.predict_proba(X), atol=1e-5)


def test_a_regressor_goes_back_to_its_probe_as_well(noise):
    X, y = noise
    model = FineTuneRegressor(learning_rate=RUINOUS, max_epochs=3, refit=True, ensemble=False, **STOPPING)
    model.fit(X, y)
    assert model.best_epoch_ == 0
    assert_allclose(model.predict(X), FineTuneRegressor(unfreeze_depth=0).fit(X, y).predict(X), atol=1e-5)


def test_the_best_epoch_is_that_of_the_least_loss(patterns):
    model = FineTuneClassifier(head=[16], learning_rate=1e-2, max_epochs=8, **STOPPING).fit(*patterns)
    assert model.best_epoch_ == int(np.argmin(model.history_[:, "valid_loss"])) + 1


@pytest.mark.slow
def test_a_refit_trains_on_all_images_for_as_many_epochs_as_were_best(patterns):
    X, y = patterns
    settings = {"head": [16], "learning_rate": 3e-3, "callbacks": [CONSTANT], "max_epochs": 12}
    noisy = np.random.default_rng(1).permutation(y)
    searched = FineTuneClassifier(**settings, **STOPPING).fit(X, noisy)
    assert 0 < searched.best_epoch_ < 12
    model = FineTuneClassifier(refit=True, **settings, **STOPPING).fit(X, noisy)
    assert model.best_epoch_ == searched.best_epoch_ == len(model.history_)
    assert sum(batch["train_batch_size"] for batch in model.history_[-1]["batches"]) == len(y)
    assert "valid_loss" not in model.history_[-1]
    linear = {**settings, "head": "linear"}
    model = FineTuneClassifier(refit=True, **linear, **STOPPING).fit(X, y)
    plain = FineTuneClassifier(**{**linear, "max_epochs": model.best_epoch_}, random_state=0).fit(X, y)
    assert_same_network(model, plain)


def test_a_refit_of_the_probe_is_the_probe_on_all_images(noise):
    X, y = noise
    model = FineTuneClassifier(learning_rate=RUINOUS, max_epochs=3, refit=True, **STOPPING).fit(X, y)
    assert model.best_epoch_ == 0
    assert_array_equal(model.predict(X), FineTuneClassifier(unfreeze_depth=0).fit(X, y).predict(X))


def test_a_refit_keeps_the_schedule_of_the_search(patterns, monkeypatch):
    """With "auto", more images have fewer epochs; the best one might not be among them."""
    from sktl.fine_tuning import _fitting

    asked = []
    monkeypatch.setattr(_fitting, "n_epochs", lambda *args: asked.append(args[1]) or 6)
    model = FineTuneClassifier(head=[8], refit=True, **STOPPING).fit(*patterns)
    assert set(asked) == {18}
    assert len(model.history_) == (model.best_epoch_ or len(model.history_)) <= 6


# depth 0, which is the probe alone unless something else is asked for


def test_depth_0_has_nothing_to_stop(patterns):
    plain = FineTuneClassifier(unfreeze_depth=0).fit(*patterns)
    model = FineTuneClassifier(unfreeze_depth=0, refit=True, **STOPPING).fit(*patterns)
    assert model.best_epoch_ == 0
    assert not hasattr(plain, "best_epoch_")
    assert_same_network(plain, model)


def test_hidden_layers_at_depth_0_are_stopped_early(patterns):
    model = FineTuneClassifier(unfreeze_depth=0, head=[8], max_epochs=3, **STOPPING).fit(*patterns)
    assert len(model.history_[:, "valid_loss"]) == 3
    assert model.best_epoch_ in (1, 2, 3)


def test_depth_0_goes_on_to_the_probe_of_the_new_images(patterns):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=0, warm_start=True).fit(X, y)
    first = model.predict_proba(X)
    assert_array_equal(model.fit(X, y).predict_proba(X), first)
    assert model.fit(X, 1 - y).score(X, 1 - y) == 1.0


@pytest.mark.parametrize("knob", [{"dropout": 0.3}, {"callbacks": [skorch.callbacks.EpochTimer()]}, {"mixup": 0.2}])
def test_what_a_probe_cannot_give_is_trained_at_depth_0(patterns, knob):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=0, max_epochs=4, random_state=0, **knob).fit(X, y)
    assert len(model.history_) == 4
    assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    assert model.score(X, y) == 1.0
    assert_same_network(model, clone(model).fit(X, y))


def test_the_best_epoch_is_one_of_the_last_training(patterns):
    X, y = patterns
    model = FineTuneClassifier(head=[8], warm_start=True, max_epochs=3, learning_rate=1e-2, **STOPPING).fit(X, y)
    assert model.best_epoch_ <= 3
    first = len(model.history_)
    assert first < model.fit(X, np.random.default_rng(0).permutation(y)).best_epoch_ <= first + 3
    assert not hasattr(model.set_params(early_stopping=False).fit(X, y), "best_epoch_")
