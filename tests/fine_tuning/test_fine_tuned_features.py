"""What a trained network says of images, as features: out of fold for its own, and no label in them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from sktl import (
    FineTuneClassifier,
    FineTunedFeatures,
    FineTuneRegressor,
    LinearProbeClassifier,
    PretrainedFeatureExtractor,
)

# As much training as learns twenty images by heart.
SMALL = {"unfreeze_depth": 1, "image_size": 24, "augment": None, "ensemble": False, "random_state": 0}
QUICK = FineTuneClassifier(**SMALL, max_epochs=1)
PROBE = FineTuneClassifier(unfreeze_depth=0)
THREE = StratifiedKFold(3, shuffle=True, random_state=7)


def penultimate(model, X):
    """The trained stages as the backbone of an extractor."""
    return PretrainedFeatureExtractor(model, image_size=24, cache=False).fit_transform(X)


# equal to a loop over folds


def test_training_rows_are_those_of_a_loop_over_folds(three_patterns):
    X, y = three_patterns
    outputs = {
        "auto": lambda model, X: model.decision_function(X),
        "predict_proba": lambda model, X: model.predict_proba(X),
        "penultimate": penultimate,
    }
    expected = {method: {} for method in outputs}
    for train, test in THREE.split(X, y):
        model = clone(QUICK).fit(X[train], y[train])
        for method, output in outputs.items():
            expected[method].update(zip(test.tolist(), output(model, X[test]), strict=True))
    model = clone(QUICK).fit(X, y)
    for method, output in outputs.items():
        features = FineTunedFeatures(QUICK, method=method, cv=THREE)
        of_loop = np.array([expected[method][row] for row in range(len(y))])
        assert_allclose(features.fit_transform(X, y), of_loop, rtol=1e-5, atol=1e-5)
        assert_allclose(features.transform(X), output(model, X), rtol=1e-5, atol=1e-5)


def test_all_stages_trained_have_features_too(patterns):
    X, y = patterns
    model = FineTuneClassifier(**{**SMALL, "unfreeze_depth": "all"}, max_epochs=1)
    features = FineTunedFeatures(model, method="penultimate").fit(X, y)
    assert_allclose(features.transform(X), penultimate(features.estimator_, X), rtol=1e-5, atol=1e-5)


TARGETS = {
    "two classes": (make_classification(60, random_state=0), LogisticRegression(), "decision_function"),
    "probabilities of two": (make_classification(60, random_state=0), LogisticRegression(), "predict_proba"),
    "four classes": (
        make_classification(80, n_classes=4, n_informative=5, random_state=0),
        LogisticRegression(),
        "decision_function",
    ),
    "numbers": (make_regression(50, random_state=0), LinearRegression(), "predict"),
    "three numbers": (make_regression(50, n_targets=3, random_state=0), LinearRegression(), "predict"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_agrees_with_cross_val_predict_of_scikit_learn(name):
    (X, y), estimator, method = TARGETS[name]
    cv = KFold(5, shuffle=True, random_state=1)
    expected = cross_val_predict(estimator, X, y, cv=cv, method=method).reshape(len(y), -1)
    features = FineTunedFeatures(estimator, method=method, cv=cv)
    assert_array_equal(features.fit_transform(X, y), expected)
    assert len(features.get_feature_names_out()) == expected.shape[1]


def test_several_labels_and_several_targets_have_a_column_for_each():
    X, y = make_multilabel_classification(40, n_classes=2, random_state=0)
    neighbours = FineTunedFeatures(KNeighborsClassifier(3), method="predict_proba", cv=KFold(4))
    expected = cross_val_predict(KNeighborsClassifier(3), X, y, cv=KFold(4), method="predict_proba")
    assert_array_equal(neighbours.fit_transform(X, y), np.hstack(expected))
    assert list(neighbours.get_feature_names_out()) == [f"probability_{i}_{j}" for i in range(2) for j in range(2)]
    rows = np.random.default_rng(0).random((40, 6))
    found = FineTunedFeatures(PROBE, cv=4, random_state=0)
    assert found.fit_transform(rows, y).shape == (40, 2)
    assert list(found.get_feature_names_out()) == ["decision_0", "decision_1"]


# no label in them


def noise(seed, n=60):
    """Pictures and labels that have nothing to do with each other, and a number that tells four labels out of five."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    table = np.where(rng.random(n) < 0.8, y, 1 - y) + rng.normal(0, 0.1, n)
    return rng.integers(0, 256, (n, 12, 12, 3), dtype=np.uint8), y, table


