"""Training images are varied by default, but not mirrored or not at all where that takes away part of the answer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.datasets import make_fractals
from sktl.fine_tuning import _choice_of_views
from sktl.fine_tuning._choice_of_views import labels_lost, mirror_matters, squared_errors, views_hurt

ONES = np.ones(60)


def whole(targets):
    """One column of targets, all of which are known."""
    return [(np.arange(len(targets)), targets, np.ones(len(targets)))]


def sided(n, seed=0):
    """A bright square on a noisy ground, on the left or on the right."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 2
    for image, right in zip(X, y, strict=True):
        top, side = rng.integers(4, 24), rng.integers(2, 8)
        left = 24 - side if right else side
        image[top : top + 5, left : left + 5] = 255
    return X, y


def handed(n, seed=1):
    """A right triangle anywhere and of any size, its upright side on the left or on the right."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 2
    for image, right in zip(X, y, strict=True):
        side = rng.integers(12, 20)
        top, left = rng.integers(1, 31 - side, 2)
        triangle = np.tril(np.ones((side, side), dtype=bool))
        image[top : top + side, left : left + side][triangle[:, ::-1] if right else triangle] = 255
    return X, y


def squares(n, seed=0, sides=(5, 7, 9)):
    """A bright square anywhere, of one of some sizes."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % len(sides)
    for image, size in zip(X, y, strict=True):
        side = sides[size]
        top, left = rng.integers(1, 31 - side, 2)
        image[top : top + side, left : left + side] = rng.integers(140, 255)
    return X, y


