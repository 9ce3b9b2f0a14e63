"""skorch's callbacks and a user's own: they see labels and units, are used themselves, and need not be pickled."""

import pickle
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    PrintLog,
    TensorBoard,
    WandbLogger,
)

from sktl import FineTuneClassifier, FineTuneRegressor

# A hidden layer on frozen features: a training, and a quick one.
QUICK = {
    "ensemble": False,
    "unfreeze_depth": 0,
    "head": [8],
    "augment": None,
    "max_epochs": 3,
    "learning_rate": 1e-2,
    "random_state": 0,
}


class Collector(Callback):
    """Keeps something of each epoch in itself; as loggers do, it holds what can be neither copied nor pickled."""

    def __init__(self, look):
        self.look = look
        self.lock_ = threading.Lock()
        self.found_ = []

    def on_epoch_end(self, net, **kwargs):
        self.found_.append(self.look(net, kwargs))


@pytest.fixture
def halves(three_patterns):
    X, y = three_patterns
    return X[:20], y[:20], X[20:], y[20:]


# what the net predicts


@pytest.mark.parametrize("names", [["a", "b", "c"], [3, 5, 9], [-2.0, 0.0, 2.0]])
def test_scores_by_name_are_those_of_the_estimator(halves, names):
    X, y, X_val, y_val = halves
    y, y_val = np.array(names)[y], np.array(names)[y_val]
    names = ("accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr", "balanced_accuracy")
    callbacks = [EpochScoring(name, lower_is_better=False) for name in names]
    model = FineTuneClassifier(callbacks=callbacks, **QUICK).fit(X, y, validation=(X_val, y_val))
    for name in names:
        assert_allclose(model.history_[-1, name], metrics.get_scorer(name)(model, X_val, y_val), rtol=1e-5)


@pytest.mark.parametrize("positive", ["cat", "dog"])
def test_a_scorer_of_two_classes_finds_its_positive_label(halves, positive):
    X, y, X_val, y_val = halves
    y, y_val = (np.array(["cat", "dog", "dog"])[labels] for labels in (y, y_val))
    f1 = metrics.make_scorer(metrics.f1_score, pos_label=positive)
    callbacks = [EpochScoring(f1, name="f1"), EpochScoring("roc_auc"), EpochScoring(metrics.accuracy_score)]
    model = FineTuneClassifier(callbacks=callbacks, **QUICK).fit(X, y, validation=(X_val, y_val))
    predicted = model.predict(X_val)
    assert_allclose(model.history_[-1, "f1"], metrics.f1_score(y_val, predicted, pos_label=positive))
    assert_allclose(model.history_[-1, "accuracy_score"], metrics.accuracy_score(y_val, predicted))
    auc = metrics.roc_auc_score(y_val == "dog", model.predict_proba(X_val)[:, 1])
    assert_allclose(model.history_[-1, "roc_auc"], auc)


@pytest.mark.parametrize("use_caching", [True, False])
def test_scores_of_batches_are_averaged(halves, use_caching):
    X, y, X_val, y_val = halves
    scoring = BatchScoring("accuracy", name="batches", use_caching=use_caching)
    model = FineTuneClassifier(callbacks=[scoring], batch_size=4, **QUICK).fit(X, y, validation=(X_val, y_val))
    assert_allclose(model.history_[-1, "batches"], model.score(X_val, y_val))


class OwnScoring(EpochScoring):
    """Inherits from skorch's."""


@pytest.mark.parametrize("on_train", [True, False])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("kind", [EpochScoring, OwnScoring])
def test_a_score_without_its_cache_is_an_error_before_images_are_read(kind, early_stopping, on_train):
    callbacks = [("accuracy", kind("accuracy", on_train=on_train, use_caching=False))]
    model = FineTuneClassifier(callbacks=callbacks, early_stopping=early_stopping, **QUICK)
    with pytest.raises(ValueError, match=r"EpochScoring must have use_caching=True\. Got use_caching=False instead"):
        model.fit(["no.png", "none.png"], [0, 1])


