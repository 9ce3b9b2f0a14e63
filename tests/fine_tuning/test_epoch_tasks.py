"""scikit-learn's own callbacks follow the epochs, alone and inside of searches and pipelines."""

import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sktl import FineTuneClassifier, FineTuneRegressor

QUICK = {"unfreeze_depth": 0, "head": [8], "augment": None, "max_epochs": 3, "learning_rate": 1e-2, "random_state": 0}


@pytest.fixture
def callback():
    """The module of scikit-learn's callbacks, where it has them."""
    return pytest.importorskip("sklearn.callback")


class Follower:
    """Keeps what scikit-learn tells it, and asks for the end after some epochs."""

    def __init__(self, n_epochs=None):
        self.n_epochs = n_epochs
        self.told = []

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.told.append(("begin", context.task_name, context.task_id, len(X), len(y)))

    def on_fit_task_end(self, estimator, context, *, X=None, metadata=None, fitted_estimator=None):
        probabilities = fitted_estimator.predict_proba(X)
        self.told.append(("end", context.task_name, context.task_id, metadata, probabilities))
        return context.task_name == "epoch" and context.task_id + 1 == self.n_epochs


def epochs_of(follower):
    return [told for told in follower.told if told[:2] == ("end", "epoch")]


def test_a_callback_is_told_of_the_fit_and_of_each_epoch(callback, patterns):
    X, y = patterns
    follower, weights = Follower(), np.ones(len(y))
    model = FineTuneClassifier(**QUICK).set_callbacks(follower).fit(X, y, sample_weight=weights)
    assert [told[:3] for told in follower.told] == [
        ("setup", "fit", 3),
        ("begin", "fit", 0),
        *[(what, "epoch", number) for number in range(3) for what in ("begin", "end")],
        ("end", "fit", 0),
        ("teardown", "fit"),
    ]
    assert all(told[3]["sample_weight"] is weights for told in epochs_of(follower))
    assert_array_equal(follower.told[-2][-1], model.predict_proba(X))


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_the_estimator_of_an_epoch_is_as_if_the_training_had_ended_there(callback, patterns, depth):
    X, y = patterns
    settings = {**QUICK, "unfreeze_depth": depth, "dropout": 0.5, "image_size": 24, "warm_start": True}

    class Keep(Callback):
        def __init__(self, lock):
            self._lock, self.states_ = lock, []

        def on_epoch_end(self, net, **kwargs):
            self.states_.append({name: tensor.clone() for name, tensor in net.module_.state_dict().items()})

    keep, follower = Keep(1), Follower()
    watched = FineTuneClassifier(callbacks=[keep], **settings).set_callbacks(follower).fit(X, y)
    assert watched.store_info_.n_misses == (0 if depth == "all" else len(X))
    assert watched.store_info_.n_hits == 0
    told = epochs_of(follower)
    silent = FineTuneClassifier(**settings).fit(X, y)
    assert_array_equal(watched.predict_proba(X), silent.predict_proba(X))
    other = pickle.loads(pickle.dumps(silent))
    for state, (*_, probabilities) in zip(keep.states_, told, strict=True):
        other.module_.load_state_dict(state)
        assert_allclose(probabilities, other.predict_proba(X), atol=1e-6)


def test_scores_are_logged_for_each_epoch_in_a_search_too(callback, patterns):
    X, y = patterns
    monitor = callback.ScoringMonitor(scoring={"score": make_scorer(accuracy_score)})
    model = FineTuneClassifier(**QUICK).set_callbacks(monitor)
    score = model.fit(X, y).score(X, y)
    logged = monitor.get_logs().data
    assert [row["task_name"] for row in logged] == ["fit", "epoch", "epoch", "epoch"]
    assert logged[0]["score"] == logged[-1]["score"] == score
    search = GridSearchCV(make_pipeline(model), {"finetuneclassifier__max_epochs": [1, 2]}, cv=2).fit(X, y)
    logged = monitor.get_logs().data
    assert (
        sum(row["task_name"] == "epoch" for row in logged)
        == 2 * (1 + 2) + search.best_params_["finetuneclassifier__max_epochs"]
    )


def test_a_bar_is_drawn_alone_and_in_a_search(callback, patterns, capsys):
    pytest.importorskip("rich")
    X, y = patterns
    FineTuneRegressor(**QUICK).set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "FineTuneRegressor - fit" in capsys.readouterr().out
    search = GridSearchCV(FineTuneClassifier(**QUICK), {"dropout": [0.0, 0.1]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    shown = capsys.readouterr().out
    assert "GridSearchCV - fit" in shown
    assert "FineTuneClassifier - fit" in shown


def test_a_callback_can_ask_for_the_end(callback, patterns):
    X, y = patterns
    follower = Follower(n_epochs=2)
    model = FineTuneClassifier(**QUICK).set_callbacks(follower).fit(X, y)
    assert len(model.history_) == len(epochs_of(follower)) == 2
    assert_array_equal(follower.told[-2][-1], epochs_of(follower)[-1][-1])


@pytest.mark.parametrize(
    ("changes", "bound", "n_epochs"),
    [
        ({"head": "linear"}, None, 0),
        ({"max_epochs": 2, "early_stopping": True}, 2, 2),
        ({"max_epochs": 2, "early_stopping": True, "refit": True}, 4, None),
        ({"max_epochs": "auto", "batch_size": 4}, 50, None),
    ],
)
def test_the_number_of_epochs_is_bounded_beforehand(callback, patterns, changes, bound, n_epochs):
    follower = Follower()
    model = FineTuneClassifier(**{**QUICK, **changes}).set_callbacks(follower).fit(*patterns)
    assert follower.told[0] == ("setup", "fit", bound)
    told = len(epochs_of(follower))
    assert told <= (bound or 0)
    assert n_epochs in (None, told)
    assert len(pickle.dumps(model.set_callbacks())) > 0


def test_one_pass_is_one_epoch(callback, patterns):
    follower = Follower()
    model = FineTuneClassifier(**QUICK).set_callbacks(follower).partial_fit(*patterns)
    model.partial_fit(*patterns)
    assert [told[:2] for told in follower.told].count(("begin", "epoch")) == 2
    assert [told for told in follower.told if told[0] == "setup"] == [("setup", "fit", 1)] * 2


def test_a_failed_fit_is_torn_down(callback, patterns):
    X, y = patterns

    class Failing(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("enough")

    follower = Follower()
    model = FineTuneClassifier(callbacks=[Failing()], **QUICK).set_callbacks(follower)
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X, y)
    assert follower.told[-1] == ("teardown", "fit")
    assert not any(name.startswith("_callback") for name in vars(model))


def test_without_callbacks_in_scikit_learn_everything_else_works(patterns, monkeypatch):
    X, y = patterns
    expected = FineTuneClassifier(**QUICK).fit(X, y).predict_proba(X)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "sktl":
            monkeypatch.setitem(sys.modules, name, module)  # put back afterwards
            del sys.modules[name]
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    import sktl

    model = sktl.FineTuneClassifier(**QUICK)
    assert not hasattr(model, "set_callbacks")
    assert_array_equal(clone(model).fit(X, y).predict_proba(X), expected)
