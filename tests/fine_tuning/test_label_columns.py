"""Several columns of labels in one network: what MultiOutputClassifier gives, weights, missing labels."""

import pickle

import numpy as np
import pandas
import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.multioutput import MultiOutputClassifier
from sklearn.utils import estimator_checks
from torch.nn import functional

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor
from sktl._targets import missing_labels
from sktl.fine_tuning._label_columns import ColumnsLoss, LabelColumns

PROBE = {"unfreeze_depth": 0, "random_state": 0}
QUICK = {"max_epochs": 2, "image_size": 24, "augment": None, "random_state": 0}


@pytest.fixture(scope="module")
def striped():
    """Pictures with a bar of one of three places and one of two colours, and numbers for both."""
    rng = np.random.default_rng(0)
    Y = np.stack([np.arange(36) % 3, np.arange(36) // 3 % 2], axis=1)
    X = rng.integers(0, 60, (36, 16, 16, 3))
    for image, (place, colour) in zip(X, Y, strict=True):
        image[:, 5 * place : 5 * place + 4, colour] += 180
    return X.astype(np.uint8), Y


FORMS = {
    "numbers": lambda Y: Y,
    "fractions of no size": lambda Y: Y.astype(float),
    "words": lambda Y: np.array(["left", "middle", "right"])[Y],
    "objects": lambda Y: np.array(["left", "middle", "right"], dtype=object)[Y],
    "small numbers": lambda Y: (Y + 3).astype(np.int8),
    "a data frame": lambda Y: pandas.DataFrame({"place": Y[:, 0], "colour": Y[:, 1]}),
    "a data frame of words": lambda Y: pandas.DataFrame(np.array(["left", "middle", "right"])[Y], columns=["a", "b"]),
}


@pytest.mark.parametrize(
    "form", ["words", *(pytest.param(form, marks=pytest.mark.slow) for form in FORMS if form != "words")]
)
def test_depth_0_is_scikit_learns_classifier_of_each_column(striped, form):
    """Shapes, types, names and numbers."""
    X, Y = striped
    Y = FORMS[form](Y)
    ours = FineTuneClassifier(**PROBE).fit(X, Y)
    theirs = MultiOutputClassifier(FineTuneClassifier(**PROBE)).fit(X, Y)
    for one, other in zip(ours.classes_, theirs.classes_, strict=True):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)
    predicted, expected = ours.predict(X), theirs.predict(X)
    assert (predicted.shape, predicted.dtype) == (expected.shape, expected.dtype)
    assert_array_equal(predicted, expected)
    for one, other in zip(ours.predict_proba(X), theirs.predict_proba(X), strict=True):
        assert one.shape == other.shape
        assert_allclose(one, other, atol=1e-6)
    for one, other in zip(ours.decision_function(X), theirs.estimators_, strict=True):
        assert_allclose(one, other.decision_function(X), rtol=1e-5, atol=1e-5)
    truth = np.asarray(Y)
    assert ours.score(X, Y) == theirs.score(X, truth) > 0.8
    truth = np.roll(truth, 1, axis=0)
    assert ours.score(X, truth) == theirs.score(X, truth) < 0.3
    assert get_names(ours) == get_names(theirs)


def get_names(model):
    return [name for name in ("classes_", "predict", "predict_proba", "score", "partial_fit") if hasattr(model, name)]


@pytest.mark.parametrize(
    "class_weight",
    [
        [{0: 2, 1: 1, 2: 1}, "balanced"],
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("balanced", {0: 1, 1: 3, 2: 0.5}, ["balanced", None])
        ),
    ],
)
def test_weights_of_classes_are_those_of_each_column(striped, class_weight):
    X, Y = striped
    keep = np.r_[np.arange(20), np.flatnonzero(Y[:, 0] == 0)]
    X, Y, weights = X[keep], Y[keep], np.linspace(0.5, 2, len(keep))
    if isinstance(class_weight, dict):  # for every column
        Y = Y[:, [0, 0]] if len(class_weight) == 3 else Y
    ours = FineTuneClassifier(class_weight=class_weight, **PROBE).fit(X, Y, sample_weight=weights)
    by_column = class_weight if isinstance(class_weight, list) else [class_weight] * 2
    for j, own in enumerate(by_column):
        theirs = FineTuneClassifier(class_weight=own, **PROBE).fit(X, Y[:, j], sample_weight=weights)
        assert_allclose(ours.predict_proba(X)[j], theirs.predict_proba(X), atol=1e-6)


