"""What is embedded before the fits, and to which of them it is charged."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.comparison import FitRecord
from sktl.comparison._embedding_first import Charge, _charges, _extractor, embed_first
from sktl.comparison._fitting import FitTask
from sktl.feature_extraction.frozen_pipeline import KeptSeed

EXTRACTOR = PretrainedFeatureExtractor()
PIPELINE = make_pipeline(EXTRACTOR, LogisticRegression())
DRAWN = PretrainedFeatureExtractor(weights=None)
KEPT = PretrainedFeatureExtractor(weights=None, random_state=KeptSeed(0))


@pytest.mark.parametrize(
    ("candidate", "found"),
    [
        (EXTRACTOR, EXTRACTOR),
        (PIPELINE, EXTRACTOR),
        (GridSearchCV(PIPELINE, {}), EXTRACTOR),
        (KEPT, KEPT),
        (make_pipeline(DRAWN, LogisticRegression()), None),  # another network on each split
        (make_pipeline(PCA(), EXTRACTOR), None),  # which sees something else than X
        (make_pipeline("passthrough", LogisticRegression()), None),
        (FineTuneClassifier(), None),
        (LogisticRegression(), None),
    ],
)
def test_the_extractor_that_takes_X_as_it_is(candidate, found):
    assert _extractor(candidate) is found


def fit(split, train, test):
    return FitTask("frozen", split, None, np.array(train), np.array(test), 0, {})


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_each_image_is_charged_to_the_fit_that_needs_it_first(share):
    fits = [fit(0, [0, 1, 2], [3]), fit(1, [3, 4, 5], [0, 6]), fit(2, [0, 1], [6])]
    charges = _charges(fits, share, 2.0)
    assert charges == {
        (0, "frozen"): Charge(6 * share, 2 * share, round(4 * share)),
        (1, "frozen"): Charge(4 * share, 2 * share, round(3 * share)),
        (2, "frozen"): Charge(0, 0, 0),
    }


def test_a_charge_is_added_to_what_a_fit_took():
    charge = Charge(fit_seconds=3.0, predict_seconds=1.0, n_images=4)
    run = FitRecord("frozen", 0, {}, fit_seconds=0.5, predict_seconds=0.25, n_images_through_network=2)
    assert charge.added_to(run) == FitRecord(
        "frozen", 0, {}, fit_seconds=3.5, predict_seconds=1.25, n_images_through_network=6
    )
    failed = FitRecord("frozen", 0, {}, error="ValueError: no")
    assert charge.added_to(failed) == failed
    assert Charge().added_to(run) == run


def test_without_a_cluster_nothing_is_embedded_first():
    class Unread:
        def __len__(self):
            raise AssertionError("X was read")

    task = FitTask("frozen", 0, PIPELINE, np.arange(3), np.arange(3, 5), 0, {})
    assert embed_first([task], Unread()) == {}
