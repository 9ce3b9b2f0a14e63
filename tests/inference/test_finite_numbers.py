"""A network whose numbers are not finite is found out, by whoever uses it, and not stored."""

from contextlib import suppress

import numpy as np
import pytest
import torch
import torchvision

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.exceptions import TrainingDivergedError, WeightsError
from sktl.store import open_store

QUICK = {"max_epochs": 1, "image_size": 16, "random_state": 0}


@pytest.fixture
def overflowing():
    """Weights that are finite numbers, and too large to compute with."""
    backbone = load_backbone(torchvision.models.resnet18())  # of its own: records of a name are shared
    with torch.no_grad():
        for parameter in backbone.stages.parameters():
            if parameter.ndim == 4:
                parameter.fill_(3e38)
    return backbone


@pytest.mark.parametrize("cache", [True, False])
def test_vectors_that_are_not_finite_are_an_error_and_not_stored(overflowing, patterns, cache):
    extractor = PretrainedFeatureExtractor(overflowing, image_size=32, cache=cache).fit(patterns[0])
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"vectors of the network must be finite numbers. Got NaN or infinity"):
            extractor.transform(patterns[0])
    assert open_store(True).usage().n_vectors == 0


@pytest.mark.parametrize("estimator", [FineTuneClassifier, FineTuneRegressor])
@pytest.mark.parametrize(
    ("depth", "augment", "what"),
    [(0, None, "vectors"), (1, "auto", "vectors"), ("all", "auto", "features"), ("all", None, "features")],
)
def test_a_training_does_not_start_from_such_weights(overflowing, patterns, estimator, depth, augment, what):
    X, y = patterns
    model = estimator(overflowing, unfreeze_depth=depth, augment=augment, **{**QUICK, "image_size": 32})
    with pytest.raises(WeightsError, match=f"the {what} of the network must be finite numbers"):
        model.fit(X, y)


@pytest.mark.parametrize("value", [3e38, np.inf, np.nan])
def test_predictions_of_such_weights_are_an_error_that_names_images(patterns, value):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=0, **QUICK).fit(X, y)
    with torch.no_grad():
        model.module_.head.layers[0].weight.fill_(value)
    for method in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(WeightsError, match=r"outputs of the network .* NaN or infinity for image 0 and 23 more"):
            method(X)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
@pytest.mark.parametrize("rate", [30, 1e4, 1e30])
@pytest.mark.parametrize("settings", [{"max_epochs": 1}, {"max_epochs": 1, "weights": None}, {"max_epochs": 3}])
def test_what_counts_as_fitted_predicts_finite_numbers(patterns, settings, rate, seed):
    X, y = patterns
    model = FineTuneClassifier(learning_rate=rate, unfreeze_depth="all", **{**QUICK, **settings, "random_state": seed})
    with suppress(TrainingDivergedError):
        model.fit(X, y)
    assert not hasattr(model, "net_") or np.isfinite(model.predict_proba(X)).all()
