"""Training images are mirrored by default, except where left and right carry part of the answer."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.datasets import make_fractals
from sktl.fine_tuning import _mirroring
from sktl.fine_tuning._mirroring import labels_lost

ONES = np.ones(60)


def sided(n, seed=0):
    """A bright square on a noisy ground, on the left or on the right."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 2
    for image, right in zip(X, y, strict=True):
        top, side = rng.integers(4, 24), rng.integers(2, 8)
        left = 24 - side if right else side
        image[top : top + 5, left : left + 5] = 255
    return X, y


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.images[:150], data.target[:150]


def test_only_so_many_images_are_looked_at(monkeypatch):
    monkeypatch.setattr(_mirroring, "_ENOUGH", 30)
    X, y = sided(60)
    model = FineTuneClassifier(max_epochs=1, random_state=0)
    assert model.fit(X[:20], y[:20]).n_mirrored_ == 20
    assert model.fit(X, y).n_mirrored_ == 30
    assert model.augment_ == "unmirrored"
    assert model.set_params(augment="light").fit(X, y).n_mirrored_ == 0


@pytest.mark.slow
def test_left_and_right_are_learnt_and_not_mirrored_away():
    model = FineTuneClassifier(random_state=0).fit(*sided(60))
    assert model.augment_ == "unmirrored"
    assert model.score(*sided(200, seed=1)) > 0.97
    mirrored = FineTuneClassifier(augment="light", random_state=0).fit(*sided(60))
    assert mirrored.score(*sided(200, seed=1)) < 0.95  # what the choice is for


def test_digits_are_not_mirrored(digits):
    X, y = digits
    assert FineTuneClassifier(max_epochs=1, value_range=(0, 16), random_state=0).fit(X, y).augment_ == "unmirrored"


@pytest.mark.parametrize("weights", ["default", None])
def test_shapes_that_are_the_same_from_either_side_are_mirrored(weights):
    X, y = make_fractals(60, n_classes=3, random_state=0)
    X = np.concatenate([X, X[:, :, ::-1]])
    model = FineTuneClassifier(weights=weights, max_epochs=1, random_state=0).fit(X, np.tile(y, 2))
    assert model.augment_ == "light"


def test_from_scratch_digits_are_not_mirrored_either(digits):
    X, y = digits
    model = FineTuneClassifier(weights=None, max_epochs=1, value_range=(0, 16), random_state=0)
    assert model.fit(X, y).augment_ == "unmirrored"


def test_it_is_said_when_asked_for(digits, capsys):
    X, y = digits
    FineTuneClassifier(max_epochs=1, value_range=(0, 16), random_state=0, verbose=1).fit(X, y)
    assert "images are not mirrored in training" in capsys.readouterr().out


def test_the_exact_probe_sees_no_views(digits):
    X, y = digits
    assert FineTuneClassifier(unfreeze_depth=0, value_range=(0, 16)).fit(X, y).augment_ is None


def test_regressors_see_no_views_unless_told_to(digits):
    X, y = digits
    model = FineTuneRegressor(max_epochs=1, value_range=(0, 16), random_state=0)
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
    assert model.fit(X, y).augment_ == "unmirrored"


def test_rows_of_features_have_nothing_to_cut_or_mirror():
    X, y = np.random.default_rng(0).random((40, 6)), np.arange(40) % 2
    model = FineTuneClassifier(max_epochs=1, random_state=0).fit(X, y)
    assert (model.augment_, model.n_mirrored_) == (None, 0)


def test_a_head_that_is_trained_sees_views_at_depth_0_too():
    X, y = make_fractals(20, n_classes=2, random_state=0)
    model = FineTuneClassifier(unfreeze_depth=0, head=(8,), max_epochs=1, random_state=0)
    assert model.fit(X, y).augment_ in ("light", "unmirrored")


def test_images_of_hardly_any_weight_have_no_say():
    symmetric, labels = make_fractals(60, n_classes=2, random_state=0)
    symmetric = np.concatenate([symmetric, symmetric[:, :, ::-1]])
    with_side, sides = sided(60)
    with_side = np.pad(with_side, ((0, 0), *[(0, symmetric.shape[1] - 32)] * 2, (0, 0)))
    X, y = np.concatenate([symmetric, with_side]), np.r_[labels, labels, 2 + sides]
    model = FineTuneClassifier(max_epochs=1, random_state=0)
    assert model.fit(X, y).augment_ == "unmirrored"
    assert model.fit(X, y, sample_weight=np.r_[np.ones(120), np.full(60, 1e-9)]).augment_ == "light"


def test_several_labels_of_an_image_are_judged_one_by_one():
    X, y = sided(60)
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
