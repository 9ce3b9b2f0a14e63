import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl.displays import DepthSweepDisplay


class Deep(ClassifierMixin, BaseEstimator):
    """Stands for a network: predicts better with depth, and fails on demand."""

    def __init__(self, unfreeze_depth=1, rate=0.0, fails=()):
        self.unfreeze_depth = unfreeze_depth
        self.rate = rate
        self.fails = fails

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        depth = 4 if self.unfreeze_depth == "all" else self.unfreeze_depth
        right = X[:, 0].astype(int)
        return np.where(X[:, 1] < depth / 5 + self.rate, right, 1 - right)


def data():
    y = np.arange(60) % 2
    return np.column_stack([y, np.random.default_rng(0).uniform(size=60)]), y


def search(grid, kind=GridSearchCV, estimator=None, **options):
    return kind(estimator or Deep(), grid, cv=3, **options).fit(*data())


def test_scores_are_those_of_the_search_with_all_at_the_end():
    fitted = search({"unfreeze_depth": ["all", 2, 0]})
    display = DepthSweepDisplay.from_search(fitted)
    assert display.depths == [0, 2, "all"]
    results = pd.DataFrame(fitted.cv_results_)
    for place, depth in enumerate(display.depths):
        row = results[results.param_unfreeze_depth == depth].iloc[0]
        np.testing.assert_allclose(display.scores[place], [row[f"split{split}_test_score"] for split in range(3)])
        assert display.fit_seconds[place] == row.mean_fit_time


def test_of_other_parameters_the_best_is_shown_at_each_depth_and_the_title_says_so():
    fitted = search({"unfreeze_depth": [0, 1], "rate": [0.0, 0.2, 0.1]})
    display = DepthSweepDisplay.from_search(fitted)
    assert display.settings == [{"rate": 0.2}, {"rate": 0.2}]
    best = pd.DataFrame(fitted.cv_results_).groupby("param_unfreeze_depth").mean_test_score.max()
    np.testing.assert_allclose(display.scores.mean(axis=1), best)
    assert "best setting at each depth" in display.plot().axes_[0].get_title(loc="left")
    assert display.frame().rate.tolist() == [0.2] * 6
    alone = DepthSweepDisplay.from_search(search({"unfreeze_depth": [0, 1]})).plot()
    assert "best" not in alone.axes_[0].get_title(loc="left")


def test_a_setting_that_failed_is_not_the_best():
    fitted = search({"unfreeze_depth": [0, 1], "rate": [0.0, 0.1]})
    fitted.cv_results_["mean_test_score"][2:] = np.nan
    assert DepthSweepDisplay.from_search(fitted).settings == [{"rate": 0.0}] * 2


def test_depths_that_were_not_tried_are_left_out():
    fitted = search(
        {"unfreeze_depth": [0, 1, 2, "all"], "rate": [0.0, 0.1]}, RandomizedSearchCV, n_iter=2, random_state=0
    )
    tried = {params["unfreeze_depth"] for params in fitted.cv_results_["params"]}
    display = DepthSweepDisplay.from_search(fitted).plot()
    assert set(display.depths) == tried
    assert len(display.frame()) == 3 * len(tried)


def test_nested_depths_and_grids_that_are_lists_are_found():
    pipeline = make_pipeline(StandardScaler(with_mean=False, with_std=False), Deep())
    fitted = search([{"deep__unfreeze_depth": [0, 1]}, {"deep__rate": [0.1]}], estimator=pipeline)
    display = DepthSweepDisplay.from_search(fitted)
    assert display.depths == [0, 1]
    assert np.isfinite(display.scores).all()


def test_several_metrics():
    fitted = search({"unfreeze_depth": [0, 1]}, scoring=["f1", "accuracy"], refit="accuracy")
    assert DepthSweepDisplay.from_search(fitted).scoring == "accuracy"
    display = DepthSweepDisplay.from_search(fitted, metric="f1")
    np.testing.assert_allclose(display.scores.mean(axis=1), fitted.cv_results_["mean_test_f1"])
    with pytest.raises(
        ValueError, match=r"must be one of f1, accuracy\. Got 'acuracy' instead\. Did you mean 'accuracy'"
    ):
        DepthSweepDisplay.from_search(fitted, metric="acuracy")


def test_of_a_search_that_halves_the_round_counts_in_which_all_have_the_same_images():
    fitted = search({"unfreeze_depth": [0, 1, 2, 3]}, HalvingGridSearchCV, random_state=0, factor=2)
    display = DepthSweepDisplay.from_search(fitted)
    assert fitted.n_iterations_ > 1
    np.testing.assert_allclose(display.scores.mean(axis=1), fitted.cv_results_["mean_test_score"][:4])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (LogisticRegression, TypeError, "must be a fitted search"),
        (lambda: GridSearchCV(Deep(), {"unfreeze_depth": [0]}), NotFittedError, "not fitted"),
        (lambda: search({"rate": [0.1]}), ValueError, "Got only rate instead"),
    ],
)
def test_what_is_no_sweep_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        DepthSweepDisplay.from_search(make())


def test_an_unknown_parameter_is_refused():
    fitted = search({"unfreeze_depth": [0, 1]})
    with pytest.raises(ValueError, match="Did you mean 'unfreeze_depth'"):
        DepthSweepDisplay.from_search(fitted, parameter="unfreeze_dept")


def test_points_are_folds_and_the_line_is_their_mean():
    display = DepthSweepDisplay.from_search(search({"unfreeze_depth": [0, 1, "all"]})).plot()
    left, right = display.axes_
    points = [line for line in left.get_lines() if line.get_linestyle() == "None"]
    np.testing.assert_allclose(np.column_stack([line.get_ydata() for line in points]), display.scores)
    (mean,) = (line for line in left.get_lines() if line.get_linestyle() == "-")
    np.testing.assert_allclose(mean.get_ydata(), display.scores.mean(axis=1))
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "1", "all"]
    assert right.get_ylabel() == "mean seconds to fit"


def test_one_axes_is_divided_and_a_pair_is_taken():
    display = DepthSweepDisplay.from_search(search({"unfreeze_depth": [0, 1]}))
    figure, ax = plt.subplots()
    assert display.plot(ax=ax).figure_ is figure
    _, pair = plt.subplots(2, 1)
    assert display.plot(ax=pair).axes_[1] is pair[1]
    with pytest.raises(ValueError, match="one Axes or a pair"):
        display.plot(ax=plt.subplots(1, 3)[1])


def test_frame_has_a_row_for_each_fit():
    frame = DepthSweepDisplay.from_search(search({"unfreeze_depth": [0, "all"]})).frame()
    assert list(frame.columns) == ["depth", "split", "score", "fit_seconds"]
    assert frame.depth.tolist() == [0, 0, 0, "all", "all", "all"]