@pytest.mark.parametrize("columns", [1, 2])
def test_errors_of_a_regressor_are_in_its_own_units(halves, columns):
    X, _, X_val, _ = halves
    y, y_val = (500 + 3 * images.reshape(len(images), 2, -1).sum(2)[:, :columns] for images in (X, X_val))
    y, y_val = (y[:, 0], y_val[:, 0]) if columns == 1 else (y, y_val)
    names = ("neg_mean_absolute_error", "r2")
    callbacks = [EpochScoring(name) for name in names]
    model = FineTuneRegressor(callbacks=callbacks, **QUICK).fit(X, y, validation=(X_val, y_val))
    for name in names:
        assert_allclose(model.history_[-1, name], metrics.get_scorer(name)(model, X_val, y_val), rtol=1e-5)


def test_a_score_of_the_training_sees_the_labels_also_when_targets_are_mixed(halves):
    X, y, *_ = halves
    names = np.array(["a", "b", "c"])
    scoring = EpochScoring("accuracy", on_train=True, name="acc", lower_is_better=False)
    settings = {**QUICK, "max_epochs": 20, "mixup": 1e-3, "label_smoothing": 0.1}
    model = FineTuneClassifier(callbacks=[scoring], **settings).fit(X, names[y])
    assert model.history_[-1, "acc"] == model.score(X, names[y]) == 1.0


def test_several_labels_at_once_are_scored(halves):
    X, y, X_val, y_val = halves
    Y, Y_val = (np.c_[labels > 0, labels == 1, labels == 2].astype(int) for labels in (y, y_val))
    names = ("f1_micro", "accuracy", "roc_auc")
    callbacks = [EpochScoring(name) for name in names]
    model = FineTuneClassifier(callbacks=callbacks, **QUICK).fit(X, Y, validation=(X_val, Y_val))
    for name in names:
        assert_allclose(model.history_[-1, name], metrics.get_scorer(name)(model, X_val, Y_val), rtol=1e-6)


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_the_net_predicts_images_data_sets_and_batches_while_it_is_trained(halves, depth):
    X, y, X_val, y_val = halves
    y, y_val = np.array(["a", "b", "c"])[y], np.array(["a", "b", "c"])[y_val]

    def look(net, told):
        inputs, labels = told["dataset_valid"].batch(np.arange(len(y_val)))
        assert is_classifier(net)
        assert_array_equal(labels, y_val)
        return [net.predict(X_val), net.predict(told["dataset_valid"]), net.predict(inputs)], net.predict_proba(X_val)

    collector = Collector(look)
    settings = {**QUICK, "unfreeze_depth": depth, "max_epochs": 2, "image_size": 24}
    model = FineTuneClassifier(callbacks=[collector], **settings).fit(X, y, validation=(X_val, y_val))
    labels, probabilities = collector.found_[-1]
    for found in labels:
        assert_array_equal(found, model.predict(X_val))
    assert_allclose(probabilities, model.predict_proba(X_val), atol=1e-6)
    with pytest.raises(ValueError, match=r"X must be a data set or a batch of the training once that is over"):
        model.net_.predict(X_val)


def test_the_net_of_a_regressor_is_one(halves):
    X, y, *_ = halves
    collector = Collector(lambda net, told: (is_regressor(net), hasattr(net, "predict_proba"), net.predict(X)))
    model = FineTuneRegressor(callbacks=[collector], **QUICK).fit(X, 100.0 + y)
    regressor, has_probabilities, predicted = collector.found_[-1]
    assert regressor
    assert not has_probabilities
    assert_allclose(predicted, model.predict(X), rtol=1e-5)


# whose object it is


def test_the_callback_of_the_user_is_used_and_cloned_only_by_scikit_learn(halves):
    X, y, *_ = halves
    collector, scoring = Collector(lambda net, told: len(net.history)), EpochScoring("accuracy", on_train=True)
    model = FineTuneClassifier(callbacks=[("mine", collector), scoring], **QUICK).fit(X, y)
    assert collector.found_ == [1, 2, 3]
    assert dict(model.net_.callbacks_)["mine"] is collector
    assert scoring.best_score_ < np.inf
    cross_val_score(model, X, y, cv=2)
    assert collector.found_ == [1, 2, 3]  # a clone has forgotten what was found
    assert clone(model).callbacks[1] is not scoring


