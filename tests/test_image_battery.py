"""Our own battery for images on every public estimator, and on real architectures, which a toy would hide."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sktl import (
    FineTuneClassifier,
    FineTuneRegressor,
    PatchAnomalyDetector,
    PretrainedClassifier,
    PretrainedFeatureExtractor,
)
from sktl.backbones import load_backbone

# The checks lie beside this file; last in the path, where they shadow nothing.
sys.path.append(str(Path(__file__).parent))

QUICK = {"max_epochs": 1, "random_state": 0}


def named(name):
    """A network with random weights whose classes have numbers."""
    return replace(load_backbone(name, None), categories=tuple(range(1000)))


INSTANCES = {
    "extractor": lambda: PretrainedFeatureExtractor(),
    "extractor without store": lambda: PretrainedFeatureExtractor(cache=False),
    "the network's own classes": lambda: PretrainedClassifier(),
    # Views follow from the content: the same pictures on another scale have other ones.
    "classifier, one stage": lambda: FineTuneClassifier(unfreeze_depth=1, image_size=24, augment=None, **QUICK),
}
# Random weights stand in for pretrained ones; as a record, since weights=None would train everything.
REAL = {
    "extractor on resnet18": lambda: PretrainedFeatureExtractor(
        "resnet18", weights=None, image_size=32, layer=[0, 2], pooling="avg+max", cache=False, random_state=0
    ),
    "extractor on mobilenet_v2": lambda: PretrainedFeatureExtractor(
        "mobilenet_v2", weights=None, image_size=32, layer=1, cache=False, random_state=0
    ),
    "classifier on resnet18": lambda: FineTuneClassifier(
        load_backbone("resnet18", None), image_size=32, augment=None, **QUICK
    ),
}
# Their records are made up, so pickles do not lead back to them.
MADE_UP = {
    "own classes of mobilenet_v2": lambda: PretrainedClassifier(named("mobilenet_v2"), image_size=32, cache=False),
    "own classes of squeezenet1_1": lambda: PretrainedClassifier(named("squeezenet1_1"), image_size=48),
}
SLOW = {
    **REAL,
    "anomaly detector": lambda: PatchAnomalyDetector(random_state=0),
    "anomaly detector on resnet18": lambda: PatchAnomalyDetector(
        "resnet18", weights=None, image_size=32, cache=False, max_patches=50, random_state=0
    ),
    "classifier, one stage, as it comes": lambda: FineTuneClassifier(unfreeze_depth=1, augment=None, **QUICK),
    "regressor, one stage": lambda: FineTuneRegressor(unfreeze_depth=1, **QUICK),
    "classifier, head only": lambda: FineTuneClassifier(unfreeze_depth=0, **QUICK),
    "classifier, from scratch": lambda: FineTuneClassifier(weights=None, augment=None, **QUICK),
    "regressor, everything": lambda: FineTuneRegressor(unfreeze_depth="all", **QUICK),
    "classifier, everything of resnet18": lambda: FineTuneClassifier(
        load_backbone("resnet18", None), unfreeze_depth="all", image_size=32, augment=None, **QUICK
    ),
}
CHECKS = {
    name: check
    for module in map(importlib.import_module, ("image_input_checks", "image_estimator_checks"))
    for name, check in vars(module).items()
    if name.startswith("check_") and check.__module__ == module.__name__
}
# Of a classifier these take a dozen fits or more. Quick are the same checks of an extractor, and fits on every kind.
MANY_FITS = {"check_cross_validation_takes_any_kind", "check_grid_search_runs"}
# What an architecture can break, rather than the code around it.
NUMERIC = [name for name in CHECKS if name.startswith("check_outputs_")]


def test_the_battery_does_not_shrink():
    assert len(CHECKS) >= 37
    assert len(NUMERIC) >= 4


@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, marks=pytest.mark.slow if "classifier" in name and check in MANY_FITS else ())
        for name in INSTANCES
        for check in CHECKS
    ],
)
def test_passes_the_image_battery(name, check):
    CHECKS[check](INSTANCES[name]())


@pytest.mark.parametrize("check", NUMERIC)
@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) if "classifier" in name else name for name in REAL), *MADE_UP]
)
def test_passes_the_numeric_part_on_real_architectures(name, check):
    CHECKS[check]({**REAL, **MADE_UP}[name]())


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SLOW)
def test_passes_the_image_battery_slowly(name, check):
    CHECKS[check](SLOW[name]())
