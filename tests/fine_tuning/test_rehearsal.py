"""Short fits tell how long others take, and leave no trace."""

import random
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import EpochScoring

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.datasets import make_fractals
from sktl.fine_tuning import rehearsal
from sktl.fine_tuning.rehearsal import FitCost, can_be_rehearsed, rehearsed
from sktl.inference.progress import told_to
from sktl.store import open_store

X, Y = make_fractals(60, n_classes=3, image_size=32, random_state=0)
SCRATCH = {"weights": None, "unfreeze_depth": "all"}


class Clock:
    """Time that goes by when a part of the work is done: a second each, times the images."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(rehearsal, "time", self)

    def perf_counter(self):
        return self.now

    def takes(self, seconds, function):
        def taking(*args, **options):
            self.now += seconds
            return function(*args, **options)

        return taking


def random_numbers():
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("parameters", [{}, SCRATCH, {"unfreeze_depth": 0}], ids=["depth 1", "all", "probe"])
def test_nothing_is_left_behind(parameters):
    estimator = FineTuneClassifier(max_epochs=300, **parameters)
    store = open_store()
    store.clear()
    before, told = random_numbers(), []
    with told_to(lambda *what: told.append(what)):
        costs = rehearsed(estimator, X[:40], Y[:40], [(40, 20)])
    assert costs[40, 20].seconds > 0
    assert random_numbers() == before
    assert told == []
    assert store.usage().n_vectors == 0
    assert vars(estimator) == vars(clone(estimator))


def test_what_the_store_holds_is_not_expected_again():
    estimator = FineTuneClassifier(max_epochs=16, random_state=0)
    open_store().clear()
    (before,) = rehearsed(estimator, X[:40], Y[:40], [(40, 20)]).values()
    clone(estimator).fit(X[:40], Y[:40])
    (after,) = rehearsed(estimator, X[:40], Y[:40], [(40, 20)]).values()
    assert before.per_new_image > 0
    assert after.per_new_image == 0


@pytest.mark.parametrize(
    ("max_epochs", "n_fits", "wanted"),
    [("auto", 1, True), ("auto", 5, True), (1, 5, False), (16, 1, True), (15, 1, False), (8, 2, True)],
)
def test_short_fits_are_a_small_part_of_the_work_or_left_out(max_epochs, n_fits, wanted):
    estimator = FineTuneClassifier(max_epochs=max_epochs, **SCRATCH)
    assert bool(rehearsed(estimator, X[:40], Y[:40], [(40, 20)] * n_fits)) is wanted


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (FineTuneClassifier(), True),
        (FineTuneRegressor(weights=None), True),
        (FineTuneClassifier(early_stopping=True), False),
        (FineTuneClassifier(callbacks=[EpochScoring("accuracy")]), False),
        (type("Own", (FineTuneClassifier,), {})(), False),
        (Clock, False),
    ],
)
def test_whatever_may_end_a_training_early_cannot_be_foreseen(estimator, expected):
    assert can_be_rehearsed(estimator) is expected


def test_epochs_views_and_predictions_are_scaled_to_the_numbers_of_the_fit(monkeypatch):
    from sktl.training import _activations, _net

    clock = Clock(monkeypatch)
    step, view = clock.takes(3.0, _net.FineTuneNet.train_step), clock.takes(0.5, _activations.AugmentedImages)
    monkeypatch.setattr(_net.FineTuneNet, "train_step", step)
    monkeypatch.setattr(_activations, "AugmentedImages", view)
    estimator = FineTuneClassifier(max_epochs=100, batch_size=8, **SCRATCH)
    monkeypatch.setattr(FineTuneClassifier, "predict", clock.takes(0.25, FineTuneClassifier.predict))
    costs = rehearsed(estimator, X[:40], Y[:40], [(40, 20), (16, 44)])
    # Parts of the short fit on 8 images: a step of 3, one view of .5, predictions of .25; 8 views are kept.
    assert costs[40, 20] == FitCost(pytest.approx(5 * (100 * 3 + 8 * 0.5) + 20 / 8 * 0.25), 0.0)
    assert costs[16, 44] == FitCost(pytest.approx(2 * (100 * 3 + 8 * 0.5) + 44 / 8 * 0.25), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{}, {"unfreeze_depth": 2}, SCRATCH], ids=["depth 1", "depth 2", "all"])
def test_a_fit_takes_half_to_twice_of_what_was_foreseen(parameters, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", time.process_time)  # whatever else the machine does
    estimator = FineTuneClassifier(max_epochs=60, cache=False, random_state=0, **parameters)
    costs = rehearsed(estimator, X[:48], Y[:48], [(48, 12)])
    start = time.process_time()
    clone(estimator).fit(X[:48], Y[:48]).predict(X[48:])
    taken = time.process_time() - start
    assert taken / 2 <= costs[48, 12].at_most(48) <= 2 * taken