def test_what_cannot_be_cloned_is_shared_by_all_clones(halves):
    X, y, *_ = halves

    class Logger(Collector):
        def __init__(self, run, lock):
            super().__init__(lambda net, told: run.append(len(net.history)))
            self.run, self.lock = run, lock

    run = []
    logger = Logger(run, threading.Lock())
    cross_val_score(FineTuneClassifier(callbacks=[logger], **QUICK), X, y, cv=2)
    assert run == [1, 2, 3, 1, 2, 3]


def test_a_fitted_estimator_is_pickled_without_what_cannot_be(halves):
    X, y, *_ = halves
    callbacks = [Collector(lambda net, told: net), ("score", EpochScoring("accuracy", on_train=True))]
    model = FineTuneClassifier(callbacks=callbacks, **QUICK).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert [name for name, _ in again.callbacks] == ["score"]
    assert "Collector" not in dict(again.net_.callbacks_)
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert len(model.callbacks) == 2
    assert len(again.set_params(warm_start=True).fit(X, y).history_) == 6
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):  # it would train without a word to it
        pickle.dumps(clone(model))


def test_what_was_set_by_name_is_trained_with(halves):
    X, y, *_ = halves
    model = FineTuneClassifier(callbacks=[("score", EpochScoring("accuracy", on_train=True, name="a"))], **QUICK)
    assert model.get_params()["callbacks__score__name"] == "a"
    assert "callbacks__score" not in model.get_params(deep=False)
    assert model.set_params(callbacks__score__name="b", max_epochs=1) is model
    assert "b" in model.fit(X, y).history_[-1]
    with pytest.raises(ValueError, match="callbacks__NAME must name one of the callbacks"):
        model.set_params(callbacks__scores__name="b")


def test_a_grid_goes_over_parameters_of_callbacks(halves):
    X, y, *_ = halves
    stopping = EarlyStopping("train_loss", patience=2, sink=print, threshold=100, threshold_mode="abs")
    model = FineTuneClassifier(callbacks=[("stop", stopping)], **{**QUICK, "max_epochs": 9})
    search = GridSearchCV(model, {"callbacks__stop__patience": [2, 4]}, cv=2, refit=False, scoring=_epochs).fit(X, y)
    assert search.cv_results_["mean_test_score"].tolist() == [1 + 2, 1 + 4]  # the first epoch is none without progress
    assert stopping.patience == 2


def _epochs(estimator, X, y):
    return len(estimator.history_)


# what has to be there


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_early_stopping_of_skorch_without_validation_data_is_an_error_before_images_are_read(method):
    model = FineTuneClassifier(callbacks=[EarlyStopping()], **QUICK)
    with pytest.raises(ValueError, match="Got EarlyStopping with monitor='valid_loss' and no validation data instead"):
        getattr(model, method)(["no/such.png", "nor/this.png"], [0, 1])


def test_a_callback_that_finds_no_validation_data_says_what_to_do(halves, tmp_path):
    class Run:
        dir = str(tmp_path)
        logged: list = []
        watch = staticmethod(lambda module: None)
        log = logged.append

    X, y, *_ = halves
    model = FineTuneClassifier(callbacks=[WandbLogger(Run())], **QUICK)
    with pytest.raises(ValueError, match=r"Got one that found none \(valid_loss_best\) and no validation data instead"):
        model.fit(X, y)
    Run.logged.clear()
    model.set_params(early_stopping=True).fit(X, y)
    assert [epoch["valid_loss"] for epoch in Run.logged] == model.history_[:, "valid_loss"]
    assert (tmp_path / "best_model.pth").exists()


def test_skorchs_early_stopping_watches_validation_data_of_the_user(halves):
    X, y, X_val, y_val = halves
    stopping = EarlyStopping(patience=2, threshold=100, threshold_mode="abs")
    model = FineTuneClassifier(callbacks=[stopping], **{**QUICK, "max_epochs": 9}).fit(X, y, validation=(X_val, y_val))
    assert len(model.history_) == 1 + 2
    assert not hasattr(model, "best_epoch_")


