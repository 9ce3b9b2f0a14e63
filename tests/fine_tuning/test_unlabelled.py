"""Images without a label: how they are marked, what a teacher says of them, and what never sees them."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, PredefinedSplit, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback, EpochScoring
from torch.nn import functional

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.models import load_model, save_model

QUICK = {
    "unfreeze_depth": 0,
    "head": [8],
    "augment": None,
    "max_epochs": 2,
    "learning_rate": 1e-2,
    "image_size": 12,
    "random_state": 0,
}
WORDS = np.array(["ant", "bee", "cat"])


class Scripted(ClassifierMixin, BaseEstimator):
    """Has probabilities of its own for each picture, which depend on its pixels alone."""

    def __init__(self, classes=(0, 1, 2)):
        self.classes = classes

    def fit(self, X, y=None):
        self.classes_ = np.array(self.classes)
        return self

    def predict_proba(self, X):
        sums = np.asarray(X, dtype=float).sum((1, 2, 3))
        odds = np.stack([1 + np.cos(sums * (k + 1)) for k in range(len(self.classes))], axis=1) + 0.01
        return odds / odds.sum(axis=1, keepdims=True)


def flat_features(X):
    return np.asarray(X, dtype=float).reshape(len(X), -1) / 255


def linear():
    return make_pipeline(FunctionTransformer(flat_features), LogisticRegression())


class Recorder(Callback):
    """Keeps the inputs, labels and losses of the training, and the positions it has seen."""

    def __init__(self):
        self.steps_ = []
        self.data_ = None

    def on_train_begin(self, net, X=None, **kwargs):
        _, self.held_out_ = net.train_split(X) if net.train_split else (None, None)
        self.data_ = X

    def on_batch_end(self, net, batch=None, training=False, loss=None, y_pred=None, **kwargs):
        if training:
            self.steps_.append((*batch, y_pred.detach(), loss.item()))


@pytest.fixture
def half(three_patterns):
    """Pictures of three classes with two labels in each, and which pictures have none."""
    X, y = three_patterns
    known = np.zeros(len(y), dtype=bool)
    for k in range(3):
        known[np.flatnonzero(y == k)[:3]] = True
    return X, y, known


def marked(y, known, mark=-1):
    return np.where(known, y, mark)


def as_words(y, known, mark=None):
    words = WORDS[y].astype(object)
    words[~known] = mark
    return words


# how they are marked

MARKS = {
    "int": lambda y, known: marked(y, known),
    "list of int": lambda y, known: marked(y, known).tolist(),
    "float": lambda y, known: marked(y, known).astype(float),
    "NaN": lambda y, known: marked(y.astype(float), known, np.nan),
    "None among ints": lambda y, known: [label if has else None for label, has in zip(y.tolist(), known, strict=True)],
    "masked": lambda y, known: np.ma.masked_array(y, ~known),
    "nullable": lambda y, known: pd.Series(y).astype("Int64").where(pd.Series(known)),
    "column": lambda y, known: pd.Series(marked(y, known)),
}
WORD_MARKS = {
    "None": lambda y, known: as_words(y, known),
    "NaN": lambda y, known: as_words(y, known, np.nan),
    "NA": lambda y, known: pd.Series(as_words(y, known, pd.NA), dtype="string"),
    "categorical": lambda y, known: pd.Series(as_words(y, known), dtype="category"),
    "list": lambda y, known: as_words(y, known).tolist(),
    "-1 among words": lambda y, known: as_words(y, known, -1).tolist(),
}


@pytest.mark.parametrize("kind", MARKS)
def test_unlabelled_numbers_may_be_marked_in_many_ways(half, kind):
    X, y, known = half
    model = FineTuneClassifier(teacher=Scripted().fit(X), **QUICK)
    expected = clone_of(model).fit(X, marked(y, known))
    found = clone_of(model).fit(X, MARKS[kind](y, known))
    assert_array_equal(found.classes_, [0, 1, 2])
    assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize("kind", WORD_MARKS)
def test_unlabelled_words_may_be_marked_in_many_ways(half, kind):
    X, y, known = half
    model = FineTuneClassifier(teacher=Scripted(tuple(WORDS)).fit(X), **QUICK)
    found = clone_of(model).fit(X, WORD_MARKS[kind](y, known))
    assert found.classes_.tolist() == WORDS.tolist()
    numbers = FineTuneClassifier(teacher=Scripted().fit(X), **QUICK).fit(X, marked(y, known))
    assert_array_equal(found.predict_proba(X), numbers.predict_proba(X))


def clone_of(model):
    return clone(model.set_params(teacher=FrozenEstimator(model.teacher)))


@pytest.mark.parametrize("kind", ["NaN", "None among ints", "masked", "nullable"])
def test_without_a_teacher_a_label_that_is_missing_is_an_error(half, kind):
    X, y, known = half
    message = r"Got none for 21 of 30 instead, the first at position 9\. Leave these images out, or set teacher="
    with pytest.raises(ValueError, match=message):
        FineTuneClassifier(**QUICK).fit(X, MARKS[kind](y, known))
    with pytest.raises(ValueError, match="set teacher="):
        FineTuneClassifier(**QUICK).fit(X, as_words(y, known))
    with pytest.raises(ValueError, match=r"Leave these images out\.$|Input y contains NaN"):
        FineTuneRegressor(**QUICK).fit(X, MARKS[kind](y, known))


@pytest.mark.parametrize("labels", [(-1, 1), (-1, 0)])
def test_minus_one_stays_a_class_where_two_are_told_apart(patterns, labels):
    X, y = patterns
    signs = np.array(labels)[y]
    alone = FineTuneClassifier(**QUICK).fit(X, signs)
    assert_array_equal(alone.classes_, labels)
    assert alone.score(X, signs) == (alone.predict(X) == signs).mean()
    teacher = Scripted(labels).fit(X)
    taught = FineTuneClassifier(teacher=teacher, **QUICK).fit(X, signs)
    assert_array_equal(taught.classes_, labels)
    some = signs.astype(float)
    some[4:] = np.nan
    assert_array_equal(FineTuneClassifier(teacher=teacher, **QUICK).fit(X, some).classes_, labels)
    with pytest.raises(ValueError, match=r"Got 1 class instead\. Where a teacher is set, -1 stands for no label"):
        FineTuneClassifier(teacher=linear(), teacher_cv=2, **QUICK).fit(X, signs)


@pytest.mark.parametrize(
    ("y", "is_said"),
    [([-1, 0, 1], True), ([-1, 3, 5, 7], True), ([-1, 1], False), ([-2, -1, 0], False), ([0, 1, 2], False)],
)
def test_minus_one_beside_other_classes_is_asked_about_where_there_is_no_teacher(y, is_said):
    X, y = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8), np.resize(y, 12)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = FineTuneClassifier(**QUICK).fit(X, y)
    assert_array_equal(model.classes_, np.unique(y))
    found = [str(each.message) for each in caught if "-1" in str(each.message)]
    assert len(found) == is_said
    assert all("learnt as a class. Set teacher=, or give the class another name" in message for message in found)


# what is learnt from them


@pytest.mark.parametrize("mixup", [0.0, 0.5])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_the_probabilities_of_the_teacher_stand_for_labels(half, alpha, mixup):
    """The whole loss, by hand, of the first step over all images, with weights, smoothing and weights of classes."""
    X, y, known = half
    teacher, recorder, weights = Scripted().fit(X), Recorder(), np.linspace(0.5, 2, len(y))
    options = {"alpha": alpha, "temperature": 3.0, "mixup": mixup, "label_smoothing": 0.1}
    model = FineTuneClassifier(teacher=teacher, callbacks=[recorder], **options, **QUICK)
    model.fit(X, marked(y, known), sample_weight=weights)
    inputs, labels, outputs, loss = recorder.steps_[0]
    opinions = teacher.predict_proba(X)
    if not mixup:
        expected = np.where(known[:, None], np.eye(3)[y], opinions)
        assert_allclose(sorted(inputs["targets"].tolist()), sorted(expected.tolist()), atol=1e-6)
        guessed = np.where(known, y, opinions.argmax(axis=1))
        assert sorted(labels.tolist()) == sorted(guessed.tolist())
    else:
        assert_allclose(inputs["targets"].sum(1), 1, atol=1e-6)
    smooth = 0.9 * inputs["targets"] + 0.1 / 3
    from_labels = -(smooth * outputs.log_softmax(1)).sum(1)
    from_teacher = -9 * (inputs["teacher"] * (outputs / 3).log_softmax(1)).sum(1)
    expected = ((1 - alpha) * from_labels + alpha * from_teacher) * inputs["sample_weight"]
    assert_allclose(loss, expected.mean(), rtol=1e-5)
    assert_allclose(inputs["sample_weight"].sum(), len(y), rtol=1e-5)


def test_weights_of_classes_leave_unlabelled_images_their_share(half):
    X, y, known = half
    known = known | (y == 0)
    recorder = Recorder()
    options = {"teacher": Scripted().fit(X), "class_weight": "balanced", "callbacks": [recorder]}
    FineTuneClassifier(**options, **QUICK).fit(X, marked(y, known))
    inputs, _, _, _ = recorder.steps_[0]
    has_label = inputs["targets"].max(1).values == 1
    weights = inputs["sample_weight"]
    assert_allclose(weights[~has_label], 1, rtol=1e-5)
    totals = [float(weights[has_label & (inputs["targets"].argmax(1) == k)].sum()) for k in range(3)]
    assert_allclose(totals, np.full(3, known.sum() / 3), rtol=1e-5)


def test_weights_count_as_copies_and_order_does_not_matter(half):
    X, y, known = half
    y = marked(y, known)
    weights = np.random.default_rng(0).integers(0, 3, len(y))
    model = FineTuneClassifier(teacher=FrozenEstimator(Scripted().fit(X)), **QUICK)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    rows = np.random.default_rng(1).permutation(np.repeat(np.arange(len(y)), weights))
    assert_array_equal(weighted.predict_proba(X), clone(model).fit(X[rows], y[rows]).predict_proba(X))


def test_an_unlabelled_copy_of_an_image_with_a_label_adds_nothing(half):
    X, y, known = half
    model = FineTuneClassifier(teacher=FrozenEstimator(Scripted().fit(X)), **QUICK)
    expected = clone(model).fit(X, marked(y, known)).predict_proba(X)
    again = clone(model).fit(np.r_[X, X[known]], np.r_[marked(y, known), np.full(known.sum(), -1)])
    assert_array_equal(again.predict_proba(X), expected)


def test_images_without_any_label_are_learnt_from_a_teacher_alone(three_patterns):
    X, y = three_patterns
    teacher = linear().fit(X, WORDS[y])
    options = {"learning_rate": 1e-2, "max_epochs": 15, "random_state": 0, "image_size": 16}
    model = FineTuneClassifier(teacher=teacher, **options).fit(X, [None] * len(y))
    assert model.classes_.tolist() == WORDS.tolist()
    assert (model.predict(X) == teacher.predict(X)).mean() > 0.8


def test_classes_without_a_labelled_image_are_the_teachers(half):
    X, y, known = half
    known = known & (y != 1)
    model = FineTuneClassifier(teacher=Scripted().fit(X), **QUICK).fit(X, marked(y, known))
    assert_array_equal(model.classes_, [0, 1, 2])
    with pytest.raises(ValueError, match=r"teacher must know the classes \[0, 2\].*\[0, 1, 2\]"):
        FineTuneClassifier(teacher=Scripted().fit(X), **QUICK).fit(X[known], y[known])
    with pytest.raises(ValueError, match=r"teacher must know the classes \[0, 7\]"):
        FineTuneClassifier(teacher=Scripted().fit(X), **QUICK).fit(X, marked(np.where(y == 1, 7, y), y != 2))


# what never sees them


def test_probe_and_views_know_the_labelled_images_alone(half):
    """With the loss of the unlabelled ones turned off, only what they must not touch is left."""
    X, y, known = half
    options = {**QUICK, "head": "linear", "unfreeze_depth": 1, "augment": "auto", "learning_rate": 1e-30}
    model = FineTuneClassifier(teacher=Scripted().fit(X), **options)
    assert_allclose(
        model.fit(X, marked(y, known)).predict_proba(X), model.fit(X[known], y[known]).predict_proba(X), atol=1e-5
    )
    assert model.fit(X, marked(y, known)).n_mirrored_ == known.sum()


@pytest.mark.parametrize("groups", [None, np.arange(30) // 2])
def test_early_stopping_sets_images_with_labels_aside(half, groups):
    X, y, known = half
    known = np.arange(len(y)) < 18
    recorder = Recorder()
    options = {"early_stopping": True, "validation_fraction": 0.3, "callbacks": [recorder]}
    model = FineTuneClassifier(teacher=Scripted().fit(X), **options, **QUICK)
    model.fit(X, marked(y, known), groups=groups)
    held_out = recorder.held_out_
    assert_array_equal(functional.one_hot(held_out.targets[held_out.positions].argmax(1)).sum(1), 1)
    assert (held_out.targets[held_out.positions].max(1).values == 1).all()
    n_unlabelled = int((recorder.data_.targets[recorder.data_.positions].max(1).values < 1).sum())
    assert n_unlabelled == 12
    assert not set(recorder.data_.positions) & set(held_out.positions)


def test_unlabelled_images_of_a_group_that_is_set_aside_are_left_out(half):
    X, y, _ = half
    known, groups = np.arange(len(y)) % 2 == 0, np.arange(len(y)) // 6
    recorder = Recorder()
    options = {"early_stopping": True, "validation_fraction": 0.2, "callbacks": [recorder]}
    model = FineTuneClassifier(teacher=Scripted().fit(X), **options, **QUICK)
    model.fit(X, marked(y, known), groups=groups)
    assert len(recorder.held_out_) == 3
    assert len(recorder.data_) == 24  # of the group of six, three are neither trained on nor watched


@pytest.mark.parametrize("mark", [-1, None])
def test_a_splitter_may_set_aside_images_that_have_labels(half, mark):
    X, y, _ = half
    known = np.arange(len(y)) % 5 != 0
    labels = marked(y, known) if mark == -1 else as_words(y, known)
    teacher = Scripted((0, 1, 2) if mark == -1 else tuple(WORDS)).fit(X)
    for splitter in (StratifiedKFold(3), PredefinedSplit(np.arange(len(y)) % 3)):
        recorder = Recorder()
        model = FineTuneClassifier(teacher=teacher, callbacks=[recorder], **QUICK).fit(X, labels, validation=splitter)
        train, test = next(splitter.split(X, marked(y, known)))
        assert (len(recorder.data_), len(recorder.held_out_)) == (len(train), known[test].sum())
        assert len(model.history_[:, "valid_loss"]) == 2


def test_validation_images_of_ones_own_have_labels(half):
    X, y, known = half
    model = FineTuneClassifier(teacher=Scripted().fit(X), **QUICK)
    with pytest.raises(ValueError, match=r"validation must hold images with labels.*Got 21 of 30 without instead"):
        model.fit(X, marked(y, known), validation=(X, marked(y, known)))
    assert len(model.fit(X, marked(y, known), validation=(X, y)).history_[:, "valid_loss"]) == 2


def test_scores_and_callbacks_are_told_labels(half):
    X, y, known = half
    score = EpochScoring("accuracy", lower_is_better=False, on_train=True)
    model = FineTuneClassifier(teacher=Scripted().fit(X), callbacks=[score], **QUICK).fit(X, marked(y, known))
    expected = (model.predict(X) == np.where(known, y, Scripted().fit(X).predict_proba(X).argmax(1))).mean()
    assert 0 <= model.history_[-1, "accuracy"] <= 1
    assert 0 <= expected <= 1
    weights = np.linspace(1, 2, len(y))
    for mark in (-1, np.nan):
        labels = marked(y.astype(float), known, mark)
        assert model.score(X, labels) == model.score(X[known], y[known])
        assert model.score(X, labels, weights) == model.score(X[known], y[known], weights[known])


# a teacher that is fitted here


def canonical_rows(recorder, X):
    """Return the row of X of each training image, by its pixels."""
    sums = {float(x.sum()): i for i, x in enumerate(X.astype(float))}
    own = recorder.data_.activations
    return [sums[float(own[[position]].double().sum())] for position in range(len(recorder.data_.targets))]


def taught(X, y, cv, groups=None, **options):
    recorder = Recorder()
    options = {**QUICK, "unfreeze_depth": "all", "image_size": 16, "head": "linear", "max_epochs": 1, **options}
    model = FineTuneClassifier(teacher=linear(), teacher_cv=cv, temperature=1.0, callbacks=[recorder], **options)
    model.fit(X, y, groups=groups)
    rows = canonical_rows(recorder, X)
    probabilities = np.empty((len(X), 3))
    probabilities[rows] = recorder.data_.teacher
    return model, np.array(rows), probabilities, recorder


def test_a_teacher_is_fitted_out_of_fold_to_labelled_images_and_in_full_for_the_others(half):
    X, y, known = half
    known = np.arange(len(y)) < 21
    _, rows, probabilities, _ = taught(X, marked(y, known), 3)
    rows = rows[known[rows]]  # folds are of the images as the training sees them, whatever their order in X
    expected = cross_val_predict(linear(), X[rows], y[rows], cv=3, method="predict_proba")
    assert_allclose(probabilities[rows], expected, atol=1e-6)
    expected = linear().fit(X[known], y[known]).predict_proba(X[~known])
    assert_allclose(probabilities[~known], expected, atol=1e-5)


def test_groups_stay_together_where_a_teacher_is_fitted(half):
    X, y, _ = half
    groups = np.arange(len(y)) // 5
    for cv in (GroupKFold(6), 6):
        _, rows, probabilities, _ = taught(X, y, cv, groups)
        for group in range(6):
            own = np.flatnonzero(groups == group)
            others = np.array([row for row in rows if groups[row] != group])
            expected = linear().fit(X[others], y[others]).predict_proba(X[own])
            assert_allclose(probabilities[own], expected, atol=1e-5)


def test_a_teacher_that_is_fitted_here_has_not_seen_what_early_stopping_watches(half):
    X, y, known = half
    known = np.arange(len(y)) < 24
    _, rows, probabilities, recorder = taught(
        X, marked(y, known), 2, early_stopping=True, validation_fraction=0.3, refit=False
    )
    held_out = rows[recorder.held_out_.positions]
    learnt = np.array([row for row in rows if known[row] and row not in held_out])
    others = np.r_[held_out, np.flatnonzero(~known)]
    expected = linear().fit(X[learnt], y[learnt]).predict_proba(X[others])
    assert_allclose(probabilities[others], expected, atol=1e-5)


def test_out_of_fold_a_teacher_knows_nothing_of_noise_labels():
    """A fitted teacher repeats the labels that it has learnt by heart; out of fold it does not."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8), np.arange(60) % 3
    _, _, probabilities, _ = taught(X, y, 5)
    assert (linear().fit(X, y).predict_proba(X).argmax(axis=1) == y).all()
    assert (probabilities.argmax(axis=1) == y).mean() < 0.55


