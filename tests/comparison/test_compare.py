import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer, mean_absolute_error, zero_one_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.comparison import CandidateFailedWarning, TransferComparison, compare_transfer

DIGITS, LABELS = (part[:60] for part in load_digits(return_X_y=True))
CHEAP = {"neighbours": KNeighborsClassifier(3), "linear": LogisticRegression(max_iter=2000)}


def compare(X=DIGITS, y=LABELS, candidates=None, **options):
    options = {"baseline": "linear", "cv": 3} | options
    return compare_transfer(X, y, candidates=CHEAP if candidates is None else candidates, **options)


class SeedLedger(ClassifierMixin, BaseEstimator):
    """A classifier whose score tells its seed."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def seed_as_score(estimator, X, y):
    return float(estimator.random_state)


class PathLength(ClassifierMixin, BaseEstimator):
    """A classifier of paths by their length, which takes X of any kind."""

    def fit(self, X, y):
        self.kind_ = type(X)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.array([len(str(path)) % 2 for path in X])


class PathLengthOfKind(PathLength):
    """The same, for X of one kind only."""

    def __init__(self, kind=None):
        self.kind = kind

    def predict(self, X):
        assert self.kind_ is type(X) is self.kind
        return super().predict(X.iloc[:, 0] if self.kind is pd.DataFrame else X)


def test_scores_equal_those_of_cross_val_score_on_the_same_folds():
    cv = StratifiedKFold(4, shuffle=True, random_state=3)
    comparison = compare(cv=cv)
    for name, estimator in CHEAP.items():
        np.testing.assert_array_equal(comparison.scores[name], cross_val_score(estimator, DIGITS, LABELS, cv=cv))
    assert comparison.n_train.tolist() == [45] * 4
    assert comparison.n_test.tolist() == [15] * 4


def test_several_scores_equal_those_of_cross_validate():
    scoring = ["balanced_accuracy", "accuracy", "f1_macro"]
    cv = StratifiedKFold(4, shuffle=True, random_state=3)
    comparison = compare(cv=cv, scoring=scoring)
    assert (comparison.metrics, comparison.scoring) == (scoring, "balanced_accuracy")
    for name, estimator in CHEAP.items():
        expected = cross_validate(estimator, DIGITS, LABELS, cv=cv, scoring=scoring)
        for metric in scoring:
            np.testing.assert_array_equal(comparison.scores_of(metric)[name], expected[f"test_{metric}"])
    gain = comparison.differences("neighbours", "f1_macro")
    np.testing.assert_array_equal(
        gain, comparison.scores_of("f1_macro")["neighbours"] - comparison.scores_of("f1_macro")["linear"]
    )
    assert comparison.scores["linear"].tolist() == comparison.scores_of("balanced_accuracy")["linear"].tolist()


def test_scores_may_have_names_of_their_own():
    comparison = compare(scoring={"right": "accuracy", "error": make_scorer(zero_one_loss, greater_is_better=False)})
    assert comparison.metrics == ["right", "error"]
    np.testing.assert_allclose(comparison.scores_of("error")["linear"], comparison.scores["linear"] - 1)


def test_predictions_of_all_splits_are_at_hand_in_the_order_of_X():
    comparison = compare(n_repeats=2)
    found = comparison.out_of_fold("neighbours")
    assert np.bincount(found["index"]).tolist() == [2] * 60
    np.testing.assert_array_equal(found["y_true"], LABELS[found["index"]])
    for split, (train, test) in enumerate(comparison.splits):
        model = clone(CHEAP["neighbours"]).fit(DIGITS[train], LABELS[train])
        here = found["split"] == split
        np.testing.assert_array_equal(found["index"][here], test)
        np.testing.assert_array_equal(found["y_pred"][here], model.predict(DIGITS[test]))
        np.testing.assert_array_equal(found["confidence"][here], model.predict_proba(DIGITS[test]).max(axis=1))


class Broken(KNeighborsClassifier):
    def predict(self, X):
        raise ZeroDivisionError("half of nothing")


def test_a_failing_candidate_is_left_out_and_listed():
    candidates = {**CHEAP, "broken": Broken()}
    with pytest.warns(CandidateFailedWarning, match="'broken' failed on split 1 of 3"):
        comparison = compare(candidates=candidates)
    assert comparison.candidates == list(CHEAP)
    (failure,) = comparison.failures
    assert (failure.candidate, failure.split) == ("broken", 0)
    assert any("'broken' failed on split 1 of 3 and is left out: ZeroDiv" in note for note in comparison.notes())
    assert comparison.frame()["candidate"].unique().tolist() == list(CHEAP)
    with pytest.raises(ValueError, match="candidate must be one of"):
        comparison.runs_of("broken")
    with pytest.raises(RuntimeError, match="'broken' failed on split 1 of 3"):
        compare(candidates=candidates, on_error="raise")


def test_every_split_has_its_own_seed_which_all_candidates_share():
    comparison = compare(
        candidates={"a": SeedLedger(), "b": SeedLedger(random_state=7)},
        baseline="a",
        n_repeats=2,
        scoring=seed_as_score,
    )
    assert len(set(comparison.scores["a"])) == 6
    np.testing.assert_array_equal(comparison.scores["a"], comparison.scores["b"])
    assert comparison.scores["a"].tolist() == list(comparison.seeds)


def test_one_random_state_gives_one_result_and_another_gives_another():
    candidates = {"forest": RandomForestClassifier(3), "linear": LogisticRegression(max_iter=2000)}
    first, again, other = (compare(candidates=candidates, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.scores["forest"], again.scores["forest"])
    assert first.seeds == again.seeds != other.seeds


@pytest.mark.parametrize(
    "kind", [list, np.ndarray, pd.Series, pl.Series, pd.DataFrame], ids=["list", "array", "pandas", "polars", "frame"]
)
def test_paths_of_every_kind_reach_the_candidates_in_their_kind(kind):
    paths = ["a" * (1 + number % 2) for number in range(20)]
    labels = [1 - number % 2 for number in range(20)]
    if kind is pd.DataFrame:
        X = pd.DataFrame({"path": paths}, index=range(100, 120))
    else:
        X = np.array(paths) if kind is np.ndarray else kind(paths)
    candidates = {"length": PathLengthOfKind(kind), "dummy": "dummy"}
    comparison = compare(X, labels, candidates, baseline="dummy", cv=2)
    assert comparison.scores["length"].tolist() == [1.0, 1.0]


def test_pictures_in_a_list_are_not_turned_into_an_array():
    class CountsPictures(PathLength):
        def predict(self, X):
            assert isinstance(X, list)
            return np.array([picture.size[0] % 2 for picture in X])

    pictures = [Image.new("RGB", (4 + number % 2, 3)) for number in range(20)]
    candidates = {"size": CountsPictures(), "dummy": "dummy"}
    labels = [number % 2 for number in range(20)]
    comparison = compare(pictures, labels, candidates, baseline="dummy", cv=2, duplicates="ignore")
    assert comparison.scores["size"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series])
def test_labels_may_be_text_of_any_kind(kind):
    labels = kind([f"digit {label}" for label in LABELS])
    comparison = compare(y=labels)
    np.testing.assert_array_equal(comparison.scores["neighbours"], compare().scores["neighbours"])


@pytest.mark.parametrize(
    ("y", "task", "expected"),
    [
        (LABELS, "auto", "classification"),
        (LABELS.astype(float), "auto", "classification"),
        (LABELS + 0.5, "auto", "regression"),
        (LABELS, "regression", "regression"),
    ],
)
def test_the_task_is_read_from_y_as_scikit_learn_reads_it_unless_it_is_told(y, task, expected):
    candidates = {"dummy": "dummy", "other": "dummy"}
    comparison = compare(y=y, candidates=candidates, baseline="dummy", task=task)
    assert comparison.settings["task"] == expected
    assert comparison.scoring == {"classification": "accuracy", "regression": "r2"}[expected]


def test_regression_compares_regressors():
    brightness = DIGITS.mean(axis=1)
    comparison = compare(y=brightness, candidates={"ridge": Ridge(), "dummy": "dummy"}, baseline="dummy", cv=5)
    assert comparison.scores["ridge"].mean() > 0.99
    assert comparison.verdict == "better"


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        ("balanced_accuracy", "balanced_accuracy"),
        (make_scorer(mean_absolute_error, greater_is_better=False), "mean_absolute_error"),
        (seed_as_score, "seed_as_score"),
    ],
)
def test_scoring_may_be_a_name_a_scorer_or_a_function(scoring, name):
    candidates = {"a": SeedLedger(), "b": SeedLedger()}
    assert compare(candidates=candidates, baseline="a", scoring=scoring).scoring == name


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"X": "photos"}, TypeError, "load_image_folder"),
        ({"y": LABELS[:-1]}, ValueError, "inconsistent numbers of samples"),
        ({"y": np.eye(60)}, ValueError, "y must be one label per image"),
        ({"baseline": "liner"}, ValueError, "Did you mean 'linear'"),
        ({"scoring": "acuracy"}, ValueError, "Did you mean 'accuracy'"),
        ({"scoring": 3}, ValueError, "scoring must be a name, a callable or None, or several"),
        ({"task": "clustering"}, ValueError, "'task' parameter"),
        ({"rope": -0.1}, ValueError, "'rope' parameter"),
        ({"n_repeats": 0}, ValueError, "'n_repeats' parameter"),
        ({"weights": None}, ValueError, "from_scratch"),
        ({"y": [{}] * 60}, ValueError, "y must be class labels or numbers"),
        ({"y": ["ant"] * 60}, ValueError, r"y must hold at least two classes. Got 1 instead: \['ant'\]"),
        ({"y": [7] * 60, "task": "classification"}, ValueError, "y must hold at least two classes"),
        ({"scoring": []}, ValueError, "scoring must name at least one"),
        ({"scoring": ["accuracy", "accuracy"]}, ValueError, "scoring must have different names"),
        ({"scoring": ["accuracy", "acuracy"]}, ValueError, "Did you mean 'accuracy'"),
        ({"scoring": {"mine": accuracy_score}}, ValueError, r"scoring=make_scorer\(accuracy_score\)"),
        ({"scoring": {1: "accuracy"}}, ValueError, "names of scores must be str"),
        ({"on_error": "ignore"}, ValueError, "'on_error' parameter"),
        ({"duplicates": "drop"}, ValueError, "'duplicates' parameter"),
        ({"resume": 3}, ValueError, "'resume' parameter"),
        ({"scoring": accuracy_score}, ValueError, r"scoring=make_scorer\(accuracy_score\)"),
        ({"scoring": lambda y_true, y_pred: 1.0}, ValueError, "scoring must be a scorer"),
        ({"max_epochs": 0}, ValueError, "'max_epochs' parameter of compare_transfer"),
        ({"unfreeze_depth": -1}, ValueError, "'unfreeze_depth' parameter of compare_transfer"),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter of compare_transfer"),
        ({"precision": "double"}, ValueError, "'precision' parameter of compare_transfer"),
    ],
)
def test_wrong_arguments_are_errors_that_say_what_to_write(options, error, message):
    with pytest.raises(error, match=message):
        compare(**options)


class Fixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3, 4))

    def forward(self, x):
        return x @ self.weight


def unchangeable():
    """A function that makes a network with the same weights each time, which no module of it can draw anew."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Fixed())