def test_a_second_training_on_all_images_goes_without_what_monitors_validation_data(halves):
    X, y, *_ = halves
    stopping, collector = EarlyStopping(patience=5), Collector(lambda net, told: told["dataset_valid"])
    callbacks = [stopping, EpochScoring("accuracy", name="a"), EarlyStopping("a", lower_is_better=False), collector]
    settings = {**QUICK, "early_stopping": True, "refit": True}
    model = FineTuneClassifier(callbacks=callbacks, **settings).fit(X, y)
    used = {id(callback) for _, callback in model.net_.callbacks_}
    assert (id(stopping) in used, id(collector) in used) == (False, True)
    assert [found is None for found in collector.found_] == [False] * 3 + [True] * model.best_epoch_


# real ones


def test_a_checkpoint_is_written_and_the_best_one_loaded(halves, tmp_path):
    X, y, X_val, y_val = halves
    scoring = EpochScoring("neg_log_loss", name="score", lower_is_better=False)
    checkpoint = Checkpoint("score_best", dirname=str(tmp_path), load_best=True, f_pickle="net.pkl")
    settings = {**QUICK, "max_epochs": 6, "learning_rate": 1.0}
    model = FineTuneClassifier(callbacks=[scoring, checkpoint], **settings).fit(X, y, validation=(X_val, y_val))
    assert (tmp_path / "params.pt").exists()
    assert pickle.loads((tmp_path / "net.pkl").read_bytes()).classes_.tolist() == [0, 1, 2]
    best = max(model.history_[:, "score"])
    assert_allclose(-metrics.log_loss(y_val, model.predict_proba(X_val)), best, rtol=1e-5)


def test_a_print_log_of_the_user_prints_also_where_the_estimator_is_silent(halves, capsys):
    X, y, *_ = halves
    FineTuneClassifier(callbacks=[PrintLog(keys_ignored="dur")], **QUICK).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3
    assert lines[0].split() == ["epoch", "train_loss"]


@pytest.mark.parametrize(("estimator", "metric"), [(FineTuneClassifier, "accuracy"), (FineTuneRegressor, "r2")])
def test_verbose_shows_a_metric_of_training_and_validation(halves, capsys, estimator, metric):
    X, y, X_val, y_val = halves
    model = estimator(verbose=1, **QUICK).fit(X, 1.0 * y, validation=(X_val, 1.0 * y_val))
    header, _, *lines = capsys.readouterr().out.splitlines()[-5:]
    assert header.split()[1:-1] == sorted([f"train_{metric}", "train_loss", f"valid_{metric}", "valid_loss"])
    assert len(lines) == 3
    assert_allclose(model.history_[-1, f"valid_{metric}"], model.score(X_val, 1.0 * y_val), rtol=1e-5)
    assert f"train_{metric}" not in clone(model).set_params(verbose=0).fit(X, y).history_[-1]


def test_tensorboard_is_written(halves, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from torch.utils.tensorboard import SummaryWriter

    X, y, *_ = halves
    scoring = EpochScoring("accuracy", on_train=True, name="train_accuracy")
    model = FineTuneClassifier(callbacks=[scoring, TensorBoard(SummaryWriter(tmp_path))], **QUICK).fit(X, y)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    for name in ("train_loss", "train_accuracy"):
        written = [event.value for event in events.Scalars(f"Loss/{name}")]
        assert_allclose(written, model.history_[:, name], rtol=1e-6)
    assert pickle.loads(pickle.dumps(model)).predict(X).shape == y.shape


def test_optuna_prunes(halves):
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration.skorch")
    X, y, X_val, y_val = halves
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        rate = trial.suggest_categorical("learning_rate", [1e-2, 1e-7])
        model = FineTuneClassifier(
            callbacks=[integration.SkorchPruningCallback(trial, "valid_loss")], **{**QUICK, "learning_rate": rate}
        ).fit(X, y, validation=(X_val, y_val))
        return model.history_[-1, "valid_loss"]

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    for rate in (1e-2, 1e-7):
        study.enqueue_trial({"learning_rate": rate})
    study.optimize(objective, n_trials=2)
    complete, pruned = study.trials
    assert complete.state.name == "COMPLETE"
    assert pruned.state.name == "PRUNED"
    assert len(complete.intermediate_values) == 3
    assert len(pruned.intermediate_values) < 3
