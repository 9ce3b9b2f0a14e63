"""Softened targets, teachers, several labels at once, and the odd shapes that real labels take."""

import numpy as np
import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils import estimator_checks
from torch.nn import functional

from sktl import FineTuneClassifier, FineTuneRegressor, LinearProbeClassifier, PretrainedFeatureExtractor

QUICK = {"max_epochs": 2, "augment": None, "learning_rate": 1e-2, "random_state": 0}


class Recorder(skorch.callbacks.Callback):
    """Keep inputs, targets of the loss, outputs and the loss of each step."""

    steps: list = []

    def on_batch_end(self, net, batch=None, training=False, loss=None, y_pred=None, **kwargs):
        if training:
            self.steps.append((batch[0], batch[0]["targets"], y_pred.detach(), loss.item()))


@pytest.fixture
def recorder():
    Recorder.steps = []
    return Recorder()


class Oracle(ClassifierMixin, BaseEstimator):
    """Knows the brightness of a picture and calls it a probability; its classes stand in an order of its own."""

    def __init__(self, classes=("dog", "cat")):
        self.classes = classes

    def fit(self, X, y=None):
        self.classes_ = np.array(self.classes)
        return self

    def predict_proba(self, X):
        bright = np.asarray(X).mean((1, 2, 3)) / 255
        return np.c_[bright, 1 - bright]


# label_smoothing and teacher


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_the_smoothed_loss_is_that_of_torch(three_patterns, recorder, mixup):
    X, y = three_patterns
    weights = np.linspace(0.5, 2, len(y))
    model = FineTuneClassifier(label_smoothing=0.2, mixup=mixup, callbacks=[recorder], **QUICK)
    model.fit(X, y, sample_weight=weights)
    assert len(recorder.steps) == 2
    for inputs, targets, outputs, loss in recorder.steps:
        shares = targets if mixup else functional.one_hot(targets, 3).float()
        smooth = 0.8 * shares + 0.2 / 3
        expected = -(smooth * outputs.log_softmax(1)).sum(1) * inputs["sample_weight"]
        assert_allclose(loss, expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_the_loss_of_a_student_is_labels_and_divergence_from_the_teacher(patterns, recorder, mixup):
    X, y = patterns
    names = np.array(["cat", "dog"])[y]
    share, temperature = 0.7, 3.0
    model = FineTuneClassifier(
        teacher=Oracle().fit(X), alpha=share, temperature=temperature, mixup=mixup, callbacks=[recorder], **QUICK
    ).fit(X, names)
    assert_array_equal(model.classes_, ["cat", "dog"])
    bright = np.sort(X.mean((1, 2, 3)) / 255)
    soft = torch.as_tensor(np.log(np.c_[1 - bright, bright]) / temperature).softmax(1)
    inputs, targets, outputs, loss = recorder.steps[0]
    if not mixup:
        order = inputs["teacher"][:, 1].argsort()
        assert_allclose(inputs["teacher"][order], soft, atol=1e-6)
    teacher = inputs["teacher"]
    divergence = functional.kl_div((outputs / temperature).log_softmax(1), teacher, reduction="none").sum(1)
    entropy = -(teacher * teacher.log()).sum(1)
    labels = functional.cross_entropy(outputs, targets, reduction="none")
    expected = (1 - share) * labels + share * temperature**2 * (divergence + entropy)
    assert_allclose(loss, expected.mean(), rtol=1e-5)


@pytest.mark.slow
def test_a_student_with_no_share_for_the_labels_learns_what_the_teacher_says(patterns):
    X, y = patterns
    teacher = FineTuneClassifier(unfreeze_depth=0).fit(X, y)
    wrong = np.random.default_rng(0).permutation(y)
    settings = {"max_epochs": 60, "learning_rate": 1e-2, "random_state": 0}
    student = FineTuneClassifier(teacher=teacher, alpha=1.0, **settings).fit(X, wrong)
    assert (student.predict(X) == teacher.predict(X)).mean() > 0.95
    alone = FineTuneClassifier(**settings).fit(X, wrong)
    assert (alone.predict(X) == teacher.predict(X)).mean() < 0.8


def test_a_teacher_without_a_share_changes_nothing(patterns):
    X, y = patterns
    teacher = FineTuneClassifier(unfreeze_depth=0).fit(X, y)
    alone = FineTuneClassifier(**QUICK).fit(X, y)
    taught = FineTuneClassifier(teacher=teacher, alpha=0.0, **QUICK).fit(X, y)
    assert_array_equal(alone.predict_proba(X), taught.predict_proba(X))


def test_a_teacher_at_depth_0_has_something_to_teach(patterns):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=0, teacher=FineTuneClassifier(unfreeze_depth=0).fit(X, y), **QUICK)
    assert len(model.fit(X, y).history_) == 2


