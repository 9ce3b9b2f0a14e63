"""A comparison that goes on with further candidates is the comparison that had them from the start."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from sktl.comparison import CandidateFailedWarning, compare_transfer
from sktl.comparison.further_candidates import share_missing, with_candidates

X, Y = (part[:60] for part in load_digits(return_X_y=True))
FIRST = {"bayes": GaussianNB(), "chance": DummyClassifier()}
MORE = {"linear": LogisticRegression(max_iter=2000), "tree": DecisionTreeClassifier(max_features=3)}
OPTIONS = {"baseline": "bayes", "cv": 3, "duplicates": "ignore"}


class Failing(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise RuntimeError("no such luck")


def test_it_is_the_comparison_that_had_them_from_the_start():
    whole = compare_transfer(X, Y, candidates=FIRST | MORE, **OPTIONS)
    grown = with_candidates(compare_transfer(X, Y, candidates=FIRST, **OPTIONS), X, MORE)
    assert grown.candidates == whole.candidates
    for name, scores in whole.scores.items():
        np.testing.assert_array_equal(scores, grown.scores[name])  # the tree draws with the seeds of the folds
    assert [row.difference for row in grown.rows()] == [row.difference for row in whole.rows()]
    assert grown.transfer == whole.transfer
    for name in ("estimators", "networks"):
        assert grown.settings[name] == whole.settings[name]
    assert "call" not in grown.settings  # it would make the first ones alone


def test_the_first_comparison_stays_what_it_was():
    first = compare_transfer(X, Y, candidates=FIRST, **OPTIONS)
    with_candidates(first, X, MORE)
    assert first.candidates == list(FIRST)
    assert list(first.settings["estimators"]) == list(FIRST)


def test_finished_fits_are_shared_with_other_calls(tmp_path):
    path = tmp_path / "fits.jsonl"
    first = compare_transfer(X, Y, candidates=FIRST, resume=path, **OPTIONS)
    assert share_missing(first, X, FIRST, resume=path) == 0
    assert share_missing(first, X, MORE, resume=path) == 1
    with_candidates(first, X, {"linear": MORE["linear"]}, resume=path)
    assert share_missing(first, X, MORE, resume=path) == 0.5
    lines = path.read_text().splitlines()
    compare_transfer(X, Y, candidates=FIRST | {"linear": MORE["linear"]}, resume=path, **OPTIONS)
    assert path.read_text().splitlines() == lines
    assert share_missing(first, X, MORE) == 1


def test_one_that_fails_is_left_out():
    first = compare_transfer(X, Y, candidates=FIRST, **OPTIONS)
    with pytest.warns(CandidateFailedWarning, match="no such luck"):
        grown = with_candidates(first, X, {"failing": Failing()})
    assert grown.candidates == list(FIRST)
    assert "no such luck" in grown.failures[0].error


def test_vectors_of_a_network_stand_for_the_network():
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    y = np.arange(12) % 2
    named = {"candidates": ["frozen", "dummy"], "baseline": "frozen", "cv": 2, "duplicates": "ignore"}
    first = compare_transfer(images, y, **named)
    vectors = np.random.default_rng(1).normal(size=(12, 5))
    grown = with_candidates(first, vectors, {"own": LogisticRegression()}, like="frozen")
    assert grown.transfer["own"]
    assert grown.settings["networks"]["own"] == first.settings["networks"]["frozen"]
    assert not with_candidates(first, vectors, {"own": LogisticRegression()}).transfer["own"]