def ready_made():
    """A function that makes a network with the same weights each time, as one that reads a file would."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return small_network()


def small_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet1"}, "^backbone must be a name from list_backbones"),
        ({"weights": "nothing"}, "^weights of tiny_fractal must be 'default'"),
        ({"device": "cuda:77"}, "^device must exist on this machine"),
        ({"unfreeze_depth": 9}, "^unfreeze_depth must be at most 5 for tiny_fractal"),
        ({"precision": "float16"}, "^precision must be 'auto', 'float32' or 'bfloat16'"),
        ({"backbone": unchangeable}, "^weights=None needs a function that makes a network with random weights"),
    ],
)
def test_what_is_wrong_with_the_network_is_not_reported_as_a_failing_fit(options, message, monkeypatch):
    monkeypatch.setattr("sktl.comparison._compare.run_all", None)
    with pytest.raises(ValueError, match=message):
        compare_transfer(DIGITS, LABELS, value_range=(0, 16), **options)


def test_a_function_that_reads_weights_has_a_twin_from_scratch():
    names = ["frozen", "from_scratch"]
    comparison = compare(candidates=names, baseline="from_scratch", backbone=ready_made, image_size=8, max_epochs=1)
    assert comparison.candidates == names


@pytest.mark.parametrize(
    "backbone", [load_backbone("tiny_fractal", weights=None), small_network], ids=["record", "function"]
)
def test_a_network_with_random_weights_has_nothing_to_transfer(backbone):
    with pytest.raises(ValueError, match=r"backbone must come with pretrained weights\. Got .* with random ones"):
        compare_transfer(DIGITS, LABELS, backbone=backbone, value_range=(0, 16))


def test_networks_that_no_candidate_uses_are_not_loaded():
    assert compare(backbone="resnet1").candidates == list(CHEAP)


def test_transfer_is_read_from_the_networks_that_were_fitted():
    def features(backbone, **options):
        extractor = PretrainedFeatureExtractor(backbone, value_range=(0, 16), image_size=16, **options)
        return make_pipeline(extractor, StandardScaler(), LogisticRegression(max_iter=2000))

    search = GridSearchCV(features("tiny_fractal"), {"logisticregression__C": [0.1, 1.0]}, cv=2)
    candidates = {
        "random record": features(load_backbone("tiny_fractal", weights=None)),
        "random function": features(small_network),
        "fixed function": features(ready_made),
        "module": features(ready_made()),
        "search": search,
    }
    X = DIGITS.reshape(-1, 8, 8)
    comparison = compare(X, LABELS % 2, candidates, baseline="random record", cv=2)
    assert comparison.transfer == {
        "random record": False,
        "random function": False,
        "fixed function": True,
        "module": True,
        "search": True,
    }
    assert comparison.settings["networks"]["search"]["name"] == "tiny_fractal"
    assert any("nothing shows how they came about" in note for note in comparison.notes())


def test_the_result_says_what_was_compared():
    comparison = compare(n_repeats=2)
    assert isinstance(comparison, TransferComparison)
    assert comparison.settings["n_images"] == 60
    assert comparison.settings["random_state"] == 0
    assert comparison.settings["estimators"]["neighbours"] == "KNeighborsClassifier(n_neighbors=3)"
    assert {"python", "numpy", "scikit-learn", "torch"} <= comparison.settings["versions"].keys()
    assert all((comparison.fit_seconds[name] > 0).all() for name in CHEAP)


@pytest.mark.slow
def test_two_equally_blind_candidates_are_rarely_told_apart():
    """With labels drawn by lot every classifier is at chance, so each verdict of better or worse is a false alarm."""
    rng = np.random.default_rng(0)
    candidates = {"tree": DecisionTreeClassifier(), "neighbours": KNeighborsClassifier(1)}
    alarms = 0
    for seed in range(40):
        X, y = rng.normal(size=(80, 3)), rng.permutation(np.arange(80) % 2)
        result = compare(X, y, candidates, baseline="tree", cv=5, n_repeats=2, random_state=seed)
        alarms += result.verdict in ("better", "worse")
    assert alarms <= 8  # 10 % are to be expected at most, one tail each way; this is below 1 in 50


@pytest.fixture(scope="module")
def named():
    """The four recipes on real estimators, as small as they go."""
    return compare_transfer(DIGITS, LABELS, value_range=(0, 16), cv=2, max_epochs=1)


def test_the_recipes_run_and_tell_their_networks(named):
    assert named.candidates == ["dummy", "pixels", "frozen_random", "frozen", "fine_tuned", "from_scratch"]
    assert named.transfer == dict(zip(named.candidates, [False, False, False, True, True, False], strict=True))
    assert named.n_trained_parameters["from_scratch"] > named.n_trained_parameters["fine_tuned"] > 0
    networks = named.settings["networks"]
    assert networks["dummy"] is None
    assert networks["frozen"]["digest"] == networks["fine_tuned"]["digest"] != networks["from_scratch"]["digest"]
    assert {networks[name]["image_size"] for name in ("frozen", "fine_tuned", "from_scratch")} == {48}


def test_the_random_weights_cost_one_pass_for_all_splits_and_are_not_the_pretrained_ones(named):
    names = ("dummy", "frozen_random")
    runs = compare(candidates=names, baseline="dummy", cv=2, value_range=(0, 16)).runs_of("frozen_random")
    assert [run.n_images_through_network for run in runs] == [60, 0]
    assert len({run.network["digest"] for run in runs}) == 1
    assert runs[0].network["weights"] is None
    assert named.runs_of("frozen")[0].network["digest"] != runs[0].network["digest"]
    assert [run.scores for run in named.runs_of("frozen_random")] == [run.scores for run in runs]


def test_the_settings_say_what_the_candidates_are_and_what_their_scores_can_be(named):
    assert named.settings["recipes"] == {name: name for name in named.candidates}
    assert named.settings["score_bounds"] == {"accuracy": (0.0, 1.0)}
    assert named.settings["data"] is None
    own = compare(scoring={"mine": lambda *_: 85.0, "zero_one": make_scorer(zero_one_loss, greater_is_better=False)})
    assert own.settings["recipes"] == {"neighbours": None, "linear": None}
    assert own.settings["score_bounds"] == {"mine": (-np.inf, np.inf), "zero_one": (-1.0, 0.0)}


@pytest.mark.slow
def test_the_recipes_give_the_same_scores_again_and_in_two_processes(named):
    again = compare_transfer(DIGITS, LABELS, value_range=(0, 16), cv=2, max_epochs=1, n_jobs=2)
    for name in named.candidates:
        np.testing.assert_array_equal(named.scores[name], again.scores[name])


def test_the_recipes_for_regression_run():
    y = LABELS + 0.5
    result = compare_transfer(DIGITS, y, value_range=(0, 16), cv=2, max_epochs=1)
    assert all(np.isfinite(result.scores[name]).all() for name in result.candidates)


class ConstantRegressor(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        self.dtype_ = y.dtype
        return self

    def predict(self, X):
        assert self.dtype_ == np.float64
        return np.zeros(len(X))


def test_counts_reach_regressors_as_floats():
    candidates = {"zero": ConstantRegressor(), "dummy": "dummy"}
    compare(candidates=candidates, baseline="dummy", task="regression", scoring="neg_mean_absolute_error")


@pytest.mark.slow
def test_a_source_that_does_not_fit_is_negative_transfer(shared_data):
    """A network that knows birds, frozen, on digits of 32 pixels, against its twin from scratch.

    On plain images: on views a short training from scratch gets less far, and five folds are not enough to be sure.
    """
    digits = load_digits()
    weights = shared_data / "weights" / "mobilenet_v2-inat_bird-tf.pth"
    birds = {"backbone": "mobilenet_v2", "weights": weights, "image_size": 32, "value_range": (0, 16)}
    frozen = make_pipeline(PretrainedFeatureExtractor(**birds), StandardScaler(), LogisticRegression(max_iter=1000))
    twin = FineTuneClassifier(**{**birds, "weights": None}, augment=None)
    candidates = {"frozen": frozen, "from_scratch": twin}
    comparison = compare_transfer(digits.images[:500], digits.target[:500], candidates=candidates, **birds)
    assert comparison.verdict == "negative transfer"
    assert "negative transfer" in str(comparison).lower()


@pytest.mark.slow
def test_pretraining_that_makes_no_difference_is_practical_equality():
    """On small digits the features of a small network with random weights are as good as pretrained ones."""

    def frozen(weights):
        extractor = PretrainedFeatureExtractor(weights=weights, layer="all", pooling="avg+std", value_range=(0, 16))
        return make_pipeline(extractor, StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))

    digits = load_digits()
    candidates = {"pretrained": frozen("default"), "random weights": frozen(None)}
    comparison = compare_transfer(
        digits.images, digits.target, candidates=candidates, baseline="random weights", n_repeats=4, duplicates="ignore"
    )
    assert comparison.verdict == "practically equal"


def test_the_interval_heeds_images_and_groups_unless_told_otherwise():
    groups = [f"patient {number // 3}" for number in range(60)]
    plain, grouped = compare(cv=2), compare(cv=2, groups=groups)
    assert plain.groups is None
    assert grouped.groups.tolist() == [number // 3 for number in range(60)]
    for comparison in (plain, grouped):
        assert comparison.rows()[0].interval == "crossed"
    corrected = compare(cv=2, interval="corrected")
    assert corrected.rows()[0].interval == "corrected"
    assert corrected.scores["neighbours"].tolist() == plain.scores["neighbours"].tolist()
    assert corrected.settings["call"]["arguments"]["interval"] == "'corrected'"
    with pytest.raises(ValueError, match="The 'interval' parameter of compare_transfer must be a str among"):
        compare(interval="naive")