def test_weights_count_as_copies_for_a_student_too(patterns):
    X, y = patterns
    names = np.array(["cat", "dog"])[y]
    weights = np.random.default_rng(0).integers(0, 3, len(y))
    model = FineTuneClassifier(teacher=FrozenEstimator(Oracle().fit(X)), label_smoothing=0.1, **QUICK)
    weighted = clone(model).fit(X, names, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(names, weights))
    assert_array_equal(weighted.predict_proba(X), repeated.predict_proba(X))


def test_a_teacher_that_is_not_fitted_is_told_of_frozen_estimator(patterns):
    X, y = patterns
    with pytest.raises(NotFittedError, match=r"FrozenEstimator\(teacher\)"):
        FineTuneClassifier(teacher=FineTuneClassifier(), **QUICK).fit(X, y)
    teacher = FineTuneClassifier(unfreeze_depth=0).fit(X, y)
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        cross_val_score(FineTuneClassifier(teacher=teacher, **QUICK), X, y, cv=2, error_score="raise")
    scores = cross_val_score(FineTuneClassifier(teacher=FrozenEstimator(teacher), **QUICK), X, y, cv=2)
    assert np.isfinite(scores).all()


def test_a_teacher_of_other_classes_is_refused(patterns, three_patterns):
    teacher = FineTuneClassifier(unfreeze_depth=0).fit(*three_patterns)
    with pytest.raises(ValueError, match=r"teacher must know the classes \[0, 1\].*\[0, 1, 2\]"):
        FineTuneClassifier(teacher=teacher, **QUICK).fit(*patterns)


# several labels at once


@pytest.fixture
def several():
    """Pictures with up to three coloured bars, and which of them each has."""
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (40, 3))
    X = rng.integers(0, 60, (40, 16, 16, 3))
    for image, row in zip(X, Y, strict=True):
        for k in np.flatnonzero(row):
            image[:, 5 * k : 5 * k + 4, k] += 180
    return X.astype(np.uint8), Y


@pytest.mark.parametrize("depth", [0, 1])
def test_several_labels_come_back_as_an_indicator_matrix(several, depth):
    X, Y = several
    model = FineTuneClassifier(unfreeze_depth=depth, **QUICK).fit(X, Y)
    predicted, probabilities = model.predict(X), model.predict_proba(X)
    assert predicted.shape == probabilities.shape == model.decision_function(X).shape == Y.shape
    assert predicted.dtype.kind == "i"
    assert_array_equal(model.classes_, [0, 1, 2])
    assert_array_equal(predicted, (probabilities > 0.5).astype(int))
    assert_allclose(probabilities, 1 / (1 + np.exp(-model.decision_function(X))))
    assert model.score(X, Y) == accuracy_score(Y, predicted) > 0.7


@pytest.mark.parametrize("depth", [0, 1])
def test_sparse_and_dense_matrices_give_the_same_network(several, depth):
    X, Y = several
    model = FineTuneClassifier(unfreeze_depth=depth, **QUICK)
    dense, sparse = clone(model).fit(X, Y), clone(model).fit(X, csr_matrix(Y))
    assert_array_equal(dense.predict_proba(X), sparse.predict_proba(X))
    assert sparse.score(X, csr_matrix(Y)) == dense.score(X, Y)


def test_depth_0_is_one_linear_probe_per_label(several):
    X, Y = several
    weights = np.linspace(0.5, 1.5, len(Y))
    features = PretrainedFeatureExtractor().fit_transform(X)
    oracle = OneVsRestClassifier(LinearProbeClassifier()).fit(features, Y)
    model = FineTuneClassifier(unfreeze_depth=0).fit(X, Y)
    assert_allclose(model.predict_proba(X), oracle.predict_proba(features), atol=1e-5)
    single = LinearProbeClassifier().fit(features, Y[:, 1], sample_weight=weights)
    weighted = model.fit(X, Y, sample_weight=weights).predict_proba(X)[:, 1]
    assert_allclose(weighted, single.predict_proba(features)[:, 1], atol=1e-5)


@pytest.mark.parametrize("depth", [0, 1])
def test_a_label_that_all_or_none_have_is_predicted_so(several, depth):
    X, Y = several
    Y = np.c_[Y, np.zeros(40, dtype=int), np.ones(40, dtype=int)]
    predicted = FineTuneClassifier(unfreeze_depth=depth, **QUICK).fit(X, Y).predict(X)
    assert_array_equal(predicted[:, 3:], Y[:, 3:])


def test_the_loss_of_several_labels_is_binary_cross_entropy(several, recorder):
    X, Y = several
    FineTuneClassifier(callbacks=[recorder], mixup=0.3, **QUICK).fit(X, Y)
    for _, targets, outputs, loss in recorder.steps:
        yes, no = (sign * outputs.double() for sign in (1, -1))
        losses = -(targets * yes.sigmoid().log() + (1 - targets) * no.sigmoid().log())
        assert len(losses) == 20
        assert_allclose(loss, losses.mean(), rtol=1e-4)


