from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import make_scorer, top_k_accuracy_score
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import FineTuneClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.comparison.recorded_call import recorded_call
from sktl.reports._reproduce import code_to_run_again


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=3, return_X_y=True)
    return X[:60], y[:60]


def scores_of_code(comparison, digits, **objects):
    names = {"X": digits[0], "y": digits[1], **objects}
    code, needed = code_to_run_again(comparison)
    assert set(needed) == set(objects)
    exec(code, names)
    return names["comparison"]


def assert_same(one, other):
    assert one.candidates == other.candidates
    for name in one.candidates:
        np.testing.assert_array_equal(one.scores[name], other.scores[name])


def test_recipes_run_again_with_the_same_scores(digits, capsys):
    comparison = compare_transfer(
        *digits, candidates=("dummy", "fine_tuned", "from_scratch"), max_epochs=1, cv=2, value_range=(0, 16), rope=0.02,
        random_state=7,
    )  # fmt: skip
    again = scores_of_code(comparison, digits)
    assert_same(comparison, again)
    assert again.rope == 0.02
    assert "'fine_tuned'" in code_to_run_again(comparison)[0]


def test_own_estimators_run_again_with_their_imports(digits, capsys):
    own = make_pipeline(PretrainedFeatureExtractor(value_range=(0, 16)), StandardScaler(), LogisticRegression(C=0.5))
    candidates = {"own <b>": own, "frozen": "frozen", "ridge": LogisticRegression(max_iter=2000)}
    comparison = compare_transfer(
        *digits, candidates=candidates, baseline="ridge", cv=StratifiedKFold(2, shuffle=True, random_state=1),
        value_range=(0, 16), scoring=["accuracy", "f1_macro"],
    )  # fmt: skip
    code, _ = code_to_run_again(comparison)
    assert "from sklearn.linear_model import LogisticRegression" in code
    assert "'frozen': 'frozen'" in code
    again = scores_of_code(comparison, digits)
    assert_same(comparison, again)
    assert again.metrics == ["accuracy", "f1_macro"]


def test_what_cannot_be_written_down_is_asked_for(digits, capsys):
    class Own(LogisticRegression):
        pass

    splits = [(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))]
    scoring = make_scorer(top_k_accuracy_score, response_method="predict_proba", k=2)
    comparison = compare_transfer(
        *digits, candidates={"my own": Own(max_iter=2000), "dummy": "dummy"}, baseline="dummy", cv=splits,
        scoring=scoring,
    )  # fmt: skip
    again = scores_of_code(comparison, digits, my_my_own=Own(max_iter=2000), cv=splits, scoring=scoring)
    assert_same(comparison, again)


@pytest.mark.parametrize("form", ["dict", "scorer", "list"])
def test_a_scorer_of_the_users_own_is_asked_for_whatever_its_name(digits, form):
    def accuracy(estimator, X, y):
        return float(np.mean(estimator.predict(X) == y)) / 2

    scoring = {"dict": {"accuracy": accuracy}, "scorer": accuracy, "list": ["f1_macro", accuracy]}[form]
    options = {"candidates": ("dummy", "pixels"), "baseline": "dummy", "cv": 2, "value_range": (0, 16)}
    comparison = compare_transfer(*digits, scoring=scoring, **options)
    assert_same(comparison, scores_of_code(comparison, digits, scoring=scoring))


def test_scores_given_by_name_in_a_dict_are_written_down(digits):
    options = {"candidates": ("dummy", "pixels"), "baseline": "dummy", "cv": 2, "value_range": (0, 16)}
    by_name = {"accuracy": "accuracy", "f1_macro": "f1_macro"}
    comparison = compare_transfer(*digits, scoring=by_name, **options)
    assert "scoring={'accuracy': 'accuracy', 'f1_macro': 'f1_macro'}" in code_to_run_again(comparison)[0]
    comparison = compare_transfer(*digits, scoring={"accuracy": "f1_macro"}, **options)
    again = scores_of_code(comparison, digits)
    assert_same(comparison, again)
    assert again.metrics == ["accuracy"]


def test_arrays_among_the_parameters_find_their_import():
    call = recorded_call({"candidates": {"ridge": RidgeCV(alphas=np.array([0.1, 1.0])), "x": object()}}, {})
    assert call["imports"] == {"array": "numpy", "RidgeCV": "sklearn.linear_model"}
    assert call["arguments"] == {"candidates": "{'ridge': RidgeCV(alphas=array([0.1, 1.0])), 'x': my_x}"}
    assert call["needed"] == ["my_x"]


@pytest.mark.parametrize(
    "cv", [KFold(3), RepeatedStratifiedKFold(n_splits=2, n_repeats=3, random_state=1), ShuffleSplit(4, test_size=0.5)]
)
def test_splitters_are_written_with_their_parameters(cv):
    call = recorded_call({"cv": cv}, {})
    names = {}
    exec("\n".join(f"from {module} import {name}" for name, module in call["imports"].items()), names)
    again = eval(call["arguments"]["cv"], names)
    assert repr(again) == repr(cv)


def test_numbers_that_print_as_names_are_imported():
    call = recorded_call({"candidates": {"free": LogisticRegression(C=np.inf), "ridge": RidgeCV([0.1, np.inf])}}, {})
    names = {}
    exec("\n".join(f"from {module} import {name}" for name, module in call["imports"].items()), names)
    assert np.inf == eval(call["arguments"]["candidates"], names)["free"].C
    assert call["needed"] == []


def test_paths_are_written_as_text():
    call = recorded_call({"weights": Path("weights.pth")}, signature(compare_transfer).parameters)
    assert call == {"arguments": {"weights": "'weights.pth'"}, "imports": {}, "needed": []}


def test_what_is_as_long_as_the_data_is_asked_for():
    call = recorded_call(
        {"groups": np.arange(5), "cv": [([0], [1])], "random_state": np.int64(3)},
        signature(compare_transfer).parameters,
    )
    assert call["needed"] == ["groups", "cv"]
    assert call["arguments"] == {"groups": "groups", "cv": "cv", "random_state": "3"}


def test_seed_and_last_line_are_always_there(digits):
    comparison = compare_transfer(*digits, candidates=("dummy", "pixels"), baseline="dummy", cv=2, value_range=(0, 16))
    code, _ = code_to_run_again(comparison, "comparison.plot()")
    assert "    random_state=0,\n" in code
    assert code.endswith("print(comparison)\ncomparison.plot()")
    compile(code, "code", "exec")


def test_a_fitted_estimator_as_a_backbone_is_left_for_the_reader_to_put_in():
    fitted = FineTuneClassifier(max_epochs=1)
    candidates = {"mine": make_pipeline(PretrainedFeatureExtractor(fitted), LogisticRegression()), "bare": fitted}
    call = recorded_call(
        {"backbone": fitted, "candidates": candidates}, {"backbone": signature(compare_transfer).parameters["backbone"]}
    )
    assert call["needed"] == ["backbone", "my_mine"]
    assert call["arguments"]["backbone"] == "backbone"
    assert call["arguments"]["candidates"] == "{'mine': my_mine, 'bare': FineTuneClassifier(max_epochs=1)}"
