"""compare_transfer across domains: tests on the target alone, and labels of the target that nobody sees."""

from importlib.util import find_spec

import numpy as np
import pytest
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.comparison._domains import RowsOfDomains

QUICK = {"duplicates": "ignore", "cv": 3, "baseline": "source only"}
SEEN: list = []


class Told(ClassifierMixin, BaseEstimator):
    """Asks for the domains and keeps what it is given; predicts its nearest labelled image."""

    __metadata_request__fit = {"sample_domain": True}
    __metadata_request__predict = {"sample_domain": True}

    def fit(self, X, y, sample_domain=None):
        SEEN.append((X.copy(), y.copy(), sample_domain.copy()))
        known = y >= 0
        self.model_ = KNeighborsClassifier(1).fit(X[known], y[known])
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X, sample_domain=None):
        SEEN.append((X.copy(), None, sample_domain.copy()))
        return self.model_.predict(X)


class Forgetful(Told):
    """Takes the mark of an unknown label for a label."""

    def predict(self, X, sample_domain=None):
        return np.full(len(X), -1)


@pytest.fixture(scope="module")
def data():
    """Two classes in words; the target is moved by more than the classes are apart. The first number is the image's."""
    rng = np.random.default_rng(0)
    codes, domain = np.arange(60) % 2, np.repeat([1, -2], 30)
    X = rng.normal(size=(60, 4)) + 3 * codes[:, None] + np.where(domain < 0, 6, 0)[:, None]
    X[:, 0] = np.arange(60) / 1e6
    return X, np.array(["ant", "bee"])[codes], domain


def images_in(X):
    return np.rint(X[:, 0] * 1e6).astype(int)


@pytest.fixture(scope="module")
def comparison(data):
    X, y, domain = data
    SEEN.clear()
    simple = {"source only": LogisticRegression(), "upper": LogisticRegression(), "dummy": DummyClassifier()}
    candidates = {**simple, "told": Told()}
    return compare_transfer(X, y, candidates=candidates, sample_domain=domain, target_only=["upper"], **QUICK)


@pytest.fixture(scope="module")
def seen(comparison):
    """What the candidate that asks was given."""
    return list(SEEN)


def test_every_image_of_the_target_is_tested_and_none_of_the_source(comparison):
    tested = np.concatenate([test for _, test in comparison.splits])
    assert sorted(tested) == list(range(30, 60))
    for train, test in comparison.splits:
        assert set(train) == set(range(60)) - set(test)


def test_a_candidate_that_asks_sees_all_images_and_labels_of_the_source_alone(data, comparison, seen):
    _, y, domain = data
    fits = [one for one in seen if one[1] is not None]
    assert len(fits) == 3
    for (X, labels, told), (train, _) in zip(fits, comparison.splits, strict=True):
        np.testing.assert_array_equal(images_in(X), train)
        np.testing.assert_array_equal(told, domain[train])
        np.testing.assert_array_equal(labels, np.where(train < 30, y[train] == "bee", -1))
    for X, _, told in (one for one in seen if one[1] is None):
        assert set(told) == {-2}
        assert set(images_in(X)) <= set(range(30, 60))


def test_others_are_fitted_on_the_source_or_on_the_target(data, comparison):
    X, y, _ = data
    for name, fitted_on in (
        ("source only", lambda train: train[train < 30]),
        ("upper", lambda train: train[train >= 30]),
    ):
        for run, (train, test) in zip(comparison.runs_of(name), comparison.splits, strict=True):
            rows = fitted_on(train)
            assert run.predicted == LogisticRegression().fit(X[rows], y[rows]).predict(X[test]).tolist()
    assert comparison.scores["upper"].mean() > 0.9 > 0.6 > comparison.scores["source only"].mean()


def test_labels_of_the_target_change_nothing_but_the_upper_row(data):
    """Exchanged in training, they leave predictions as they are: folds are given, since they are drawn by class."""
    X, y, domain = data
    splits = [(np.arange(50), np.arange(50, 60))]
    other = y.copy()
    other[30:50] = np.where(y[30:50] == "ant", "bee", "ant")
    candidates = {"source only": LogisticRegression(), "told": Told(), "upper": LogisticRegression()}
    options = {**QUICK, "cv": splits, "sample_domain": domain, "target_only": ["upper"], "candidates": candidates}
    one, two = (compare_transfer(X, labels, **options) for labels in (y, other))
    same = {name: one.runs_of(name)[0].predicted == two.runs_of(name)[0].predicted for name in candidates}
    assert same == {"source only": True, "told": True, "upper": False}


def test_the_record_says_who_saw_what(comparison):
    assert comparison.settings["domains"] == {"n_source": 30, "n_target": 30, "target_only": ["upper"]}
    note = "All tests are on the 30 images of the target; the 30 of the source are for training alone."
    assert note in " ".join(str(comparison).split())
    assert "Its labels reach 'upper' alone." in " ".join(str(comparison).split())
    assert comparison.settings["call"]["needed"] == ["my_told", "sample_domain"]


def test_probabilities_scorers_and_routing_work_as_ever(data):
    X, y, domain = data
    candidates = {"source only": LogisticRegression(), "upper": LogisticRegression()}
    options = {**QUICK, "sample_domain": domain, "target_only": ("upper",), "scoring": ["accuracy", "roc_auc"]}
    before = get_config()
    comparison = compare_transfer(X, y, candidates=candidates, **options)
    assert get_config() == before
    assert comparison.scores_of("roc_auc")["upper"].mean() > 0.9
    assert None not in comparison.runs_of("upper")[0].confidence


