import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from sktl import compare_transfer
from sktl._candidate_names import CANDIDATE_NAMES
from sktl.comparison._candidates import make_candidates, refuse_unlabelled, uses_transfer
from sktl.comparison._fitting import set_seeds
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor


def make(candidates, task="classification"):
    return make_candidates(
        candidates, task=task, weights="default", unfreeze_depth=2, max_epochs=7, random_state=5,
        backbone="tiny_fractal", batch_size=16,
    )  # fmt: skip


def test_the_names_stand_for_the_recipes_that_the_docstring_shows():
    made = make(CANDIDATE_NAMES)
    assert list(made) == list(CANDIDATE_NAMES)
    assert isinstance(made["dummy"], DummyClassifier)
    assert isinstance(made["frozen"], Pipeline)
    extractor, linear = (step for _, step in made["frozen"].steps)
    assert (extractor.backbone, extractor.weights, extractor.batch_size) == ("tiny_fractal", "default", 16)
    assert (extractor.layer, extractor.pooling) == ("all", "avg+std")
    assert repr(linear) == repr(made["pixels"][-1]) == "LinearProbeClassifier()"
    assert isinstance(made["fine_tuned"], FineTuneClassifier)
    assert made["fine_tuned"].unfreeze_depth == 2


def test_for_regression_the_same_names_stand_for_regressors():
    made = make(CANDIDATE_NAMES, task="regression")
    assert isinstance(made["dummy"], DummyRegressor)
    assert repr(made["frozen"][-1]) == repr(made["pixels"][-1]) == "LinearProbeRegressor()"
    assert isinstance(made["fine_tuned"], FineTuneRegressor)
    assert isinstance(made["from_scratch"], FineTuneRegressor)


def test_from_scratch_differs_from_fine_tuned_in_weights_and_depth_only():
    made = make(CANDIDATE_NAMES)
    tuned, scratch = made["fine_tuned"].get_params(), made["from_scratch"].get_params()
    different = {name for name in tuned if tuned[name] != scratch[name]}
    assert different == {"weights", "unfreeze_depth"}
    assert (scratch["weights"], scratch["unfreeze_depth"], scratch["max_epochs"]) == (None, "all", 7)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_frozen_twin_differs_from_frozen_in_weights_and_seed_only(task):
    made = make(CANDIDATE_NAMES, task=task)
    frozen, twin = (made[name].get_params() for name in ("frozen", "frozen_random"))
    different = {name for name in frozen if repr(frozen[name]) != repr(twin[name]) and "__" in name}
    assert different == {"pretrainedfeatureextractor__weights", "pretrainedfeatureextractor__random_state"}
    assert made["frozen_random"][0].weights is None


def test_the_random_weights_of_the_frozen_twin_are_the_same_on_every_split():
    twin = make(CANDIDATE_NAMES)["frozen_random"]
    assert [set_seeds(clone(twin), seed)[0].random_state for seed in (1, 2)] == [5, 5]
    own = make_pipeline(PretrainedFeatureExtractor(weights=None, random_state=5), LogisticRegression())
    assert [set_seeds(clone(own), seed)[0].random_state for seed in (1, 2)] == [1, 2]


def test_a_dictionary_mixes_own_estimators_and_recipes():
    neighbours = KNeighborsClassifier()
    made = make({"neighbours": neighbours, "guessing": "dummy"})
    assert made["neighbours"] is neighbours
    assert isinstance(made["guessing"], DummyClassifier)


def test_transfer_means_pretrained_weights_anywhere_inside():
    transfer = {name: uses_transfer(estimator) for name, estimator in make(CANDIDATE_NAMES).items()}
    assert {name for name, is_meant in transfer.items() if is_meant} == {"frozen", "fine_tuned"}
    random_features = make_pipeline(PretrainedFeatureExtractor(weights=None), LogisticRegression())
    assert not uses_transfer(random_features)
    assert uses_transfer(PretrainedFeatureExtractor())


@pytest.mark.parametrize(
    ("candidates", "error", "message"),
    [
        (["frozen", "fine_tund"], ValueError, "Did you mean 'fine_tuned'"),
        ({"a": "frozn", "b": "dummy"}, ValueError, "Did you mean 'frozen'"),
        (["frozen"], ValueError, "at least two"),
        (["frozen", "frozen"], ValueError, "must be different"),
        ("frozen", TypeError, "sequence of names or a dictionary"),
        (3, TypeError, "sequence of names or a dictionary"),
        (["frozen", KNeighborsClassifier()], TypeError, "name in a dictionary"),
        ({1: "frozen", "b": "dummy"}, TypeError, "names of candidates must be str"),
        ({"a": KNeighborsClassifier, "b": "dummy"}, TypeError, "brackets"),
        ({"a": 3, "b": "dummy"}, TypeError, "Candidate 'a' must be a scikit-learn estimator"),
        ({"a": Ridge(), "b": "dummy"}, ValueError, "task='classification'"),
    ],
)
def test_what_is_no_set_of_candidates_is_an_error_that_says_what_to_write(candidates, error, message):
    with pytest.raises(error, match=message):
        make(candidates)


def test_a_classifier_does_not_fit_a_regression():
    with pytest.raises(ValueError, match="which is regression"):
        make({"a": KNeighborsClassifier(), "b": "dummy"}, task="regression")


def test_images_without_a_label_are_not_compared_on():
    X, y = np.zeros((12, 4, 4)), np.resize([0, 1, -1], 12)
    taught = {"dummy": "dummy", "taught": FineTuneClassifier(teacher=DummyClassifier().fit(X, y % 3))}
    with pytest.raises(
        ValueError, match=r"Got -1 for 4 of 12 instead, which 'taught' with its teacher takes for unlab"
    ):
        compare_transfer(X, y, candidates=taught, baseline="dummy")
    refuse_unlabelled(make({**taught, "taught": FineTuneClassifier(teacher=DummyClassifier().fit(X, y))}), y)
    refuse_unlabelled(make(taught), np.resize([0, 1], 12))
    refuse_unlabelled(make(["dummy", "fine_tuned"]), np.resize([1, -1], 12))
    refuse_unlabelled(make(taught), np.resize(["ant", "bee"], 12))
    fitted_here = FineTuneClassifier(teacher=DummyClassifier().fit(X, y), teacher_cv=2)
    with pytest.raises(ValueError, match="with its teacher takes for unlabelled"):
        refuse_unlabelled({"taught": fitted_here}, y)
