"""scikit-learn's own battery on every public estimator: no failure, no expected failure, nothing skipped."""

import pytest
from sklearn.utils import estimator_checks

from sktl import (
    FineTuneClassifier,
    FineTunedFeatures,
    FineTuneRegressor,
    LinearProbeClassifier,
    LinearProbeRegressor,
    PatchAnomalyDetector,
    PretrainedClassifier,
    PretrainedFeatureExtractor,
)
from sktl.backbones import load_backbone

# On 48-pixel pictures made of a few numbers, short trainings reach the accuracy that the battery asks for.
QUICK = {"max_epochs": 8, "learning_rate": 3e-3}
FEWER = {"max_epochs": 4, "learning_rate": 3e-3}
# A hidden layer on averaged features has to fit its training data closely to explain a function of ten numbers.
HEAD_REGRESSOR = {"head": (64,), "max_epochs": 20, "learning_rate": 1e-2}

# Estimator, and the least number of checks that must have run: a battery that shrinks silently proves nothing.
INSTANCES = {
    "linear probe": (LinearProbeClassifier(), 60),
    "linear probe, balanced": (LinearProbeClassifier(class_weight="balanced"), 60),
    "linear probe for numbers": (LinearProbeRegressor(), 57),
    "extractor": (PretrainedFeatureExtractor(), 45),
    "the network's own classes": (PretrainedClassifier(), 40),
    "classifier, head only": (FineTuneClassifier(unfreeze_depth=0, **QUICK), 60),
    "regressor, probe": (FineTuneRegressor(unfreeze_depth=0), 58),
}
SLOW = {
    "anomaly detector": (PatchAnomalyDetector(), 47),
    # Features of frozen stages are the same in all folds, so that fit_transform may be held against transform.
    "out-of-fold features": (
        FineTunedFeatures(FineTuneClassifier(unfreeze_depth=0, value_range=(-5, 5)), method="penultimate", cv=3),
        50,
    ),
    "extractor on resnet18, without store": (
        PretrainedFeatureExtractor("resnet18", weights=None, image_size=32, cache=False, random_state=0),
        45,
    ),
    "classifier, one stage": (FineTuneClassifier(unfreeze_depth=1, image_size=24, **FEWER), 60),
    "regressor, head only": (FineTuneRegressor(unfreeze_depth=0, **HEAD_REGRESSOR), 58),
    "regressor, one stage": (FineTuneRegressor(unfreeze_depth=1, image_size=24, **QUICK), 58),
    "classifier, everything": (FineTuneClassifier(unfreeze_depth="all", image_size=24, **FEWER), 60),
    "regressor, everything": (FineTuneRegressor(unfreeze_depth="all", image_size=24, **FEWER), 58),
    "classifier, default": (FineTuneClassifier(), 60),
    "regressor, default": (FineTuneRegressor(), 58),
    # Random weights stand in for pretrained ones, which are not at hand; weights=None would train all of them.
    "classifier on resnet18": (
        FineTuneClassifier(load_backbone("resnet18", weights=None), unfreeze_depth=0, image_size=32, **QUICK),
        60,
    ),
}


def run_battery(estimator, floor):
    results = estimator_checks.check_estimator(estimator, on_skip=None, on_fail=None)
    problems = [
        f"{result['check_name']}: {result['status']}: {result['exception']}"
        for result in results
        if result["status"] != "passed"
    ]
    assert not problems, "\n".join(problems)
    assert len(results) >= floor


@pytest.mark.parametrize("name", INSTANCES)
def test_passes_the_whole_battery(name):
    run_battery(*INSTANCES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_passes_the_whole_battery_slowly(name):
    run_battery(*SLOW[name])