def learned_by_heart(cv=3):
    return FineTunedFeatures(FineTuneClassifier(**SMALL, max_epochs=10, learning_rate=3e-3), cv=cv, random_state=0)


@pytest.fixture(scope="module")
def by_heart():
    """For two sets of noise what is said of training rows, the naive way and ours, and of new ones."""
    sets = []
    for seed in (1, 2):
        X, y, table = noise(seed, n=120)
        features = learned_by_heart()
        ours = features.fit_transform(X[:60], y[:60])
        sets.append((features.transform(X[:60]), ours, features.transform(X[60:]), table, y))
    return sets


def test_features_of_training_rows_carry_no_label_where_there_is_nothing_to_learn(by_heart):
    naive = [roc_auc_score(y[:60], columns[:, 0]) for columns, _, _, _, y in by_heart]
    ours = [roc_auc_score(y[:60], columns[:, 0]) for _, columns, _, _, y in by_heart]
    assert min(naive) > 0.9  # what fit(X, y).transform(X) gives away
    assert max(np.abs(np.subtract(ours, 0.5))) < 0.2  # of 60 labels an area is 0.5 ± 0.075 by chance
    assert abs(np.mean(ours) - 0.5) < 0.12


def test_the_next_learner_keeps_to_what_is_true(by_heart):
    """A number beside the pictures tells the class. The naive features hide it, since they seem to tell more."""
    for naive, ours, new, table, y in by_heart:
        nothing = np.zeros((120, 1))
        scores = [
            LogisticRegression().fit(np.c_[columns, table[:60]], y[:60]).score(np.c_[later, table[60:]], y[60:])
            for columns, later in ((naive, new), (ours, new), (nothing[:60], nothing[60:]))
        ]
        assert scores[0] < 0.6  # near to chance, beside a number that is right four times out of five
        assert scores[1] > scores[2] - 0.05 > 0.7


@pytest.mark.slow
def test_pictures_of_noise_score_chance_behind_any_learner():
    X, y, _ = noise(9, n=120)
    for cv in (2, 5, KFold(3, shuffle=True, random_state=1)):
        features = learned_by_heart(cv)
        columns = features.fit_transform(X[:60], y[:60])
        assert abs(roc_auc_score(y[:60], columns[:, 0]) - 0.5) < 0.2
        for learner in (LogisticRegression(), KNeighborsClassifier(5), LinearProbeClassifier()):
            right = learner.fit(columns, y[:60]).score(features.transform(X[60:]), y[60:])
            assert abs(right - 0.5) < 0.2


# folds


def pairs(n=20):
    """Each row twice, and a label for each pair by chance: one neighbour knows it, unless both are held out."""
    rng = np.random.default_rng(0)
    X, y = rng.random((n, 4)), rng.permutation(np.arange(n) % 2)
    return np.repeat(X, 2, axis=0), np.repeat(y, 2), np.repeat(np.arange(n), 2)


def test_groups_are_kept_together():
    X, y, groups = pairs()
    features = FineTunedFeatures(KNeighborsClassifier(1), cv=4, random_state=0)
    assert np.mean((features.fit_transform(X, y)[:, 1] > 0.5) == (y == 1)) > 0.8
    alone = features.fit_transform(X, y, groups=groups)
    assert 0.2 < np.mean((alone[:, 1] > 0.5) == (y == 1)) < 0.8
    assert_array_equal(alone[::2], alone[1::2])
    with pytest.raises(ValueError, match="Images of one group must not lie on both sides of a split"):
        features.set_params(cv=list(StratifiedKFold(4).split(X, y))).fit_transform(X, y, groups=np.arange(40) % 20)