def test_numbers_are_hidden_by_nan():
    class ToldNumbers(Told):
        _estimator_type = "regressor"

        def fit(self, X, y, sample_domain=None):
            SEEN.append(y.copy())
            self.model_ = LinearRegression().fit(X[~np.isnan(y)], y[~np.isnan(y)])
            return self

        def predict(self, X, sample_domain=None):
            return self.model_.predict(X)

        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.estimator_type = "regressor"
            return tags

    SEEN.clear()
    rng = np.random.default_rng(0)
    X, domain = rng.normal(size=(40, 2)), np.repeat([3, -1], 20)
    candidates = {"source only": LinearRegression(), "told": ToldNumbers()}
    comparison = compare_transfer(X, X @ [1.5, 2.5], candidates=candidates, sample_domain=domain, **QUICK)
    assert sorted(np.isnan(y).sum() for y in SEEN) == [13, 13, 14]
    np.testing.assert_allclose(comparison.scores["told"], 1.0)


def test_groups_stay_together_across_the_domains(data):
    X, y, domain = data
    groups = np.arange(60) % 30 // 2  # each has images of both domains
    candidates = {"source only": LogisticRegression(), "dummy": DummyClassifier()}
    for cv in (3, GroupKFold(3)):
        options = {**QUICK, "cv": cv, "candidates": candidates, "sample_domain": domain}
        comparison = compare_transfer(X, y, groups=groups, **options)
        assert sorted(np.concatenate([test for _, test in comparison.splits])) == list(range(30, 60))
        for train, test in comparison.splits:
            assert not set(groups[train]) & set(groups[test])
            assert (train < 30).sum() == 20
        assert comparison.group_gap is None


def test_kept_fits_are_those_of_the_same_domains(data, tmp_path):
    X, y, domain = data
    file, candidates = tmp_path / "fits.jsonl", {"source only": LogisticRegression(), "told": Told()}
    options = {**QUICK, "candidates": candidates, "resume": file}
    first = compare_transfer(X, y, sample_domain=domain, **options)
    SEEN.clear()
    again = compare_transfer(X, y, sample_domain=domain, **options)
    assert not SEEN
    assert again.runs == first.runs
    compare_transfer(X, y, sample_domain=domain, target_only=["source only"], **options)
    compare_transfer(X, y, sample_domain=np.where(domain > 0, 2, -2), **options)
    assert len(file.read_text().splitlines()) == 6 + 3 + 6


def test_a_pipeline_of_skada_is_a_candidate_on_images():
    if find_spec("skada") is None:  # not imported before it is guarded
        pytest.skip("needs skada")
    with config_context():
        from skada import CORALAdapter, PerDomain, make_da_pipeline

    digits = load_digits()
    X, y, domain = digits.images[:90].copy(), digits.target[:90], np.repeat([1, -2], 45)
    X[45:] = 16 - X[45:]
    X, y = X[y < 3], y[y < 3]
    domain = domain[digits.target[:90] < 3]
    extractor = PretrainedFeatureExtractor()
    candidates = {
        "source only": "frozen",
        "scaled": make_da_pipeline(extractor, PerDomain(StandardScaler()), LinearProbeClassifier()),
        "CORAL": make_da_pipeline(extractor, StandardScaler(), CORALAdapter(reg=0.5), LinearProbeClassifier()),
    }
    comparison = compare_transfer(X, y, candidates=candidates, sample_domain=domain, **QUICK)
    assert get_config()["enable_metadata_routing"] is False
    assert comparison.transfer == {"source only": True, "scaled": True, "CORAL": True}
    assert comparison.scores["scaled"].mean() > comparison.scores["source only"].mean()
    assert {network["name"] for network in comparison.settings["networks"].values()} == {"tiny_fractal"}
    assert set(np.concatenate([run.predicted for run in comparison.runs_of("CORAL")])) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_domain": np.ones(60, int)}, r"positive ones for images of the source and negative .* Got 1 instead"),
        ({"sample_domain": np.repeat([0, -1], 30)}, r"sample_domain must hold whole numbers, .* Got -1, 0 instead"),
        ({"sample_domain": np.repeat(["a", "b"], 30)}, r"sample_domain must hold whole numbers, .* Got a, b instead"),
        ({"sample_domain": np.repeat([1.0, -1.5], 30)}, r"sample_domain must hold whole numbers"),
        ({"sample_domain": [1, -1]}, "inconsistent numbers of samples"),
        ({"target_only": ["uper"]}, r"target_only must name candidates, .* Got 'uper' instead\. Did you mean 'upper'"),
        ({"sample_domain": None, "target_only": ["upper"]}, "target_only must be empty without sample_domain"),
    ],
)
def test_what_makes_no_sense_is_refused(data, change, message):
    X, y, domain = data
    candidates = {"source only": LogisticRegression(), "upper": LogisticRegression()}
    with pytest.raises(ValueError, match=message):
        compare_transfer(X, y, candidates=candidates, **{**QUICK, "sample_domain": domain, **change})


def test_the_mark_of_an_unknown_label_is_no_prediction(data):
    X, y, domain = data
    candidates = {"source only": LogisticRegression(), "forgetful": Forgetful()}
    with pytest.raises(RuntimeError, match="must leave out images with the label -1"):
        compare_transfer(X, y, candidates=candidates, sample_domain=domain, **QUICK)


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_rows_are_selected_with_their_domains(kind):
    rows = RowsOfDomains(kind(["a", "b", "c"]), np.array([1, -2, 3]))
    some = rows[np.array([2, 0])]
    assert list(some.images) == ["c", "a"]
    assert some.sample_domain.tolist() == [3, 1]
    assert (len(rows), rows.shape, rows[1]) == (3, (3,), "b")
