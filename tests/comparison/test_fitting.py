import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sktl import FineTuneClassifier
from sktl.comparison._fitting import FitTask, fit_and_score
from sktl.comparison._records import FitRecord
from sktl.training import FrozenPart

X, Y = load_digits().data[:60], load_digits().target[:60] % 3
TRAIN, TEST = np.arange(40), np.arange(40, 60)


def fit(estimator, y=Y, scoring=("accuracy",), X=X):
    scorers = {name: get_scorer(name) for name in scoring}
    run, error = fit_and_score(FitTask("it", 0, estimator, TRAIN, TEST, 3, scorers), X, y)
    if error is not None:
        raise error
    return run


class Tally(ClassifierMixin, BaseEstimator):
    """Counts how often it is asked."""

    asked: list = []

    def fit(self, X, y):
        self.model_ = GaussianNB(var_smoothing=1e-2).fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        self.asked.append("predict")
        return self.model_.predict(X)

    def predict_proba(self, X):
        self.asked.append("predict_proba")
        return self.model_.predict_proba(X)


class Halves(StandardScaler):
    """Counts how often it transforms after fitting."""

    asked: list = []

    def transform(self, X, copy=None):
        self.asked.append(len(X))
        return super().transform(X, copy)


def test_several_scores_ask_for_predictions_once():
    Tally.asked.clear()
    several = fit(Tally(), scoring=("accuracy", "balanced_accuracy", "neg_log_loss", "f1_macro"))
    assert sorted(Tally.asked) == ["predict", "predict_proba"]
    model = Tally().fit(X[TRAIN], Y[TRAIN])
    for name, score in several.scores.items():
        assert score == get_scorer(name)(model, X[TEST], Y[TEST])


def test_a_pipeline_transforms_the_test_images_once():
    Halves.asked.clear()
    model = make_pipeline(Halves(), LogisticRegression(max_iter=1000))
    run = fit(model, scoring=("accuracy", "neg_log_loss"))
    assert Halves.asked.count(len(TEST)) == 1
    model.fit(X[TRAIN], Y[TRAIN])
    assert run.predicted == model.predict(X[TEST]).tolist()
    np.testing.assert_array_equal(run.confidence, model.predict_proba(X[TEST]).max(axis=1))


def test_a_trained_network_computes_the_outputs_of_the_test_images_once(monkeypatch):
    calls = []
    predict = FrozenPart.predict
    monkeypatch.setattr(
        FrozenPart, "predict", lambda self, images, **how: calls.append(len(images)) or predict(self, images, **how)
    )
    model = FineTuneClassifier(max_epochs=1)
    run = fit(model, scoring=("accuracy", "neg_log_loss"))
    assert calls == [20]
    model.set_params(random_state=3).fit(X[TRAIN], Y[TRAIN])
    assert run.predicted == model.predict(X[TEST]).tolist()
    np.testing.assert_array_equal(run.confidence, model.predict_proba(X[TEST]).max(axis=1))


@pytest.mark.parametrize("labels", [Y, Y.astype(float), Y == 1, np.array([f"digit {label}" for label in Y])])
def test_predictions_are_kept_in_plain_python_with_their_probabilities(labels):
    model = GaussianNB(var_smoothing=1e-2)
    run = fit(model, y=labels)
    model.fit(X[TRAIN], labels[TRAIN])
    assert run.predicted == model.predict(X[TEST]).tolist()
    assert accuracy_score(labels[TEST], run.predicted) == run.scores["accuracy"]
    np.testing.assert_array_equal(run.confidence, model.predict_proba(X[TEST]).max(axis=1))
    assert FitRecord(**json.loads(json.dumps(asdict(run)))) == run


@pytest.mark.parametrize("scoring", [("accuracy", "neg_log_loss"), ("neg_log_loss", "accuracy")])
def test_methods_that_ask_each_other_and_write_into_the_answer_do_no_harm(scoring):
    model = LogisticRegression(max_iter=2000)  # its probabilities overwrite its decision function
    run = fit(model, scoring=scoring)
    model.fit(X[TRAIN], Y[TRAIN])
    assert run.scores == {name: get_scorer(name)(model, X[TEST], Y[TEST]) for name in scoring}
    np.testing.assert_array_equal(run.confidence, model.predict_proba(X[TEST]).max(axis=1))


@pytest.mark.parametrize("model", [RidgeClassifier(), SVC()])
def test_without_probabilities_there_is_no_confidence(model):
    run = fit(model)
    assert run.confidence is None
    assert len(run.predicted) == len(TEST)


class Shy(Tally):
    """Has probabilities that it does not give, or gives in another form."""

    def __init__(self, answer=None):
        self.answer = answer

    def predict_proba(self, X):
        if self.answer is None:
            raise RuntimeError("needs probability=True")
        return self.answer


@pytest.mark.parametrize("answer", [None, 0.5, np.zeros((3, 3)), np.zeros((20, 1))])
def test_probabilities_that_are_not_to_be_had_do_no_harm(answer):
    run = fit(Shy(answer))
    assert run.confidence is None
    assert run.scores == fit(GaussianNB(var_smoothing=1e-2)).scores


def test_a_frozen_estimator_is_compared_and_left_as_it_was():
    model = LogisticRegression(max_iter=2000).fit(X[TRAIN], Y[TRAIN])
    for frozen in FrozenEstimator(model), make_pipeline(StandardScaler(with_std=False), FrozenEstimator(model)):
        before = [dict(vars(part)) for part in (frozen, model)]
        run = fit(frozen, scoring=("accuracy", "neg_log_loss"))
        assert [dict(vars(part)) for part in (frozen, model)] == before
        assert len(run.predicted) == len(TEST)
    assert fit(FrozenEstimator(model)).predicted == model.predict(X[TEST]).tolist()


class Several(RegressorMixin, BaseEstimator):
    """Predicts a matrix."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros((len(X), 2))


def test_predictions_of_another_kind_are_not_kept():
    def zero(estimator, X, y):
        return 0.0

    run, _ = fit_and_score(FitTask("it", 0, Several(), TRAIN, TEST, 3, {"zero": zero}), X, Y)
    assert (run.predicted, run.confidence, run.scores) == (None, None, {"zero": 0.0})


def test_numbers_are_kept_as_they_are():
    y = X.mean(axis=1)
    run = fit(Ridge(), y=y, scoring=("r2", "neg_mean_absolute_error"))
    assert run.predicted == Ridge().fit(X[TRAIN], y[TRAIN]).predict(X[TEST]).tolist()
    assert -run.scores["neg_mean_absolute_error"] == pytest.approx(np.abs(y[TEST] - run.predicted).mean())


def test_an_error_is_told_in_words_and_returned():
    run, error = fit_and_score(FitTask("it", 4, SVC(C=-1), TRAIN, TEST, 3, {"accuracy": get_scorer("accuracy")}), X, Y)
    assert isinstance(error, ValueError)
    assert run.error.startswith("InvalidParameterError: The 'C' parameter")
    assert (run.candidate, run.split, run.scores) == ("it", 4, {})