def test_a_teacher_to_be_fitted_is_cloned_and_stays_as_it_was(half):
    X, y, known = half
    model = FineTuneClassifier(teacher=linear(), teacher_cv=2, **QUICK)
    scores = cross_val_score(model, X, y, cv=2, error_score="raise")
    assert np.isfinite(scores).all()
    assert not hasattr(model.fit(X, marked(y, known)).teacher[-1], "coef_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"teacher": FrozenEstimator(linear())},
            r"teacher_cv must be None for a FrozenEstimator.*Pass the teacher itself",
        ),
        ({"teacher": linear(), "teacher_cv": 1}, "teacher_cv"),
    ],
)
def test_what_cannot_be_fitted_here_is_refused(half, options, message):
    X, y, _ = half
    with pytest.raises(ValueError, match=message):
        FineTuneClassifier(**{"teacher_cv": 2, **options}, **QUICK).fit(X, y)


def test_a_pass_over_part_of_the_images_takes_a_fitted_teacher(half):
    X, y, known = half
    with pytest.raises(ValueError, match=r"teacher_cv must be None for partial_fit.*Got 2 instead"):
        FineTuneClassifier(teacher=linear(), teacher_cv=2, **QUICK).partial_fit(X, y)
    model = FineTuneClassifier(teacher=Scripted().fit(X), **QUICK).partial_fit(X, marked(y, known))
    assert_array_equal(model.partial_fit(X[~known], np.full((~known).sum(), -1)).classes_, [0, 1, 2])