@pytest.mark.parametrize("knob", [{"class_weight": "balanced"}, {"label_smoothing": 0.1}, {"teacher": Oracle()}])
def test_what_needs_one_label_per_image_is_refused(several, knob):
    with pytest.raises(ValueError, match=f"{next(iter(knob))} must be .* when an image may have several labels"):
        FineTuneClassifier(**knob, **QUICK).fit(*several)


def test_going_on_with_a_matrix_of_other_values_is_refused(several):
    X, Y = several
    model = FineTuneClassifier(**QUICK).fit(X, Y)
    for other in (3 * Y, 2 * Y - 1, Y + np.arange(3), Y.astype(str)):
        with pytest.raises(ValueError, match=r"matrix of zeros and ones .*Got a matrix of shape \(40, 3\)"):
            model.partial_fit(X, other)


def test_several_labels_can_be_stopped_early_and_gone_on_with(several):
    X, Y = several
    model = FineTuneClassifier(early_stopping=True, refit=True, n_views=1, **{**QUICK, "augment": "light"}).fit(X, Y)
    assert model.partial_fit(X, csr_matrix(Y)).predict(X).shape == Y.shape
    with pytest.raises(ValueError, match="must have 3 columns"):
        model.partial_fit(X, Y[:, :2])
    with pytest.raises(ValueError, match="columns as before"):
        model.partial_fit(X, Y[:, 0])


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_classifiers_multilabel_representation_invariance,
        estimator_checks.check_classifiers_multilabel_output_format_predict,
        estimator_checks.check_classifiers_multilabel_output_format_predict_proba,
        estimator_checks.check_classifiers_multilabel_output_format_decision_function,
    ],
    ids=lambda check: check.__name__[6:],
)
@pytest.mark.parametrize("depth", [0, 1])
def test_passes_the_checks_of_scikit_learn(check, depth):
    check("FineTuneClassifier", FineTuneClassifier(unfreeze_depth=depth, max_epochs=2))


def test_whoever_predicts_before_fit_is_told(several):
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(FineTuneClassifier(), method)(several[0])


# labels as they come


@pytest.mark.parametrize("depth", [0, 1])
def test_words_as_labels_of_unequal_classes_are_cross_validated(patterns, depth):
    X, y = patterns
    keep = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:4]]
    names = np.array(["common", "rare"])[y[keep]]
    model = FineTuneClassifier(unfreeze_depth=depth, class_weight="balanced", **QUICK)
    assert_array_equal(cross_val_score(model, X[keep], names, cv=2, scoring="balanced_accuracy"), 1.0)


@pytest.mark.slow
def test_a_class_that_one_fold_does_not_have_is_cross_validated(three_patterns):
    X, y = three_patterns
    keep = np.r_[np.flatnonzero(y < 2)[:16], np.flatnonzero(y == 2)[:2]]
    model = FineTuneClassifier(**QUICK)
    with pytest.warns(UserWarning, match="least populated class"):
        assert np.isfinite(cross_val_score(model, X[keep], y[keep], cv=3)).all()
    # Without strata the class is in one test fold only, where it cannot be got right.
    scores = cross_val_score(model, X[keep], y[keep], cv=KFold(9))
    assert scores[-1] == 0.0
    assert scores[:-1].mean() > 0.9


@pytest.mark.parametrize("settings", [{"unfreeze_depth": 0}, {}, {"early_stopping": True, "refit": True}])
def test_three_images_per_class_are_enough_to_run(three_patterns, settings):
    X, y = three_patterns
    model = FineTuneClassifier(**settings, **QUICK).fit(X[:9], y[:9])
    assert_array_equal(model.classes_, [0, 1, 2])
    assert model.score(X[9:], y[9:]) > 0.5


@pytest.mark.parametrize("Estimator", [FineTuneClassifier, FineTuneRegressor])
def test_a_missing_target_is_an_error(patterns, Estimator):
    X, y = patterns
    with pytest.raises(ValueError, match="Input y contains NaN"):
        Estimator(**QUICK).fit(X, np.where(y, np.nan, 1.0))


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_a_constant_target_is_predicted_or_refused(patterns, depth):
    X, _ = patterns
    settings = {"unfreeze_depth": depth, "image_size": 24, **QUICK}
    assert_allclose(FineTuneRegressor(**settings).fit(X, np.full(24, -3.5)).predict(X), -3.5, rtol=1e-6)
    with pytest.raises(ValueError, match="at least two classes"):
        FineTuneClassifier(**settings).fit(X, ["same"] * 24)
