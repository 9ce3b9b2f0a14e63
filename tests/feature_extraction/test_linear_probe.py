"""LinearProbeClassifier and LinearProbeRegressor beside oracles, weights, dead features and probabilities."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import LinearProbeClassifier, LinearProbeRegressor
from sktl.feature_extraction.probes import classification_probe, regression_probe
from sktl.feature_extraction.ridge import fit_ridge, scalings


def classes(n_classes=3, n_rows=60, n_features=100, noise=0.1):
    X, y = make_classification(
        n_rows, n_features, n_informative=8, n_classes=n_classes, class_sep=1.5, flip_y=noise, random_state=0
    )
    return X, np.array(["ant", "bee", "cat", "dog"])[y]


def numbers():
    return make_regression(60, 100, n_informative=10, noise=20.0, random_state=0)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_labels_are_those_of_scikit_learns_ridge_on_scaled_features(n_classes):
    X, y = classes(n_classes)
    model = LinearProbeClassifier().fit(X, y)
    unseen = np.random.default_rng(1).normal(size=(200, 100)) * X.std(axis=0)
    oracles = [
        RidgeClassifier(alpha=model.alpha_ * len(X)).fit(X / scale, y).predict(unseen / scale)
        for scale in scalings(X, np.ones(len(X)))
    ]
    assert any((model.predict(unseen) == labels).all() for labels in oracles)
    assert set(model.predict(unseen)) == set(y)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_have_the_steepness_of_least_log_loss_for_images_left_out(n_classes):
    X, y = classes(n_classes)
    labels = np.unique(y, return_inverse=True)[1]
    coef, intercept, _ = classification_probe(X, labels, np.ones(len(y)), n_classes)
    fit = fit_ridge(X, np.eye(n_classes)[labels], np.ones(len(y)), one_strength=True)
    steepness = coef[0, 0] / fit.coef[0, 0]
    assert_allclose(coef, steepness * fit.coef)
    assert_allclose(intercept, steepness * fit.intercept)

    def loss(factor):
        logs = log_softmax(factor * fit.left_out, axis=1)
        return -(logs[np.arange(len(y)), labels].sum() + logs.mean()) / (len(y) + 1)

    around = [loss(steepness * factor) for factor in (0.5, 0.95, 1.0, 1.05, 2.0)]
    assert min(around) == around[2]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_the_softmax_of_the_scores(n_classes):
    X, y = classes(n_classes)
    model = LinearProbeClassifier().fit(X, y)
    scores = X @ model.coef_.T + model.intercept_
    if n_classes == 2:
        scores = np.concatenate([0 * scores, scores], axis=1)
    assert_allclose(model.predict_log_proba(X), log_softmax(scores, axis=1), rtol=1e-10, atol=1e-12)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])


def test_probabilities_are_neither_too_sure_nor_too_unsure():
    X, y = classes(3, n_rows=300, noise=0.3)
    ours = cross_val_predict(LinearProbeClassifier(), X, y, method="predict_proba")
    usual = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    assert log_loss(y, ours) < log_loss(y, cross_val_predict(usual, X, y, method="predict_proba"))
    assert abs(ours.max(axis=1).mean() - np.mean(np.unique(y)[ours.argmax(axis=1)] == y)) < 0.06


def test_classes_far_apart_leave_a_doubt_as_one_image_more_would():
    X = np.concatenate([np.zeros((5, 3)), np.ones((5, 3))]) + 1e-3 * np.random.default_rng(0).normal(size=(10, 3))
    probabilities = LinearProbeClassifier().fit(X, np.arange(10) // 5).predict_proba(X)
    assert 0.005 < probabilities.min() < 0.1


def dead(X, size, rng):
    """Return a feature that hardly varies in training, and what it is in a test image that wakes it."""
    return size * rng.normal(size=(len(X), 5)), rng.normal(size=(50, 5))


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-8, 1e-15, 0.0])
def test_features_that_were_nearly_dead_in_training_do_not_drown_the_others(size):
    rng = np.random.default_rng(0)
    X, y = numbers()
    unseen = rng.normal(size=(50, 100))
    asleep, awake = dead(X, size, rng)
    wide, woken = np.concatenate([X, asleep], axis=1), np.concatenate([unseen, awake], axis=1)
    without, with_ = LinearProbeRegressor().fit(X, y), LinearProbeRegressor().fit(wide, y)
    # Five more features among a hundred that do vary would change as much.
    assert np.abs(with_.predict(woken) - without.predict(unseen)).max() < np.std(y)
    labels = (y > 0).astype(int)
    scores = [
        LinearProbeClassifier().fit(*data).decision_function(seen)
        for data, seen in (((X, labels), unseen), ((wide, labels), woken))
    ]
    assert np.abs(scores[1] - scores[0]).max() < 2 * np.abs(scores[0]).max()
    if 0 < size < 1e-3:
        usual = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 4, 11))).fit(wide, y)
        assert np.abs(usual.predict(woken) - without.predict(unseen)).max() > 100 * np.std(y)


MODELS = {
    "two classes": (LinearProbeClassifier(), classes(2)),
    "three classes": (LinearProbeClassifier(), classes(3)),
    "balanced": (LinearProbeClassifier(class_weight="balanced"), classes(3)),
    "more images than features": (LinearProbeClassifier(), classes(3, 60, 12)),
    "numbers": (LinearProbeRegressor(), numbers()),
    "several numbers": (LinearProbeRegressor(), (numbers()[0], np.stack([numbers()[1], numbers()[0][:, 0]], axis=1))),
}
SEVERAL = [pytest.param(*case, id=name) for name, case in MODELS.items()]


@pytest.mark.parametrize(("model", "data"), SEVERAL)
def test_weights_are_copies_and_weights_of_zero_are_images_left_away(model, data):
    X, y = data
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = clone(model).fit(X, y, sample_weight=weights)
    order = np.random.default_rng(1).permutation(weights.sum())
    copied = clone(model).fit(np.repeat(X, weights, axis=0)[order], np.repeat(y, weights, axis=0)[order])
    scaled = clone(model).fit(X, y, sample_weight=1e-3 * weights)
    assert_allclose(copied.coef_, weighted.coef_, rtol=1e-5, atol=1e-9)
    assert_allclose(copied.intercept_, weighted.intercept_, rtol=1e-5, atol=1e-9)
    assert_allclose(scaled.coef_, weighted.coef_, rtol=1e-5, atol=1e-9)
    assert not np.allclose(clone(model).fit(X, y).coef_, weighted.coef_, rtol=1e-2)


@pytest.mark.parametrize(("model", "data"), SEVERAL)
def test_a_second_fit_gives_the_same_bits_and_float32_nearly_the_same(model, data):
    X, y = data
    first, second, short = clone(model).fit(X, y), clone(model).fit(X, y), clone(model).fit(X.astype(np.float32), y)
    assert first.coef_.tobytes() == second.coef_.tobytes()
    assert_allclose(short.coef_, first.coef_, rtol=1e-3, atol=1e-5 * np.abs(first.coef_).max())


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_units_of_features_do_not_matter(factor):
    X, y = classes(3)
    plain, other = (LinearProbeClassifier().fit(times * X, y).predict_proba(times * X) for times in (1.0, factor))
    assert_allclose(other, plain, rtol=1e-6)


def test_each_target_is_fitted_as_if_it_were_alone():
    X, y = numbers()
    both = LinearProbeRegressor().fit(X, np.stack([y, 1e6 * X[:, 0]], axis=1))
    alone = LinearProbeRegressor().fit(X, y)
    assert (both.coef_.shape, alone.coef_.shape, np.ndim(alone.intercept_)) == ((2, 100), (100,), 0)
    assert_allclose(both.coef_[0], alone.coef_, rtol=1e-9)
    assert_allclose(both.predict(X)[:, 0], alone.predict(X), rtol=1e-9)
    assert both.alpha_[0] == pytest.approx(alone.alpha_)
    assert both.alpha_[0] != both.alpha_[1]


def test_balanced_classes_weigh_the_same_and_dictionaries_multiply_weights():
    X, y = load_iris(return_X_y=True)
    X, y = X[40:130], np.array(["a", "b", "c"])[y[40:130]]
    _, counts = np.unique(y, return_counts=True)
    balanced = LinearProbeClassifier(class_weight="balanced").fit(X, y)
    by_hand = LinearProbeClassifier(class_weight=dict(zip("abc", 1 / counts, strict=True))).fit(X, y)
    assert_allclose(by_hand.coef_, balanced.coef_, rtol=1e-6)
    weighted = LinearProbeClassifier(class_weight={"a": 3.0}).fit(X, y, sample_weight=np.full(90, 2.0))
    assert_allclose(LinearProbeClassifier().fit(X, y, np.where(y == "a", 3, 1)).coef_, weighted.coef_, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, np.r_[np.ones(30), np.zeros(30)]])
def test_one_class_is_an_error(weights):
    X, y = classes(2)
    y = np.sort(y) if weights is not None else np.full(60, "ant")
    with pytest.raises(
        ValueError, match=r"^y must hold 2 classes or more, with positive weights\. Got 1 class instead\."
    ):
        LinearProbeClassifier().fit(X, y, weights)


def test_probes_on_arrays_give_a_row_to_a_class_that_is_not_there():
    X, y = classes(2)
    labels = 2 * np.unique(y, return_inverse=True)[1]
    coef, intercept, _ = classification_probe(X, labels, np.ones(60), 3)
    assert (coef.shape, intercept.shape) == ((3, 100), (3,))
    assert 1 not in (X @ coef.T + intercept).argmax(axis=1)


def test_probes_on_arrays_are_the_estimators():
    X, y = numbers()
    coef, intercept, _ = regression_probe(X, y[:, None], np.ones(60))
    model = LinearProbeRegressor().fit(X, y)
    assert_array_equal(coef[0], model.coef_)
    assert intercept[0] == model.intercept_


@pytest.mark.parametrize("n_rows", [1, 2, 60])
def test_a_constant_target_is_predicted_everywhere(n_rows):
    X, _ = numbers()
    model = LinearProbeRegressor().fit(X[:n_rows], np.full(n_rows, 3.5))
    assert_allclose(model.predict(100 * X), 3.5, rtol=1e-9)


def test_weights_of_zero_alone_are_an_error():
    X, y = numbers()
    with pytest.raises(ValueError, match="non-zero number"):
        LinearProbeRegressor().fit(X, y, np.zeros(60))
