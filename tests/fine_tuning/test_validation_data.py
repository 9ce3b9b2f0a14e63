"""What early stopping watches: whole groups of the training images, those of a splitter, or a user's own images."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, GroupKFold, GroupShuffleSplit, PredefinedSplit, ShuffleSplit
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sktl import FineTuneClassifier, FineTuneRegressor

QUICK = {
    "ensemble": False,
    "unfreeze_depth": 0,
    "head": [8],
    "augment": None,
    "max_epochs": 3,
    "learning_rate": 1e-2,
    "random_state": 0,
}
STOPPING = {**QUICK, "early_stopping": True}


class Watch(Callback):
    """Keeps the images of both parts, by the brightness of their pixels at the split point."""

    def __init__(self):
        self.parts_ = []

    def on_train_begin(self, net, X=None, **kwargs):
        _, held_out = net.train_split(X) if net.train_split else (None, None)
        self.parts_.append([None if part is None else sums_of(part) for part in (X, held_out)])


def sums_of(data):
    return {float(data.activations[[position]].sum()) for position in data.positions}


@pytest.fixture
def grouped():
    """Twelve subjects with three pictures each, which look alike; two classes."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 3)
    X = rng.integers(0, 256, (12, 12, 12, 3))[groups] + rng.integers(-3, 4, (36, 12, 12, 3))
    return np.clip(X, 0, 255).astype(np.uint8), groups % 2, np.array([f"subject {i:02}" for i in groups])