def shapes(n, seed=0):
    """Fractals of two formulas, and their mirror images."""
    X, y = make_fractals(n // 2, n_classes=2, random_state=seed)
    return np.concatenate([X, X[:, :, ::-1]]), np.tile(y, 2)


def heights(n, seed=0):
    """A bright square at the top, in the middle or at the bottom."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 3
    for image, row in zip(X, y, strict=True):
        top, left = 2 + 11 * row + rng.integers(-2, 3), rng.integers(1, 26)
        image[top : top + 5, left : left + 5] = 255
    return X, y


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.images[:150], data.target[:150]


def test_only_so_many_images_are_looked_at(monkeypatch):
    monkeypatch.setattr(_choice_of_views, "_ENOUGH", 30)
    X, y = handed(60)
    model = FineTuneClassifier(max_epochs=1, random_state=0)
    assert model.fit(X[:20], y[:20]).n_mirrored_ == 20
    assert model.fit(X, y).n_mirrored_ == 30
    assert model.augment_ != "light"
    assert model.set_params(augment="light").fit(X, y).n_mirrored_ == 0


@pytest.mark.slow
def test_left_and_right_are_learnt_and_not_mirrored_away():
    model = FineTuneClassifier(random_state=0).fit(*sided(60))
    assert model.augment_ != "light"
    assert model.score(*sided(200, seed=1)) > 0.97
    mirrored = FineTuneClassifier(augment="light", ensemble=False, random_state=0).fit(*sided(60))
    assert mirrored.score(*sided(200, seed=1)) < 0.95  # what the choice is for


@pytest.mark.slow
def test_sizes_are_learnt_and_not_cut_away():
    model = FineTuneClassifier(random_state=0).fit(*squares(60))
    assert model.augment_ is None
    assert model.score(*squares(200, seed=1)) > 0.92
    cut = FineTuneClassifier(augment="light", ensemble=False, random_state=0).fit(*squares(60))
    assert cut.score(*squares(200, seed=1)) < 0.85  # what the choice is for


@pytest.mark.parametrize("weights", ["default", None])
def test_left_and_right_hands_are_not_mirrored(weights):
    model = FineTuneClassifier(weights=weights, max_epochs=1, random_state=0)
    assert model.fit(*handed(60)).augment_ == "unmirrored"


@pytest.mark.parametrize("make", [squares, heights, sided])
def test_sizes_and_places_are_not_cut_away(make):
    assert FineTuneClassifier(max_epochs=1, random_state=0).fit(*make(60)).augment_ is None


@pytest.mark.parametrize(("weights", "chosen"), [("default", None), (None, "unmirrored")])
def test_digits_that_fill_the_picture_are_not_cut_and_from_scratch_at_least_not_mirrored(digits, weights, chosen):
    X, y = digits
    model = FineTuneClassifier(weights=weights, max_epochs=1, value_range=(0, 16), random_state=0)
    assert model.fit(X, y).augment_ == chosen


@pytest.mark.parametrize("weights", ["default", None])
def test_shapes_that_are_the_same_from_either_side_are_cut_and_mirrored(weights):
    X, y = make_fractals(60, n_classes=3, random_state=0)
    X = np.concatenate([X, X[:, :, ::-1]])
    model = FineTuneClassifier(weights=weights, max_epochs=1, random_state=0).fit(X, np.tile(y, 2))
    assert model.augment_ == "light"


@pytest.mark.parametrize(
    ("make", "said"), [(handed, "images are not mirrored in training"), (squares, "training sees plain images only")]
)
def test_it_is_said_when_asked_for(make, said, capsys):
    FineTuneClassifier(max_epochs=1, random_state=0, verbose=1).fit(*make(60))
    assert said in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "chosen"), [("size", None), ("place", None), ("side", "unmirrored"), ("shape", "light")]
)
def test_numbers_choose_as_labels_do(answer, chosen, monkeypatch):
    monkeypatch.setattr(FineTuneRegressor, "_augments", True)
    X, y = {"size": squares, "place": sided, "side": handed, "shape": shapes}[answer](90)
    model = FineTuneRegressor(max_epochs=1, random_state=0)
    assert model.fit(X, y + np.random.default_rng(0).normal(0, 0.05, len(y))).augment_ == chosen


def test_the_exact_probe_sees_no_views(digits):
    X, y = digits
    assert FineTuneClassifier(unfreeze_depth=0, value_range=(0, 16)).fit(X, y).augment_ is None


def test_a_regressor_from_scratch_sees_no_views_unless_told_to(digits):
    X, y = digits
    model = FineTuneRegressor(weights=None, max_epochs=1, value_range=(0, 16), random_state=0)
    assert model.fit(X[:20], y[:20]).augment_ is None
    assert model.set_params(augment="light").fit(X[:20], y[:20]).augment_ == "light"


def test_what_is_said_is_done(digits):
    X, y = digits
    model = FineTuneClassifier(augment="light", max_epochs=1, value_range=(0, 16), random_state=0)
    assert model.fit(X, y).augment_ == "light"


def test_single_passes_see_plain_images_unless_told_otherwise(digits):
    X, y = digits
    model = FineTuneClassifier(value_range=(0, 16), random_state=0)
    assert model.partial_fit(X[:20], y[:20], classes=range(10)).augment_ is None
    assert model.set_params(augment="light").partial_fit(X[:20], y[:20]).augment_ == "light"
    assert model.set_params(augment="auto").partial_fit(X[:20], y[:20]).augment_ is None


def test_a_whole_training_that_goes_on_chooses_anew(digits):
    X, y = digits
    model = FineTuneClassifier(max_epochs=1, value_range=(0, 16), warm_start=True, random_state=0)
    assert model.fit(X[:12], y[:12]).augment_ == "light"  # too few to know better
    assert model.fit(X, y).augment_ is None


def test_rows_of_features_have_nothing_to_cut_or_mirror():
    X, y = np.random.default_rng(0).random((40, 6)), np.arange(40) % 2
    model = FineTuneClassifier(max_epochs=1, random_state=0).fit(X, y)
    assert (model.augment_, model.n_mirrored_) == (None, 0)


def test_a_head_that_is_trained_sees_views_at_depth_0_too():
    X, y = make_fractals(20, n_classes=2, random_state=0)
    model = FineTuneClassifier(unfreeze_depth=0, head=(8,), max_epochs=1, random_state=0)
    assert model.fit(X, y).augment_ in ("light", "unmirrored")


@pytest.mark.slow
def test_images_of_hardly_any_weight_have_no_say():
    symmetric, labels = make_fractals(60, n_classes=2, random_state=0)
    symmetric = np.concatenate([symmetric, symmetric[:, :, ::-1]])
    with_side, sides = handed(60)
    with_side = np.pad(with_side, ((0, 0), *[(0, symmetric.shape[1] - 32)] * 2, (0, 0)))
    X, y = np.concatenate([symmetric, with_side]), np.r_[labels, labels, 2 + sides]
    model = FineTuneClassifier(max_epochs=1, random_state=0)
    assert model.fit(X, y).augment_ != "light"
    assert model.fit(X, y, sample_weight=np.r_[np.ones(120), np.full(60, 1e-9)]).augment_ == "light"


def test_several_labels_of_an_image_are_judged_one_by_one():
    X, y = handed(60)
    labels = np.c_[y, 1 - y, np.ones_like(y)]
    model = FineTuneClassifier(max_epochs=1, random_state=0).fit(X, labels)
    assert model.augment_ == "unmirrored"


@pytest.mark.parametrize("n_labels", [1, 3])
def test_labels_lost_are_those_of_predictions_by_models_that_have_not_seen_the_image(n_labels):
    """The oracle: scikit-learn's cross_val_predict for plain images."""
    rng = np.random.default_rng(0)
    plain, y = rng.normal(size=(60, 7)), rng.integers(0, 2, (60, n_labels))
    plain[:, :n_labels] += 2 * y
    y = y[:, 0] if n_labels == 1 else y
    nothing = np.zeros_like(plain)  # a mirror image without any feature is given one and the same labels by a model
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=7))
    predicted = cross_val_predict(model, plain, y, cv=KFold(5))
    right = (predicted == y).reshape(60, -1).sum(axis=1)
    blind = np.concatenate(
        [
            (model.fit(plain[train], y[train]).predict(nothing[test]) == y[test]).reshape(len(test), -1).sum(axis=1)
            for train, test in KFold(5).split(plain)
        ]
    )
    assert_array_equal(labels_lost(plain, nothing, y, ONES), right - blind)
    assert_array_equal(labels_lost(plain, plain, y, ONES), 0)


