"""The correction for the choice among networks takes the predictions of their fits."""

import numpy as np
import pytest
from sklearn.metrics import get_scorer, make_scorer, mean_squared_error

from sktl.transferability import _chosen_score, bias_corrected_score
from sktl.transferability._chosen_score import corrected_for_choice


@pytest.fixture
def comparison(make_ranking):
    return make_ranking({"a": (0.8, 0.1), "b": (0.78, 0.1), "c": (0.75, 0.1)}).comparison


def test_accuracy_is_that_of_every_image(comparison):
    found = corrected_for_choice(comparison, ["a", "b", "c"], get_scorer("accuracy"), None)
    right = []
    for name in "abc":
        predicted = comparison.out_of_fold(name)
        right.append((predicted["y_true"] == predicted["y_pred"])[np.argsort(predicted["index"])])
    wanted = bias_corrected_score(np.array(right))
    assert (found.best, found.uncorrected) == (0, pytest.approx(0.8))
    assert (found.score, found.low, found.high) == pytest.approx((wanted.score, wanted.low, wanted.high))


def test_groups_are_drawn_together(comparison):
    alone = corrected_for_choice(comparison, ["a", "b", "c"], get_scorer("accuracy"), None)
    grouped = corrected_for_choice(comparison, ["a", "b", "c"], get_scorer("accuracy"), np.arange(100) // 10)
    assert grouped.score != alone.score


def test_an_error_counts_with_its_sign(comparison, monkeypatch):
    monkeypatch.setattr(_chosen_score, "SOME", 20)
    scorer = make_scorer(mean_squared_error, greater_is_better=False)
    found = corrected_for_choice(comparison, ["a", "b"], scorer, None)
    assert found.uncorrected == pytest.approx(-0.2)
    assert found.score < 0


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro"])
def test_other_scores_are_computed_from_the_predictions(comparison, name, monkeypatch):
    monkeypatch.setattr(_chosen_score, "SOME", 20)
    found = corrected_for_choice(comparison, ["a", "b"], get_scorer(name), None)
    predicted = comparison.out_of_fold("a")
    wanted = get_scorer(name)._score_func(predicted["y_true"], predicted["y_pred"])
    assert found.uncorrected == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("scorer", ["roc_auc", "neg_log_loss"])
def test_scores_of_probabilities_are_not_told_by_predictions(comparison, scorer):
    assert corrected_for_choice(comparison, ["a", "b"], get_scorer(scorer), None) is None


def test_a_single_network_is_not_chosen(comparison):
    assert corrected_for_choice(comparison, ["a"], get_scorer("accuracy"), None) is None


def test_a_score_of_whole_folds_alone_is_not_corrected(comparison):
    def of_a_fold(y_true, y_pred):
        if len(y_true) != 20:
            raise ValueError("a fold, please")
        return np.mean(y_true == y_pred)

    assert corrected_for_choice(comparison, ["a", "b"], make_scorer(of_a_fold), None) is None
