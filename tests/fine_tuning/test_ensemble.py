"""Outputs are averaged with those of a probe on the network as it was: oracles, when, and what comes of it."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import LeaveOneOut, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline

from sktl import (
    FineTuneClassifier,
    FineTuneRegressor,
    LinearProbeClassifier,
    LinearProbeRegressor,
    PretrainedFeatureExtractor,
)
from sktl.training import FineTuneNetwork

SIZE = {"image_size": 24}
QUICK = {"max_epochs": 2, "n_views": 2, "random_state": 0, **SIZE}


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    images = (15 * images).astype(np.uint8).reshape(-1, 8, 8)
    return images[:40], labels[:40], images[500:560], labels[500:560]


def frozen_recipe(probe):
    return make_pipeline(PretrainedFeatureExtractor(layer="all", pooling="avg+std", **SIZE), probe)


@pytest.mark.parametrize("depth", [1, 2, "all"])
def test_scores_are_the_mean_of_a_probe_on_the_trained_and_one_on_the_untrained_network(digits, depth):
    X, y, X_test, _ = digits
    model = FineTuneClassifier(unfreeze_depth=depth, **QUICK).fit(X, y)
    before = frozen_recipe(LinearProbeClassifier()).fit(X, y)
    after = make_pipeline(PretrainedFeatureExtractor(model), LinearProbeClassifier()).fit(X, y)
    expected = (before.decision_function(X_test) + after.decision_function(X_test)) / 2
    assert_allclose(model.decision_function(X_test), expected, atol=2e-3)
    assert abs(before.decision_function(X_test) - after.decision_function(X_test)).max() > 0.1


@pytest.mark.parametrize("depth", [1, "all"])
def test_numbers_are_a_mean_in_which_the_network_has_at_most_half(digits, depth):
    X, y, X_test, _ = digits
    Y = np.c_[y, X.mean((1, 2)), np.random.default_rng(0).normal(size=len(y))]
    model = FineTuneRegressor(unfreeze_depth=depth, max_epochs=2, random_state=0, **SIZE).fit(X, Y)
    before = frozen_recipe(LinearProbeRegressor()).fit(X, Y).predict(X_test)
    after = make_pipeline(PretrainedFeatureExtractor(model), LinearProbeRegressor()).fit(X, Y).predict(X_test)
    left_out = cross_val_predict(frozen_recipe(LinearProbeRegressor()), X, Y, cv=LeaveOneOut())
    correlations = [np.corrcoef(*pair)[0, 1] for pair in zip(left_out.T, Y.T, strict=True)]
    share = model.module_.probe.share_of_others.numpy()
    # Within what it makes that there the strength is chosen anew for each image.
    assert_allclose(share, np.clip(correlations, 0, 1) / 2, atol=0.15)
    assert share[0] > 0.35 > 0.25 > share[2]
    assert abs(model.predict(X_test) - (share * after + (1 - share) * before)).max() < 5e-3


@pytest.mark.parametrize("depth", [0, 1])
def test_hidden_layers_stay_as_training_leaves_them(digits, depth):
    X, y, X_test, _ = digits
    alone, averaged = (
        FineTuneClassifier(unfreeze_depth=depth, head=[8], ensemble=ensemble, **QUICK).fit(X, y)
        for ensemble in (False, True)
    )
    before = frozen_recipe(LinearProbeClassifier()).fit(X, y).decision_function(X_test)
    expected = (alone.decision_function(X_test) + before) / 2
    assert_allclose(averaged.decision_function(X_test), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("several", "options"),
    [(False, {}), (False, {"test_time_augmentation": True}), (True, {}), (False, {"unfreeze_depth": "all"})],
)
def test_the_module_gives_what_the_estimator_gives(digits, several, options):
    X, y, X_test, _ = digits
    target = np.c_[y % 2, y > 4].astype(int) if several else y
    model = FineTuneClassifier(**{**QUICK, **options}).fit(X, target)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_proba(X_test), model.predict_proba(X_test))
    images = model._images(X_test)
    batch = torch.from_numpy(np.stack([model.module_.preprocessing.prepare(image) for image in images]))
    with torch.no_grad():
        outputs = model.module_(batch)
        if model.test_time_augmentation:
            outputs = (outputs + model.module_(batch.flip(3))) / 2
    probabilities = outputs.sigmoid() if several else outputs.softmax(1)
    assert_allclose(model.predict_proba(X_test), probabilities, atol=1e-4)
    decided = model.predict_proba(X_test) > 0.5 if several else model.classes_[model.predict_proba(X_test).argmax(1)]
    assert_array_equal(model.predict(X_test), decided)


def test_images_to_predict_go_once_through_the_frozen_stages(digits):
    X, y, X_test, _ = digits
    model = FineTuneClassifier(cache=False, **QUICK).fit(X, y)
    before = model.store_info_.n_misses
    model.predict(X_test)
    assert model.store_info_.n_misses == before + len(X_test)


@pytest.mark.parametrize(
    "options",
    [{"ensemble": False}, {"weights": None}, {"label_smoothing": 0.1}, {"unfreeze_depth": 0}, {"teacher": None}],
)
def test_where_the_network_predicts_alone(digits, options):
    X, y, X_test, _ = digits
    if "teacher" in options:
        options = {"teacher": FineTuneClassifier(unfreeze_depth=0, **SIZE).fit(X, y)}
    model = FineTuneClassifier(**{**QUICK, **options}).fit(X, y)
    assert model.module_.probe is None
    batch = torch.from_numpy(np.stack([model.module_.preprocessing.prepare(image) for image in model._images(X_test)]))
    with torch.no_grad():
        logits = model.module_.above_cut(model.module_.below_cut(batch))
    assert_allclose(model.decision_function(X_test), logits, atol=1e-3)


def test_partial_fit_of_a_new_estimator_trains_a_network_alone(digits):
    X, y, _, _ = digits
    assert FineTuneClassifier(random_state=0, **SIZE).partial_fit(X, y).module_.probe is None


def test_both_probes_follow_when_training_goes_on_with_other_images(digits):
    X, y, X_test, y_test = digits
    model = FineTuneClassifier(warm_start=True, **QUICK).fit(X, y).fit(X_test, y_test)
    before = frozen_recipe(LinearProbeClassifier()).fit(X_test, y_test)
    after = make_pipeline(PretrainedFeatureExtractor(model), LinearProbeClassifier()).fit(X_test, y_test)
    expected = (before.decision_function(X) + after.decision_function(X)) / 2
    assert_allclose(model.decision_function(X), expected, atol=2e-3)


def test_early_stopping_keeps_the_probe_of_the_images_that_are_trained_on(digits):
    X, y, X_test, _ = digits
    model = FineTuneClassifier(early_stopping=True, validation_fraction=0.2, **QUICK)
    model.fit(X, y, validation=(X_test[:20], digits[3][:20]))
    before = frozen_recipe(LinearProbeClassifier()).fit(X, y).decision_function(X_test)
    after = make_pipeline(PretrainedFeatureExtractor(model), LinearProbeClassifier()).fit(X, y)
    expected = (before + after.decision_function(X_test)) / 2
    assert_allclose(model.decision_function(X_test), expected, atol=2e-3)


def test_a_network_of_an_earlier_version_has_no_probe(digits):
    X, y, X_test, _ = digits
    model = FineTuneClassifier(ensemble=False, **QUICK).fit(X, y)
    state = model.module_.__getstate__() if hasattr(model.module_, "__getstate__") else vars(model.module_)
    state = {**state, "_modules": {name: part for name, part in model.module_._modules.items() if name != "probe"}}
    old = FineTuneNetwork.__new__(FineTuneNetwork)
    old.__setstate__(state)
    expected = model.predict_proba(X_test)
    model.net_.module_ = old
    assert_array_equal(model.predict_proba(X_test), expected)


def test_what_is_trained_further_does_not_lose_to_frozen_features(digits):
    """The network alone is sure of itself where it is wrong, and behind frozen features at few labels."""
    X, y, X_test, y_test = digits
    tuned = {"max_epochs": 40, "n_views": 2, "random_state": 0, **SIZE}
    models = [frozen_recipe(LinearProbeClassifier()), FineTuneClassifier(**tuned)]
    models.append(FineTuneClassifier(ensemble=False, **tuned))
    frozen, averaged, alone = (log_loss(y_test, model.fit(X, y).predict_proba(X_test)) for model in models)
    assert averaged < 1.25 * frozen < alone


def test_a_class_whose_only_image_is_set_aside_leaves_the_network_alone(digits):
    X, y, X_test, _ = digits
    rare = np.where(np.arange(len(y)) == 7, 99, y % 2)
    only = PredefinedSplit(np.where(np.isin(np.arange(len(y)), (7, 8, 9)), 0, -1))
    models = [FineTuneClassifier(ensemble=ensemble, early_stopping=True, **QUICK) for ensemble in (True, False)]
    averaged, alone = (model.fit(X, rare, validation=only).predict_proba(X_test) for model in models)
    assert_array_equal(averaged, alone)


@pytest.mark.slow
def test_going_on_without_a_class_keeps_the_probe_that_knows_it(digits):
    X, y, X_test, _ = digits
    model = FineTuneClassifier(warm_start=True, **QUICK).fit(X, y % 3)
    expected = {name: tensor.clone() for name, tensor in model.module_.probe.state_dict().items()}
    model.fit(X[y % 3 > 0], y[y % 3 > 0] % 3)
    for name, tensor in model.module_.probe.state_dict().items():
        assert_array_equal(tensor, expected[name])
    assert set(model.predict(X_test)) == {0, 1, 2}