@pytest.mark.parametrize("y", [np.zeros(20, dtype=int), np.arange(20), np.zeros((20, 2), dtype=int), np.arange(3)])
def test_labels_that_cannot_be_judged_say_nothing(y):
    features = np.random.default_rng(0).normal(size=(len(y), 4))
    assert abs(labels_lost(features, -features, y, ONES[: len(y)])).sum() == 0


@pytest.mark.slow
def test_by_chance_mirroring_is_given_up_seldom():
    """Features of the mirror image as good as those of the image: at most a few sets in a hundred."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        y = rng.integers(0, 4, 60)
        plain, mirror = (rng.normal(size=(60, 10)) + 1.5 * np.eye(10)[y] for _ in range(2))
        lost = labels_lost(plain, mirror, y, ONES)
        alarms += lost.sum() > 2.5 * np.sqrt(np.square(lost).sum())
    assert alarms <= 6


@pytest.mark.parametrize("n_targets", [1, 3])
def test_squared_errors_are_those_of_predictions_by_models_that_have_not_seen_the_image(n_targets):
    """The oracle: scikit-learn's cross_val_predict for plain images, and a fit by hand for weights and views."""
    rng = np.random.default_rng(0)
    plain, view, weights = rng.normal(size=(60, 7)), rng.normal(size=(60, 7)), rng.integers(1, 4, 60)
    targets = plain[:, :n_targets] + rng.normal(size=(60, n_targets))
    model = make_pipeline(StandardScaler(), Ridge(alpha=7))
    predicted = cross_val_predict(model, plain, targets, cv=KFold(5)).reshape(60, -1)
    folds = list(KFold(5).split(plain))
    for train, test in folds:
        predicted[test] = predicted[test].clip(targets[train].min(axis=0), targets[train].max(axis=0))
    assert_allclose(squared_errors([plain], plain, targets, ONES), np.square(predicted - targets).sum(axis=1))
    found = squared_errors([plain, view], view, targets, weights)
    for train, test in folds:
        copies = np.repeat(train, weights[train])  # of each image as many as it weighs, half of them views
        scaler = StandardScaler().fit(np.r_[plain[copies], view[copies]])
        model = Ridge(alpha=14).fit(
            scaler.transform(np.r_[plain[copies], view[copies]]), np.tile(targets[copies], (2, 1))
        )
        answers = model.predict(scaler.transform(view[test])).reshape(len(test), -1)
        answers = answers.clip(targets[train].min(axis=0), targets[train].max(axis=0))
        assert_allclose(found[test], np.square(answers - targets[test]).sum(axis=1))


@pytest.mark.parametrize("targets", [np.zeros((20, 1)), np.zeros(20, dtype=int), np.arange(3), np.arange(20)])
def test_targets_that_cannot_be_judged_hurt_nobody(targets):
    plain, view = np.random.default_rng(0).normal(size=(2, len(targets), 4))
    assert not views_hurt(plain, [view], whole(targets), ONES[: len(targets)])


def test_views_that_tell_less_are_seen_to_hurt_and_others_not():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 60)
    plain, other, empty = rng.normal(size=(3, 60, 10))
    plain, other = (features + 1.5 * np.eye(10)[y] for features in (plain, other))
    assert views_hurt(plain, [empty, -plain], whole(y), ONES)
    assert not views_hurt(plain, [other], whole(y), ONES)
    assert mirror_matters(plain, -plain, whole(np.eye(4)[y]), ONES, are_labels=False)
    assert not mirror_matters(plain, other, whole(np.eye(4)[y]), ONES, are_labels=False)


@pytest.mark.slow
def test_by_chance_views_are_given_up_seldom():
    """Views as good as other images of the same kind: at most a few sets in a hundred."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        y = rng.integers(0, 4, 60)
        plain, *views = rng.normal(size=(3, 60, 10)) + 1.5 * np.eye(10)[y]
        alarms += views_hurt(plain, views, whole(y), ONES)
    assert alarms <= 6


@pytest.mark.parametrize("are_labels", [True, False])
def test_of_several_columns_the_images_whose_label_is_known_decide(are_labels):
    """Of the first column few are known, and only there left and right are the answer."""
    rng = np.random.default_rng(0)
    plain, known, y = rng.normal(size=(60, 5)), np.arange(0, 60, 3), np.arange(60) // 3 % 2
    plain[:, 0] += 8 * y - 4
    y, noise = (each if are_labels else np.eye(2)[each] for each in (y, rng.integers(0, 2, 60)))
    columns = [(known, y[known], np.ones(20)), *whole(noise)]
    mirror = plain * [-1, 1, 1, 1, 1]
    assert mirror_matters(plain, mirror, columns, ONES, are_labels=are_labels)
    assert not mirror_matters(plain, mirror, columns[1:], ONES, are_labels=are_labels)