def test_going_on_and_writing_down(half, tmp_path):
    X, y, known = half
    model = FineTuneClassifier(teacher=Scripted().fit(X), warm_start=True, **QUICK).fit(X, marked(y, known))
    assert_array_equal(model.fit(X, marked(y, ~known)).classes_, [0, 1, 2])
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    save_model(model.set_params(head=[8], teacher_cv=3), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.teacher is None
    assert loaded.teacher_cv is None
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.score(X, marked(y, known)) == model.score(X[known], y[known])
    del model.__dict__["teacher_cv"]  # as in a pickle of an earlier version
    assert_array_equal(pickle.loads(pickle.dumps(model)).fit(X, y).classes_, [0, 1, 2])


def test_the_exact_probe_of_labels_is_not_all_that_is_learnt(half):
    X, y, known = half
    options = {**QUICK, "head": "linear", "alpha": 0.0, "learning_rate": 1e-1, "max_epochs": 20}
    probe = FineTuneClassifier(**options).fit(X[known], y[known])
    assert len(probe.history_) == 0
    model = FineTuneClassifier(teacher=Scripted().fit(X), **options).fit(X, marked(y, known))
    assert len(model.history_) == 20
    opinions = Scripted().fit(X).predict_proba(X)[~known]

    def loss(fitted):
        return -(opinions * np.log(fitted.predict_proba(X[~known]))).sum(axis=1).mean()

    assert loss(model) < loss(probe)


@pytest.mark.slow
def test_tensors_and_lists_work_as_well(half):
    X, y, known = half
    tensors = torch.as_tensor(X).permute(0, 3, 1, 2)
    teacher = make_pipeline(
        FunctionTransformer(lambda X: np.stack([np.ravel(x) for x in X]) / 255), LogisticRegression()
    )
    labels = marked(y, known)
    fits = [FineTuneClassifier(teacher=teacher, teacher_cv=2, **QUICK).fit(images, labels) for images in (X, list(X))]
    assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    assert_array_equal(
        FineTuneClassifier(teacher=teacher, teacher_cv=2, **QUICK).fit(tensors, labels).classes_, [0, 1, 2]
    )
