"""Probes on blocks of features are those of all features at once, whatever the blocks, and their score is honest."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from sktl import LinearProbeClassifier, LinearProbeRegressor
from sktl.feature_extraction import out_of_core
from sktl.feature_extraction.out_of_core import fit_probe_on_blocks

SHAPES = {"many rows": (400, 12), "more features than rows": (30, 60), "square": (25, 25)}


def features(n_rows, n_features, seed=0):
    """Features of very different spread, far from zero, the first of them without any."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)) * 10 ** rng.uniform(-3, 2, n_features) + 100 * rng.normal(size=n_features)
    X[:, 0] = 7.0
    return X.astype(np.float32)


def classes_of(X, n_classes, seed=1):
    rng = np.random.default_rng(seed)
    scores = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6) @ rng.normal(size=(X.shape[1], n_classes))
    labels = (scores + 2 * rng.normal(size=scores.shape)).argmax(axis=1)
    labels[:n_classes] = np.arange(n_classes)
    return labels


def in_blocks(X, y, size):
    return lambda: ((X[start : start + size], y[start : start + size]) for start in range(0, len(X), size))


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_classifier_is_that_of_all_features_at_once(shape, n_classes, size):
    X = features(*SHAPES[shape])
    y = classes_of(X, n_classes)
    names = np.array(["ant", "bee", "cat", "dog", "eel"])[:n_classes]
    whole = LinearProbeClassifier().fit(X, names[y])
    probe, _ = fit_probe_on_blocks(in_blocks(X, y, size), names)
    assert set(vars(probe)) == set(vars(whole))
    assert probe.classes_.tolist() == whole.classes_.tolist()
    assert (probe.coef_.shape, probe.intercept_.shape) == (whole.coef_.shape, whole.intercept_.shape)
    assert probe.alpha_ == pytest.approx(whole.alpha_, rel=1e-6)
    assert_allclose(probe.coef_, whole.coef_, rtol=1e-3, atol=1e-5 * np.abs(whole.coef_).max())
    assert_allclose(probe.predict_proba(X), whole.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_regressor_is_that_of_all_features_at_once(shape):
    X = features(*SHAPES[shape])
    y = X[:, 1:4] @ [1.0, 2.0, 3.0] + np.random.default_rng(2).normal(size=len(X)) + 1e4
    whole = LinearProbeRegressor().fit(X, y)
    probe, score = fit_probe_on_blocks(in_blocks(X, y, 9))
    assert set(vars(probe)) == set(vars(whole))
    assert probe.alpha_ == pytest.approx(whole.alpha_, rel=1e-6)
    assert_allclose(probe.coef_, whole.coef_, rtol=1e-4, atol=1e-6 * np.abs(whole.coef_).max())
    assert_allclose(probe.predict(X), whole.predict(X), atol=1e-5 * y.std())
    assert score < probe.score(X, y)


def test_the_score_is_that_of_fits_without_the_row_and_its_copies():
    """Refits have strengths of their own, so that single answers may differ."""
    X = features(80, 6)
    y = classes_of(X, 3)
    X, y = np.concatenate([X, X[:20]]), np.concatenate([y, y[:20]])
    copies = np.r_[np.arange(80), np.arange(20)]
    expected = cross_val_predict(LinearProbeClassifier(), X, y, groups=copies, cv=LeaveOneGroupOut())
    probe, score = fit_probe_on_blocks(in_blocks(X, y, 33), np.arange(3))
    assert score == pytest.approx(accuracy_score(y, expected), abs=0.02)
    assert score < accuracy_score(y, probe.predict(X))
    numbers = X[:, 1] + 0.5 * X[:, 1].std() * np.random.default_rng(3).normal(size=80)[copies]
    expected = cross_val_predict(LinearProbeRegressor(), X, numbers, groups=copies, cv=LeaveOneGroupOut())
    assert fit_probe_on_blocks(in_blocks(X, numbers, 33))[1] == pytest.approx(r2_score(numbers, expected), abs=0.02)


@pytest.mark.parametrize("n_copies", [2, 5])
def test_copies_are_one_row_of_more_weight_also_in_other_blocks(n_copies):
    X = features(60, 8)
    y = classes_of(X, 3)
    rows = np.r_[np.arange(60), np.tile(np.arange(10), n_copies - 1)]
    whole = LinearProbeClassifier().fit(X[rows], y[rows])
    probe, _ = fit_probe_on_blocks(in_blocks(X[rows], y[rows], 16), np.arange(3))
    assert probe.alpha_ == pytest.approx(whole.alpha_, rel=1e-6)
    assert_allclose(probe.predict_proba(X), whole.predict_proba(X), atol=1e-5)


def test_equal_features_with_other_labels_are_no_copies():
    X = np.repeat(features(30, 5), 2, axis=0)
    y = np.tile([0, 1], 30)
    whole = clone(LinearProbeClassifier()).fit(X, y)
    probe, score = fit_probe_on_blocks(in_blocks(X, y, 7), np.arange(2))
    assert_allclose(probe.predict_proba(X), whole.predict_proba(X), atol=1e-5)
    assert score == 0.0  # the twin, which stays, says the other thing


def test_a_sample_is_enough_for_the_steepness(monkeypatch):
    X = features(4000, 10)
    y = classes_of(X, 4)
    monkeypatch.setattr(out_of_core, "_SAMPLE", 4000)
    monkeypatch.setattr(out_of_core, "_LEAST_ROWS", 100)
    whole = LinearProbeClassifier().fit(X, y)
    probe, score = fit_probe_on_blocks(in_blocks(X, y, 333), np.arange(4))
    steeper = probe.coef_[:, 1:] / whole.coef_[:, 1:]
    assert_allclose(steeper, steeper[0, 0], rtol=1e-3)
    assert 0 < abs(steeper[0, 0] - 1) < 0.1
    monkeypatch.undo()
    assert fit_probe_on_blocks(in_blocks(X, y, 333), np.arange(4))[1] == score
