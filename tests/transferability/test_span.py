"""Features in the span of the training images give the same linear model."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sktl.transferability._span import SpanOfImages


def features(n_images, n_features, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_images) % 3
    mixed = rng.normal(size=(n_images, 5)) + 2 * rng.normal(size=(3, 5))[y]
    noise = rng.normal(size=(n_images, n_features))
    return StandardScaler().fit_transform(mixed @ rng.normal(size=(5, n_features)) + noise).astype(np.float32), y


@pytest.mark.parametrize(("n_train", "n_features"), [(30, 200), (60, 61), (60, 60), (60, 20)])
def test_predictions_are_those_on_the_features_themselves(n_train, n_features):
    X, y = features(n_train + 20, n_features)
    train, test = slice(0, n_train), slice(n_train, None)
    X = X.astype(np.float64) - X[train].mean(axis=0)
    exact = {"C": 0.01, "max_iter": 10_000, "tol": 1e-9}
    span = SpanOfImages().fit(X[train])
    wanted = LogisticRegression(**exact).fit(X[train], y[train]).predict_proba(X[test])
    found = LogisticRegression(**exact).fit(span.transform(X[train]), y[train]).predict_proba(span.transform(X[test]))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_coordinates_keep_all_lengths_and_angles_of_the_training_images():
    X, _ = features(40, 300)
    coordinates = SpanOfImages().fit_transform(X)
    assert coordinates.shape[1] <= 40
    np.testing.assert_allclose(coordinates @ coordinates.T, X @ X.T, atol=1e-3 * np.abs(X @ X.T).max())


def test_equal_and_constant_images_leave_fewer_directions_and_no_infinity():
    X = np.repeat(features(6, 50)[0], 4, axis=0)
    coordinates = SpanOfImages().fit_transform(X)
    assert coordinates.shape[1] <= 6
    assert np.isfinite(coordinates).all()


def test_features_without_any_spread_become_nothing_that_is_not_finite():
    span = SpanOfImages().fit(np.zeros((4, 9), dtype=np.float32))
    assert span.transform(np.ones((2, 9), dtype=np.float32)).tolist() == [[1] * 9] * 2


def test_the_recipe_scores_the_same_with_and_without_it_within_the_tolerance_of_its_solver():
    X, y = features(80, 700)
    model, span = LogisticRegression(C=0.01, max_iter=1000), SpanOfImages().fit(X[:60])
    wanted = model.fit(X[:60], y[:60]).predict_proba(X[60:])
    found = model.fit(span.transform(X[:60]), y[:60]).predict_proba(span.transform(X[60:]))
    np.testing.assert_allclose(found, wanted, atol=2e-3)
