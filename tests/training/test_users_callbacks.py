"""Callbacks of a user: names and parameters, clones, pickles, and what is missing for them."""

import pickle
import threading

import pytest
import skorch
import skorch.callbacks
from skorch.callbacks import BatchScoring, Callback, Checkpoint, EarlyStopping, EpochScoring, EpochTimer, PrintLog

from sktl.training import check_callbacks, cloned, parameters_of, that_can_be_pickled, with_parameters


class Locked(Callback):
    """Holds what can be neither copied nor pickled, as loggers do."""

    def __init__(self, run):
        self.run = run


class Holder(Callback):
    """Keeps the net that it has seen."""

    net = None

    def __init__(self, others=()):
        self.others = others


class Sparse:
    """Pickles as a skorch net of sktl does: without those of its callbacks that cannot be."""

    def __init__(self, callbacks):
        self.callbacks = callbacks

    def __getstate__(self):
        return {"callbacks": that_can_be_pickled(self.callbacks)}


@pytest.mark.parametrize(
    "callbacks",
    [
        [EpochTimer()],
        [EpochScoring("accuracy"), EpochTimer(), EpochScoring("f1")],
        [("mine", EpochScoring("accuracy")), EpochScoring("f1")],
        [["mine", EpochTimer()], PrintLog()],
        [BatchScoring("accuracy"), BatchScoring("f1"), BatchScoring("roc_auc"), Checkpoint],
    ],
)
def test_names_are_those_that_skorch_gives(callbacks):
    net = skorch.NeuralNet(None, None, callbacks=callbacks)
    expected = {name for name, _ in net._uniquely_named_callbacks()} - {name for name, _ in net._default_callbacks}
    names = {name.removeprefix("callbacks__") for name in parameters_of(callbacks)}
    assert {name.partition("__")[0] for name in names} == expected


def test_parameters_are_set_by_name_and_callbacks_replaced_before_that():
    scoring, timer = EpochScoring("accuracy"), EpochTimer()
    callbacks = [("score", scoring), timer]
    assert parameters_of(callbacks)["callbacks__score__scoring"] == "accuracy"
    assert parameters_of(callbacks)["callbacks__EpochTimer"] is timer
    assert with_parameters(callbacks, {"callbacks__score__scoring": "f1"}) == callbacks
    assert scoring.scoring == "f1"
    other = BatchScoring("f1")
    new = with_parameters(callbacks, {"callbacks__score__lower_is_better": False, "callbacks__score": other})
    assert new == [("score", other), timer]
    assert not other.lower_is_better
    assert callbacks == [("score", scoring), timer]


@pytest.mark.parametrize("callbacks", [None, [], [("score", EpochScoring("f1"))]])
def test_a_name_that_is_not_there_is_an_error(callbacks):
    with pytest.raises(ValueError, match=r"callbacks__NAME must name one of .*\. Got 'scores' instead"):
        with_parameters(callbacks, {"callbacks__scores__name": "va"})


def test_what_can_be_cloned_is_and_the_rest_is_shared():
    scoring, locked, timer = EpochScoring("accuracy"), Locked(threading.Lock()), ("name", EpochTimer())
    one, two, three = cloned([scoring, locked, timer])
    assert one is not scoring
    assert one.get_params() == scoring.get_params()
    assert two is locked
    assert three[0] == "name"
    assert three[1] is not timer[1]
    assert cloned(None) is None


def test_a_pickle_leaves_out_what_cannot_be_pickled():
    callbacks = [EpochTimer(), Locked(threading.Lock()), ("f", EpochScoring(lambda net, X, y: 0.0, name="f"))]
    assert that_can_be_pickled(callbacks) == callbacks[:1]
    assert that_can_be_pickled(None) is None
    assert that_can_be_pickled([]) == []


def test_a_callback_that_holds_the_net_is_pickled_with_it():
    """The pickle of a net asks whether its callbacks can be pickled, which asks for a pickle of the net, and so on."""
    holders = [Holder() for _ in range(3)]
    holders[0].others = holders
    net = Sparse([*holders, Locked(threading.Lock())])
    for holder in holders:
        holder.net = net
    again = pickle.loads(pickle.dumps(net))
    assert [holder.net for holder in again.callbacks] == [again] * 3


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(),
        EarlyStopping("valid_loss_best"),
        ("named", EarlyStopping(patience=1)),
        Checkpoint(),
        Checkpoint("accuracy_best"),
    ],
    ids=["stopping", "stopping_on_best", "named", "checkpoint", "checkpoint_on_accuracy"],
)
def test_what_monitors_validation_data_that_are_not_there_is_named(callback):
    callbacks = [EpochScoring("accuracy"), callback]
    with pytest.raises(ValueError, match=r"callbacks that monitor validation data must .* Got .* with monitor="):
        check_callbacks(callbacks, watched=False)
    check_callbacks(callbacks, watched=True)


def test_what_monitors_the_training_needs_no_validation_data():
    on_train = EpochScoring("accuracy", on_train=True, name="train_accuracy")
    monitors = [EarlyStopping("train_loss"), Checkpoint("train_accuracy_best"), Checkpoint(lambda net: True)]
    check_callbacks([on_train, *monitors, Checkpoint(None)], watched=False)


@pytest.mark.parametrize("callbacks", [3, "abc", {}, [()], [("a", "b", "c")], [3]])
def test_what_fit_will_refuse_can_be_set_shown_and_cloned(callbacks):
    assert all(key.startswith("callbacks__") for key in parameters_of(callbacks))
    assert cloned(callbacks) == callbacks


@pytest.mark.parametrize("callback", [3, "EarlyStopping", object(), ("named", None), (), ("a", EpochTimer(), 3)])
def test_what_is_no_callback_is_named(callback):
    with pytest.raises(TypeError, match=r"callbacks must hold callbacks of skorch's kind. Got"):
        check_callbacks([callback], watched=True)