def marked(Y, rows, mark):
    """Take out labels: of the first column those of some rows, of the second those of others."""
    Y = Y.astype(object if mark is None else float if mark != mark else int)
    Y[rows[0], 0] = Y[rows[1], 1] = mark
    return Y


@pytest.mark.parametrize(
    ("mark", "wrap"),
    [
        (-1, np.asarray),
        *(
            pytest.param(mark, wrap, marks=pytest.mark.slow)
            for mark in (None, np.nan, -1)
            for wrap in (pandas.DataFrame, list)
        ),
    ],
)
def test_a_column_is_learnt_from_the_images_whose_label_is_known(striped, mark, wrap):
    X, Y = striped
    rows = np.arange(0, 12), np.arange(9, 27)
    ours = FineTuneClassifier(**PROBE).fit(X, wrap(marked(Y, rows, mark)))
    for j in range(2):
        known = np.setdiff1d(np.arange(36), rows[j])
        theirs = FineTuneClassifier(**PROBE).fit(X[known], Y[known, j])
        assert_array_equal(ours.classes_[j], theirs.classes_)
        assert_allclose(ours.predict_proba(X)[j], theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("depth", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_image_without_any_label_is_left_out(striped, depth):
    X, Y = striped
    settings = {**QUICK, "unfreeze_depth": depth}
    without = FineTuneClassifier(**settings).fit(X[:30], Y[:30])
    padded = FineTuneClassifier(**settings).fit(X, np.r_[Y[:30], np.full((6, 2), -1)])
    for one, other in zip(without.predict_proba(X), padded.predict_proba(X), strict=True):
        assert_array_equal(one, other)


def test_words_and_numbers_side_by_side_stay_what_they_are(striped):
    X, Y = striped
    table = pandas.DataFrame({"place": np.array(["left", "middle", "right"])[Y[:, 0]], "colour": 7 + Y[:, 1]})
    table.loc[3, "place"] = None
    model = FineTuneClassifier(**PROBE).fit(X, table)
    assert_array_equal(model.classes_[0], ["left", "middle", "right"])
    assert_array_equal(model.classes_[1], [7, 8])
    assert model.classes_[1].dtype == np.int64
    predicted = model.predict(X)
    assert predicted.dtype == object
    assert {type(cell) for cell in predicted[:, 1]} == {int}
    assert_array_equal(predicted[:3], table.to_numpy()[:3])
    assert model.score(X, table) > 0.8


def test_a_matrix_of_zeros_and_ones_alone_is_several_labels_per_image(striped):
    X, Y = striped
    Y = Y[:, [1, 1]]
    assert isinstance(FineTuneClassifier(**PROBE).fit(X, Y).predict_proba(X), np.ndarray)
    as_columns = FineTuneClassifier(**PROBE).fit(X, Y + 1)
    assert [part.shape for part in as_columns.predict_proba(X)] == [(36, 2), (36, 2)]
    sparse = FineTuneClassifier(**PROBE).fit(X, csr_array(2 * Y))
    assert_array_equal(sparse.classes_, [[0, 2], [0, 2]])


@pytest.mark.parametrize("y", [[0, 1, 2], [[0, 1, 2]] * 3, [[0], [1], [2]]])
def test_a_score_of_other_columns_is_refused(striped, y):
    X, Y = striped
    with pytest.raises(ValueError, match=r"y must have 2 columns of labels, as before\. Got shape"):
        FineTuneClassifier(**PROBE).fit(X, Y).score(X[:3], y)


def test_a_score_looks_at_known_labels_alone(striped):
    X, Y = striped
    model = FineTuneClassifier(**PROBE).fit(X, Y)
    right = model.predict(X[:4])
    truth = right.copy()
    truth[0, 0], truth[1], truth[2, 1] = -1, -1, 1 - truth[2, 1]
    assert model.score(X[:4], truth) == pytest.approx(2 / 3)
    assert model.score(X[:4], truth, sample_weight=[1, 5, 2, 1]) == pytest.approx(0.5)


# the training


class Recorder(skorch.callbacks.Callback):
    """Keep inputs and outputs of each step, its loss, and what the net says of its labels."""

    steps: list = []

    def on_batch_end(self, net, batch=None, training=False, loss=None, y_pred=None, **kwargs):
        if training:
            self.steps.append((batch[0], batch[1], y_pred.detach(), loss.item(), net.score(*batch)))


def test_the_loss_is_the_mean_over_columns_of_torchs_cross_entropy(striped):
    X, Y = striped
    Recorder.steps = []
    Y = marked(Y, (np.arange(6), np.arange(20, 30)), -1)
    weights = np.linspace(0.5, 2, len(Y))
    of_class = [{0: 1.0, 1: 3.0, 2: 2.0}, "balanced"]
    model = FineTuneClassifier(class_weight=of_class, label_smoothing=0.2, callbacks=[Recorder()], **QUICK)
    model.fit(X, Y, sample_weight=weights)
    factors = []
    for own, given in zip(Y.T, of_class, strict=True):
        known = own >= 0
        totals = np.bincount(own[known], weights[known])
        factor = np.array([1.0, 3.0, 2.0]) if isinstance(given, dict) else 1 / totals
        factors.append(factor * weights[known].sum() / (totals @ factor))  # columns count alike
    assert len(Recorder.steps) == 4
    for inputs, labels, outputs, loss, score in Recorder.steps:
        losses, logits = torch.zeros(len(outputs)), outputs.split([3, 2], 1)
        for j in range(2):
            known = torch.tensor([label is not None and label != -1 for label in labels[:, j]])
            own = torch.tensor([int(label) for label in labels[known.numpy(), j]])
            smooth = functional.cross_entropy(logits[j][known], own, reduction="none", label_smoothing=0.2)
            losses[known] += smooth * torch.as_tensor(factors[j])[own].float() / 2
        assert_allclose(loss, (losses * inputs["sample_weight"]).mean(), rtol=1e-5)
        assert 0 <= score <= 1


def test_mixed_images_have_mixed_targets_in_every_column():
    rng = np.random.default_rng(0)
    sizes, share = [3, 2, 4], 0.3
    outputs = torch.from_numpy(rng.normal(size=(6, 9)))
    labels = [torch.from_numpy(rng.integers(0, size, 6)) for size in sizes]
    one_hot = torch.cat([functional.one_hot(own, size) for own, size in zip(labels, sizes, strict=True)], 1).double()
    mixed = ColumnsLoss(sizes)(outputs, share * one_hot + (1 - share) * one_hot.flip(0))
    plain = sum(
        share * functional.cross_entropy(part, own, reduction="none")
        + (1 - share) * functional.cross_entropy(part, own.flip(0), reduction="none")
        for part, own in zip(outputs.split(sizes, 1), labels, strict=True)
    )
    assert_allclose(mixed, plain / 3, rtol=1e-6)


@pytest.mark.parametrize(
    "knob",
    [
        {"ensemble": False},
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ({}, {"head": [16], "dropout": 0.1}, {"mixup": 0.3}, {"early_stopping": True})
        ),
    ],
)
def test_trained_stages_are_shared_and_both_columns_are_learnt(striped, knob):
    X, Y = striped
    model = FineTuneClassifier(**{**QUICK, "max_epochs": 8, "learning_rate": 3e-3, **knob}).fit(X, Y)
    assert model.module_.head.layers[-1].out_features == 5
    assert model.score(X, Y) > 0.8
    copy = pickle.loads(pickle.dumps(model))
    for one, other, size in zip(model.predict_proba(X), copy.predict_proba(X), (3, 2), strict=True):
        assert one.shape == (36, size)
        assert_allclose(one.sum(axis=1), 1)
        assert_array_equal(one, other)
    assert_array_equal(model.predict(X)[:, 0], model.predict_proba(X)[0].argmax(axis=1))


@pytest.mark.slow
def test_a_weight_of_two_equals_two_copies_and_rows_may_be_shuffled(striped):
    X, Y = striped
    Y = marked(Y, (np.arange(6), np.arange(20, 30)), -1)
    weights = np.random.default_rng(0).integers(0, 3, len(Y))
    repeated = np.random.default_rng(1).permutation(np.repeat(np.arange(36), weights))
    model = FineTuneClassifier(class_weight="balanced", **QUICK)
    weighted = clone(model).fit(X, Y, sample_weight=weights).predict_proba(X)
    for one, other in zip(weighted, clone(model).fit(X[repeated], Y[repeated]).predict_proba(X), strict=True):
        assert_allclose(one, other, atol=1e-6)


def test_the_probe_beside_the_network_is_one_of_each_column(striped):
    X, Y = striped
    Y = marked(Y, (np.arange(6), np.arange(20, 30)), -1)
    model = FineTuneClassifier(**QUICK).fit(X, Y)
    before = PretrainedFeatureExtractor(layer="all", pooling="avg+std", image_size=24).fit_transform(X)
    after = PretrainedFeatureExtractor(model).fit_transform(X)
    for j, scores in enumerate(model.decision_function(X)):
        known = Y[:, j] >= 0
        parts = [LinearProbeClassifier().fit(F[known], Y[known, j]).decision_function(F) for F in (before, after)]
        if scores.ndim == 2:  # softmax is the same whatever all scores of a row have in common
            scores, *parts = (each - each.mean(axis=1, keepdims=True) for each in (scores, *parts))
        assert_allclose(scores, sum(parts) / 2, atol=2e-3)


def test_the_images_set_aside_keep_the_shares_of_combinations():
    columns = LabelColumns([np.array([0, 1, 2]), np.array([0, 1])])
    positions = np.array([[0, 0], [0, 1], [0, 0], [2, -1], [2, -1], [-1, 1]])
    targets, _ = columns.prepare(positions, np.ones(6), None)
    strata = columns.strata(targets.numpy())
    assert_array_equal(strata[:, None] == strata, (positions[:, None] == positions).all(axis=2))


def test_weights_of_classes_are_those_among_images_with_a_weight():
    """Of validation data images without a weight stay."""
    columns = LabelColumns([np.array([0, 1, 2]), np.array([0, 1])])
    positions = np.array([[0, 0], [0, 1], [1, -1], [2, -1], [-1, 1]])
    weights = np.array([2.0, 0.0, 2.0, 4.0, 1.0])
    targets, _ = columns.prepare(positions, weights, ["balanced", {0: 3, 1: 1}])
    # Of the first column each class has a third of the eight, of the second the weights are scaled to a mean of one.
    expected = [[4 / 3, 0, 0, 9 / 7, 0], [0] * 5, [0, 4 / 3, 0, 0, 0], [0, 0, 2 / 3, 0, 0], [0, 0, 0, 0, 3 / 7]]
    assert_allclose(targets, expected, rtol=1e-6)


# going on, searching


def test_training_goes_on_with_the_columns_of_before(striped):
    X, Y = striped
    model = FineTuneClassifier(**QUICK).partial_fit(X[:9], Y[:9], classes=[[0, 1, 2, 9], [0, 1]])
    assert_array_equal(model.classes_[0], [0, 1, 2, 9])
    model.partial_fit(X[9:], marked(Y[9:], (np.arange(3), np.arange(27)), -1))  # one column has no label at all
    assert [part.shape for part in model.predict_proba(X)] == [(36, 4), (36, 2)]
    with pytest.raises(ValueError, match=r"In column 0 of y: y must hold labels among \[0, 1, 2, 9\]\. Got \[7, 8\]"):
        model.partial_fit(X, Y + [[7, 0]])
    with pytest.raises(ValueError, match=r"y must have 2 columns of labels, as before\. Got shape \(36,\) instead"):
        model.partial_fit(X, Y[:, 0])
    with pytest.raises(ValueError, match=r"classes must have an entry for each of the 2 columns .* Got 1 instead"):
        model.partial_fit(X, Y, classes=[[0, 1, 2, 9]])
    zeros_and_ones = FineTuneClassifier(**QUICK).partial_fit(X, Y[:, [1, 1]], classes=[[0, 1], [0, 1]])
    assert isinstance(zeros_and_ones.classes_, list)


@pytest.mark.slow
def test_searches_and_validation_sets_take_columns(striped):
    X, Y = striped
    model = FineTuneClassifier(early_stopping=True, **QUICK).fit(X[:24], Y[:24], validation=(X[24:], Y[24:]))
    assert model.best_epoch_ >= 0
    search = GridSearchCV(FineTuneClassifier(**PROBE), {"class_weight": [None, ["balanced", None]]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0.5
    missing = marked(Y, (np.arange(6), np.arange(20, 30)), -1)
    none = marked(Y, (np.arange(6), np.arange(20, 30)), None)
    for y, cv in ((missing, 2), (none, KFold(2))):
        assert cross_val_score(FineTuneClassifier(**PROBE), X, y, cv=cv, error_score="raise").mean() > 0.6


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        ({"teacher": FineTuneClassifier()}, None, "teacher must be None when y has several columns. Got FineTune"),
        ({"class_weight": ["balanced"]}, None, "class_weight must have an entry for each of the 2 columns"),
        ({"class_weight": {8: 1, 9: 2}}, None, "In column 0 of y: The classes, .* are not in class_weight"),
        ({}, lambda Y: Y + 0.5 * (Y == 2), "In column 0 of y: Unknown label type: continuous"),
        ({}, lambda Y: Y * [1, 0] + 3, "In column 1 of y: FineTuneClassifier must see at least two classes .* Got 1 "),
        ({}, lambda Y: np.where([[False, True]], -1, Y), "In column 1 of y: .* at least two classes .* Got 0 "),
        ({}, lambda Y: np.full(Y.shape, -1), "y must have a label for one image at least. Got none"),
        ({}, lambda Y: Y[:, 0], "class_weight must be a dictionary, 'balanced' or None .* Got a list of 2"),
    ],
)
def test_what_does_not_fit_columns_is_refused(striped, settings, change, message):
    X, Y = striped
    settings = {"class_weight": [None, None]} if change and change(Y).ndim == 1 else settings
    with pytest.raises(ValueError, match=message):
        FineTuneClassifier(**settings, **PROBE).fit(X, Y if change is None else change(Y))


@pytest.mark.parametrize("depth", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_passes_the_check_of_scikit_learn(depth):
    model = FineTuneClassifier(unfreeze_depth=depth, max_epochs=2)
    assert model.__sklearn_tags__().target_tags.multi_output
    assert model.__sklearn_tags__().target_tags.single_output
    estimator_checks.check_classifier_multioutput("FineTuneClassifier", model)


def test_labels_for_callbacks_are_the_users_with_none_where_missing():
    columns = LabelColumns([np.array(["a", "b"]), np.array([3, 5])])
    found = columns.labels(np.array([[0, 1], [-1, 0]]))
    assert found.tolist() == [["a", 5], [None, 3]]
    assert_array_equal(missing_labels(found), [[False, False], [True, False]])
