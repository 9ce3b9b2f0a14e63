import itertools
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    get_scorer,
    get_scorer_names,
    make_scorer,
    mean_absolute_error,
    zero_one_loss,
)

from sktl._score_bounds import bounds_of_scorers

UNKNOWN = (-np.inf, np.inf)
# Scores of clusterings, and ratios, are seldom what classifiers are compared by.
LEFT_OUT = {name for name in get_scorer_names() if "likelihood_ratio" in name or name.endswith("mutual_info_score")}
LEFT_OUT |= {"adjusted_rand_score", "completeness_score", "fowlkes_mallows_score", "homogeneity_score", "rand_score"}
LEFT_OUT |= {"v_measure_score"}


def bounds_of(scorer):
    return bounds_of_scorers({"it": scorer})["it"]


@pytest.mark.parametrize(
    ("scorer", "bounds"),
    [
        (get_scorer("accuracy"), (0, 1)),
        (get_scorer("roc_auc_ovo"), (0, 1)),
        (get_scorer("matthews_corrcoef"), (-1, 1)),
        (get_scorer("r2"), (-np.inf, 1)),
        (get_scorer("neg_log_loss"), (-np.inf, 0)),
        (get_scorer("neg_brier_score"), (-2, 0)),
        (make_scorer(accuracy_score), (0, 1)),
        (make_scorer(zero_one_loss, greater_is_better=False), (-1, 0)),
        (make_scorer(mean_absolute_error), (0, np.inf)),
        (make_scorer(accuracy_score, normalize=False), UNKNOWN),  # a number of images
        (make_scorer(balanced_accuracy_score, adjusted=True), UNKNOWN),
        (make_scorer(lambda y, predicted: 85.0), UNKNOWN),
        (lambda estimator, X, y: 85.0, UNKNOWN),
    ],
)
def test_bounds_are_those_of_the_metric_with_its_sign(scorer, bounds):
    assert bounds_of(scorer) == bounds


def test_every_scorer_of_scikit_learn_for_classes_or_numbers_has_bounds():
    assert {name for name in get_scorer_names() if bounds_of(get_scorer(name)) == UNKNOWN} == LEFT_OUT


@pytest.mark.parametrize("name", [name for name in get_scorer_names() if name not in LEFT_OUT])
def test_no_score_lies_outside_the_bounds(name):
    rng = np.random.default_rng(0)
    low, high = bounds_of(get_scorer(name))
    scores = []
    for kind, scale in itertools.product(("classes", "two classes", "numbers"), (0.01, 1, 100)):
        X, noise = rng.normal(size=(2, 40, 3))
        y = {"classes": rng.integers(0, 3, 40), "two classes": rng.integers(0, 2, 40), "numbers": rng.gamma(1, size=40)}
        model = LinearRegression() if kind == "numbers" else LogisticRegression()
        model.fit(X, y[kind])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some metrics are not for such targets
            try:
                scores.append(get_scorer(name)(model, X + scale * noise, y[kind]))
            except (ValueError, AttributeError):
                continue
    assert scores or name.endswith("_samples")  # which are for several labels per image
    assert all(np.isnan(score) or low - 1e-12 <= score <= high + 1e-12 for score in scores)