@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_groups_come_by_metadata_routing(cv):
    X, y, groups = pairs()
    frame = pd.DataFrame(X, columns=list("abcd"))
    columns = make_column_transformer(
        (FineTunedFeatures(KNeighborsClassifier(1), cv=cv, random_state=0), ["a", "b"]), remainder="passthrough"
    )
    expected = FineTunedFeatures(KNeighborsClassifier(1), cv=cv, random_state=0)
    expected = expected.fit_transform(frame[["a", "b"]], y, groups=groups)
    model = make_pipeline(columns, LogisticRegression())
    with config_context(enable_metadata_routing=True):
        assert_array_equal(columns.fit_transform(frame, y, groups=groups)[:, :2], expected)
        scores = cross_validate(model, frame, y, cv=GroupKFold(4), params={"groups": groups}, error_score="raise")
    assert np.mean(scores["test_score"]) < 0.85  # without groups a neighbour knows all of them


def test_the_shares_of_the_classes_are_kept_in_folds_of_an_int():
    y = np.repeat([0, 1], [40, 10])
    features = FineTunedFeatures(DummyClassifier(strategy="prior"), method="predict_proba", cv=5, random_state=0)
    assert_array_equal(features.fit_transform(np.zeros((50, 1)), y), np.tile([0.8, 0.2], (50, 1)))


@pytest.mark.parametrize("cv", [ShuffleSplit(3, random_state=0), [([0, 1, 2], [3]), ([3], [0, 1])]])
def test_each_row_must_be_tested_once(cv):
    model = FineTunedFeatures(FineTuneClassifier("no such network"), cv=cv)  # nothing is trained before
    with pytest.raises(ValueError, match=r"cv must test each row once. Got splits that test row \d+ \d times instead"):
        model.fit_transform(np.random.default_rng(0).random((20, 2)), np.arange(20) % 2)


def test_a_class_that_a_fold_does_not_know():
    rng = np.random.default_rng(0)
    y = np.array(["ant"] * 10 + ["bee"] * 10 + ["cat"])
    X = rng.random((21, 3)) + (y == "bee")[:, None]
    cv = KFold(3, shuffle=True, random_state=0)
    features = FineTunedFeatures(LogisticRegression(), method="predict_proba", cv=cv)
    found = features.fit_transform(X, y)
    fold = next(test for _, test in cv.split(X) if 20 in test)
    assert_array_equal(found[fold, 2], 0)
    assert_allclose(found.sum(axis=1), 1)
    scores = features.set_params(method="decision_function").fit_transform(X, y)
    assert_array_equal(scores[fold, 2], scores[fold].min(axis=1))
    assert_allclose(scores[fold, 1] - scores[fold, 0], np.log(found[fold, 1] / found[fold, 0]))
    assert list(features.get_feature_names_out()) == ["decision_ant", "decision_bee", "decision_cat"]


def test_weights_go_where_their_rows_go():
    X, y = make_classification(40, random_state=0)
    weights = np.random.default_rng(0).random(40)
    cv = KFold(4, shuffle=True, random_state=0)
    found = FineTunedFeatures(LogisticRegression(), cv=cv).fit_transform(X, y, sample_weight=weights)[:, 0]
    for train, test in cv.split(X):
        model = LogisticRegression().fit(X[train], y[train], sample_weight=weights[train])
        assert_array_equal(found[test], model.decision_function(X[test]))
    assert not np.allclose(found, FineTunedFeatures(LogisticRegression(), cv=cv).fit_transform(X, y)[:, 0])


# seeds


def test_one_seed_one_result_and_the_estimators_own_seed_is_kept(patterns):
    X, y = patterns
    columns = [FineTunedFeatures(PROBE, cv=3, random_state=seed).fit_transform(X, y) for seed in (0, 0, 1)]
    assert_array_equal(columns[0], columns[1])
    assert not np.array_equal(columns[0], columns[2])
    seeds = [
        FineTunedFeatures(clone(PROBE).set_params(random_state=own), random_state=0).fit(X, y).estimator_.random_state
        for own in (None, 5)
    ]
    assert isinstance(seeds[0], int)
    assert seeds[1] == 5
    assert PROBE.random_state is None


# scikit-learn's conventions

