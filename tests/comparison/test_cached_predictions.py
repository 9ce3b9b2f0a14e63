from copy import copy

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from sktl import FineTuneRegressor
from sktl.comparison._cached_predictions import CachedPredictions

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2
TEST = X[:20] + 0.1
RESPONSES = ["predict", "predict_proba", "decision_function", "predict_log_proba"]


class Watched(FunctionTransformer):
    """Counts the rows that it is given."""

    n_rows: list = []

    def transform(self, X):
        self.n_rows.append(len(X))
        return X


def fitted(search=False):
    model = make_pipeline(Watched(), LogisticRegression())
    model = GridSearchCV(model, {"logisticregression__C": [0.1, 1.0]}, cv=2) if search else model
    return model.fit(X, Y)


@pytest.mark.parametrize("search", [False, True])
def test_all_responses_come_from_one_pass_through_the_steps_before(search):
    model = fitted(search)
    Watched.n_rows.clear()
    cached = CachedPredictions(model, TEST)
    answers = {name: getattr(cached, name)(TEST) for name in RESPONSES * 2}
    assert Watched.n_rows == [20]
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer, getattr(model, name)(TEST))


def test_what_a_score_writes_into_its_predictions_reaches_no_other():
    cached = CachedPredictions(fitted(), TEST)
    cached.predict(TEST)[:] = 7
    assert set(cached.predict(TEST)) <= {0, 1}
    images = np.random.default_rng(0).random((12, 8, 8))
    regressor = FineTuneRegressor(unfreeze_depth=0).fit(images, np.arange(12.0))
    cached = CachedPredictions(regressor, images)
    before = cached.predict(images)
    cached.predict(images)[:] = 7
    np.testing.assert_array_equal(cached.predict(images), before)


def test_other_images_are_predicted_anew():
    model = fitted()
    cached = CachedPredictions(model, TEST)
    cached.predict_proba(TEST)
    np.testing.assert_array_equal(cached.predict_proba(X), model.predict_proba(X))


def test_a_score_of_ones_own_meets_the_estimator_that_was_fitted():
    model = fitted()
    cached = CachedPredictions(model, TEST)
    assert isinstance(cached, Pipeline)
    assert is_classifier(cached)
    assert cached[-1] is model[-1]
    assert cached.named_steps["logisticregression"].coef_ is model[-1].coef_
    assert repr(cached) == repr(model)
    assert cached.score(TEST, Y[:20]) == model.score(TEST, Y[:20])
    assert type(clone(cached)) is Pipeline
    assert copy(cached) is model
    check_is_fitted(cached)
    assert get_scorer("roc_auc")(cached, TEST, Y[:20]) == get_scorer("roc_auc")(model, TEST, Y[:20])


def test_what_the_estimator_does_not_have_is_not_there():
    cached = CachedPredictions(SVC().fit(X, Y), TEST)
    assert hasattr(cached, "decision_function")
    assert not hasattr(cached, "predict_proba")


class LooksAtImages(FineTuneRegressor):
    """Not the estimator that it inherits from: its predictions want the images."""

    def predict(self, X):
        return super().predict(np.asarray(X)[:, ::-1])


def test_an_estimator_derived_from_ours_is_given_the_images():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    model = LooksAtImages(unfreeze_depth=0).fit(images, np.arange(8.0))
    np.testing.assert_array_equal(CachedPredictions(model, images).predict(images), model.predict(images))


class Breaks(FunctionTransformer):
    def transform(self, X):
        return X.no_such_thing


def test_an_error_inside_of_a_step_is_the_one_that_is_raised():
    pipeline = Pipeline([("breaks", Breaks()), ("last", LogisticRegression().fit(X, Y))])
    with pytest.raises(AttributeError, match="no_such_thing"):
        CachedPredictions(pipeline, TEST).predict(TEST)


def test_a_pipeline_keeps_its_length_and_its_steps_that_do_nothing():
    pipeline = Pipeline([("nothing", "passthrough"), ("last", LogisticRegression().fit(X, Y))])
    cached = CachedPredictions(pipeline, TEST)
    assert len(cached) == 2
    np.testing.assert_array_equal(cached.predict(TEST), pipeline.predict(TEST))