def parts_of(model, X, **options):
    """Return the rows of X on both sides of the inner split."""
    watch = Watch()
    model = clone(model).set_params(callbacks=[watch], unfreeze_depth="all", image_size=12, max_epochs=1)
    model.fit(X, **options)
    own = {i: float(model.module_.preprocessing.prepare(image).astype(float).sum()) for i, image in enumerate(X)}
    return [[i for i, total in own.items() if part is not None and total in part] for part in watch.parts_[0]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_groups_are_on_one_side_of_the_inner_split(grouped, seed, fraction):
    pytest.importorskip("sklearn", minversion="1.7", reason="earlier ones may draw one class alone for one side")
    X, y, groups = grouped
    model = FineTuneClassifier(**{**STOPPING, "random_state": seed, "validation_fraction": fraction})
    train, held_out = parts_of(model, X, y=y, groups=groups)
    assert sorted(train + held_out) == list(range(36))
    assert not set(groups[train]) & set(groups[held_out])
    assert abs(len(held_out) - fraction * 36) <= 3
    assert set(y[train]) == {0, 1}


def test_without_groups_they_are_torn_apart(grouped):
    X, y, groups = grouped
    train, held_out = parts_of(FineTuneClassifier(**STOPPING), X, y=y)
    assert set(groups[train]) & set(groups[held_out])


def test_groups_change_nothing_where_nothing_is_set_aside(grouped):
    X, y, groups = grouped
    model = FineTuneClassifier(**QUICK)
    assert_array_equal(model.fit(X, y, groups=groups).predict_proba(X), clone(model).fit(X, y).predict_proba(X))


def test_one_group_cannot_be_split(grouped):
    X, y, _ = grouped
    with pytest.raises(ValueError, match=r"groups must be two at least when .* Got 1 instead"):
        FineTuneClassifier(**STOPPING).fit(X, y, groups=np.zeros(36))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        FineTuneClassifier(**STOPPING).fit(X, y, groups=np.zeros(35))


def test_groups_reach_the_inner_split_through_a_search(grouped):
    """Outer folds and inner split both keep groups together, by scikit-learn's metadata routing."""
    X, y, groups = grouped
    seen = []

    class Look(Callback):
        def __init__(self, lock):  # cannot be cloned: shared by all fits
            self._lock = lock

        def on_train_begin(self, net, X=None, **kwargs):
            _, held_out = net.train_split(X)
            seen.append((X.positions, held_out.positions, X.labels))

    with sklearn.config_context(enable_metadata_routing=True):
        model = FineTuneRegressor(callbacks=[Look(1)], **STOPPING).set_fit_request(groups=True)
        search = GridSearchCV(make_pipeline(model), {"finetuneregressor__patience": [1, 2]}, cv=GroupKFold(3))
        search.fit(X, 1.0 * np.unique(groups, return_inverse=True)[1], groups=groups)
    assert len(seen) == 7
    for train, held_out, numbers in seen:  # the number of a subject is the target
        assert not set(numbers[train]) & set(numbers[held_out])
        assert len(held_out) >= 2
    plain = GridSearchCV(FineTuneClassifier(**STOPPING), {"patience": [1]}, cv=GroupKFold(3))
    assert plain.fit(X, y, groups=groups).best_score_ >= 0


def test_a_splitter_chooses_rows_of_X(grouped):
    X, y, groups = grouped
    fold = np.where(np.arange(36) % 9 == 4, 0, -1)
    train, held_out = parts_of(FineTuneClassifier(**STOPPING), X, y=y, validation=PredefinedSplit(fold))
    assert held_out == [4, 13, 22, 31]
    assert sorted(train + held_out) == list(range(36))
    splitter = GroupShuffleSplit(1, test_size=0.25, random_state=1)
    train, held_out = parts_of(FineTuneClassifier(**QUICK), X, y=y, groups=groups, validation=splitter)
    assert_array_equal(held_out, next(splitter.split(X, y, groups))[1])


def test_copies_of_an_image_that_a_splitter_tears_apart_are_trained_on(grouped):
    X, y, _ = grouped
    X, y = np.r_[X, X[:4]], np.r_[y, y[:4]]
    fold = np.where(np.arange(40) >= 30, 0, -1)
    _, held_out = parts_of(FineTuneClassifier(**STOPPING), X[:36], y=y[:36], validation=PredefinedSplit(fold[:36]))
    assert held_out == list(range(30, 36))
    model = FineTuneClassifier(**STOPPING)
    assert_array_equal(
        model.fit(X, y, validation=PredefinedSplit(fold)).predict_proba(X)[:36],
        clone(model)
        .fit(X, y, sample_weight=np.r_[np.ones(36), np.ones(4)], validation=PredefinedSplit(np.r_[fold[:36], [-1] * 4]))
        .predict_proba(X)[:36],
    )


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
def test_a_splitter_that_tears_groups_apart_is_an_error(grouped):
    X, y, groups = grouped
    with pytest.raises(ValueError, match=r"validation must keep groups together. Got ShuffleSplit, with group"):
        FineTuneClassifier(**STOPPING).fit(X, y, groups=groups, validation=ShuffleSplit(1, random_state=0))


@pytest.mark.parametrize("validation", [3, "holdout", (1,), [1, 2, 3, 4], np.zeros((2, 3)), 0.2])
def test_what_is_neither_images_nor_splitter_is_named_before_images_are_read(validation):
    with pytest.raises(ValueError, match=r"validation must be a pair of images and targets, \(X, y\)"):
        FineTuneClassifier(**STOPPING).fit(["no/such.png", "nor/this.png"], [0, 1], validation=validation)


def test_images_of_the_users_are_watched_and_all_of_X_is_trained_on(grouped):
    X, y, _ = grouped
    names = np.array(["cat", "dog"])[y]
    train, held_out = parts_of(FineTuneClassifier(**STOPPING), X[:24], y=y[:24], validation=(X[24:], y[24:]))
    assert train == list(range(24))
    assert held_out == []
    model = FineTuneClassifier(**QUICK).fit(X[:24], names[:24], validation=(X[24:], names[24:]))
    assert_allclose(model.history_[-1, "valid_loss"], log_loss(names[24:], model.predict_proba(X[24:])), rtol=1e-5)
    plain = FineTuneClassifier(**QUICK).fit(X[:24], names[:24])
    assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


def test_weights_of_the_validation_data_count(grouped):
    X, y, _ = grouped
    weights = np.linspace(0, 2, 12)
    model = FineTuneClassifier(**QUICK).fit(X[:24], y[:24], validation=(X[24:], y[24:], weights))
    expected = log_loss(y[24:], model.predict_proba(X[24:]), sample_weight=weights)
    assert_allclose(model.history_[-1, "valid_loss"], expected, rtol=1e-5)


def test_a_regressor_watches_standardised_targets(grouped):
    X, _, _ = grouped
    y = X.mean((1, 2, 3)) * 7.0
    model = FineTuneRegressor(**QUICK).fit(X[:24], y[:24], validation=(list(X[24:]), list(y[24:])))
    expected = mean_squared_error(y[24:], model.predict(X[24:])) / np.var(y[:24])
    assert_allclose(model.history_[-1, "valid_loss"], expected, rtol=1e-4)


def test_early_stopping_restores_the_best_weights_on_images_of_the_users(grouped):
    X, y, _ = grouped
    settings = {**STOPPING, "learning_rate": 0.3, "max_epochs": 8, "patience": 3, "refit": True}
    model = FineTuneClassifier(**settings).fit(X[:24], y[:24], validation=(X[24:], 1 - y[24:]))
    losses = model.history_[:, "valid_loss"]
    assert model.best_epoch_ == np.argmin(losses) + 1 < len(losses)
    assert_allclose(log_loss(1 - y[24:], model.predict_proba(X[24:])), min(losses), rtol=1e-5)


@pytest.mark.parametrize(
    ("X_val", "y_val", "message"),
    [
        (slice(24, 36), slice(24, 35), "inconsistent numbers of samples"),
        (slice(24, 36), None, "y must hold labels among"),
    ],
)
def test_wrong_validation_data_are_named(grouped, X_val, y_val, message):
    X, y, _ = grouped
    labels = np.arange(12) if y_val is None else y[y_val]
    with pytest.raises(ValueError, match=message):
        FineTuneClassifier(**STOPPING).fit(X[:24], y[:24], validation=(X[X_val], labels))


def test_the_exact_probe_has_nothing_to_watch(grouped):
    X, y, groups = grouped
    model = FineTuneClassifier(unfreeze_depth=0, early_stopping=True)
    plain = clone(model).fit(X, y).predict_proba(X)
    assert_array_equal(model.fit(X, y, groups=groups, validation=(X, y)).predict_proba(X), plain)