OUT_OF_FOLD = {
    "check_transformer_general": "fit_transform is out of fold",
    "check_transformer_data_not_an_array": "fit_transform is out of fold",
}


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [PROBE, FineTuneRegressor(unfreeze_depth=0)])
def test_passes_the_battery_but_for_what_cross_fitting_is_made_to_break(estimator):
    results = check_estimator(
        FineTunedFeatures(estimator, cv=3), expected_failed_checks=OUT_OF_FOLD, on_skip=None, on_fail=None
    )
    failed = {result["check_name"]: result["exception"] for result in results if result["status"] != "passed"}
    assert failed.keys() == OUT_OF_FOLD.keys()
    assert all("fit_transform and transform outcomes not consistent" in str(error) for error in failed.values())


@pytest.fixture
def table(patterns, tmp_path):
    """Files beside numbers."""
    from PIL import Image

    X, y = patterns
    paths = [str(tmp_path / f"{i}.png") for i in range(len(y))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).save(path)
    frame = pd.DataFrame({"file": paths, "size": np.random.default_rng(0).random(len(y))}, index=np.arange(len(y)) + 5)
    return frame, pd.Series(np.array(["ants", "bees"])[y], index=frame.index)


def test_files_beside_numbers(table):
    frame, y = table
    columns = make_column_transformer(
        (FineTunedFeatures(PROBE, cv=THREE), ["file"]), remainder="passthrough"
    ).set_output(transform="pandas")
    found = columns.fit_transform(frame, y)
    assert list(found.columns) == ["finetunedfeatures__decision_bees", "remainder__size"]
    assert_array_equal(found.index, frame.index)
    expected = FineTunedFeatures(PROBE, cv=THREE).fit_transform(frame["file"].tolist(), y.to_numpy())
    assert_array_equal(found.iloc[:, 0], expected[:, 0])
    search = GridSearchCV(
        make_pipeline(columns, LogisticRegression()),
        {"columntransformer__finetunedfeatures__method": ["penultimate"]},
        cv=2,
        error_score="raise",
    )
    best = search.fit(frame, y)
    assert set(best.predict(frame)) <= {"ants", "bees"}
    assert_array_equal(pickle.loads(pickle.dumps(best)).predict(frame), best.predict(frame))


def test_names_of_all_kinds(patterns):
    X, y = patterns
    for method, expected in {
        "auto": ["decision_1"],
        "predict_proba": ["probability_0", "probability_1"],
        "penultimate": list(PretrainedFeatureExtractor().fit(X).get_feature_names_out()),
    }.items():
        features = FineTunedFeatures(PROBE, method=method).fit(X, y)
        assert list(features.get_feature_names_out()) == expected
        assert features.transform(X).shape[1] == len(expected)
    numbers = FineTunedFeatures(FineTuneRegressor(unfreeze_depth=0))
    assert list(numbers.fit(X, y / 2).get_feature_names_out()) == ["prediction"]
    assert list(numbers.fit(X, np.c_[y, y[::-1]] / 2).get_feature_names_out()) == ["prediction_0", "prediction_1"]
    assert not hasattr(numbers, "classes_")


def test_images_made_on_access_are_made_once(three_patterns):
    X, y = three_patterns
    asked = []

    class Made:
        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            asked.append(i)
            return X[i]

    found = FineTunedFeatures(PROBE, cv=THREE).fit_transform(Made(), y)
    assert_array_equal(found, FineTunedFeatures(PROBE, cv=THREE).fit_transform(X, y))
    assert len(asked) <= len(X) + 1


# what is refused


@pytest.mark.parametrize(
    ("estimator", "method", "message"),
    [
        (FineTuneRegressor(), "decision_function", "method must be 'predict' or 'penultimate' for this FineTuneReg"),
        (FineTuneClassifier(), "predict", "method must be 'decision_function' or 'predict_proba' or 'penultimate'"),
        (FineTuneClassifier(weights=None), "penultimate", "networks from scratch have no features in common"),
        (LogisticRegression(), "penultimate", "Got 'penultimate' instead. Penultimate features are to be had of"),
    ],
)
def test_a_method_that_the_estimator_lacks(estimator, method, message):
    with pytest.raises(ValueError, match=message):
        FineTunedFeatures(estimator, method=method).fit(["no.png", "such.png"], [0, 1])


def test_labels_are_needed(patterns):
    for call in (FineTunedFeatures(PROBE).fit, FineTunedFeatures(PROBE).fit_transform):
        with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
            call(patterns[0], None)
