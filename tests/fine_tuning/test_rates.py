"""find_learning_rate compares whole trainings on one inner split, and leaves the estimator as it is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sktl import FineTuneClassifier, FineTuneRegressor

QUICK = {"max_epochs": 2, "validation_fraction": 0.25, "random_state": 0}


def test_the_losses_are_those_of_trainings_by_hand(patterns):
    model = FineTuneClassifier(learning_rate=1e-2, **QUICK)
    found = model.find_learning_rate(*patterns, factors=(3, 1))
    assert found.rates == (1e-2, 3 * 1e-2)
    by_hand = [
        clone(model).set_params(learning_rate=rate, early_stopping=True, patience=99).fit(*patterns)
        for rate in found.rates
    ]
    assert found.losses == tuple(trial.history_[-1, "valid_loss"] for trial in by_hand)
    assert found.best == found.rates[int(np.argmin(found.losses))]


def test_auto_is_searched_around(patterns):
    found = FineTuneClassifier(**QUICK).find_learning_rate(*patterns)
    assert_allclose(found.rates, [1e-3 / 9, 1e-3 / 3, 1e-3, 3e-3, 9e-3])  # documented for "tiny_fractal"


def test_the_estimator_stays_as_it_is(patterns):
    X, y = patterns
    model = FineTuneClassifier(refit=True, ema_decay=0.9, **QUICK)
    before = dict(vars(model))
    model.find_learning_rate(X, y, factors=(1,))
    assert vars(model) == before
    before = {**vars(model.fit(X, y))}
    expected = model.predict_proba(X)
    model.find_learning_rate(X, y, factors=(1,))
    assert all(vars(model)[name] is value for name, value in before.items())
    assert vars(model).keys() == before.keys()
    assert_array_equal(model.predict_proba(X), expected)


def test_a_generator_is_not_drawn_from_and_one_state_gives_one_result(patterns):
    results = []
    for _ in range(2):
        generator = np.random.RandomState(3)
        model = FineTuneClassifier(max_epochs=1, random_state=generator)
        results.append(model.find_learning_rate(*patterns, factors=(1, 3)))
        assert generator.randint(1000) == np.random.RandomState(3).randint(1000)
    assert results[0] == results[1]


def test_a_rate_that_diverges_is_infinitely_bad(patterns):
    model = FineTuneClassifier(unfreeze_depth="all", image_size=24, **{**QUICK, "max_epochs": 5})
    found = model.find_learning_rate(*patterns, factors=(1, 1e33))
    assert np.isfinite(found.losses[0])
    assert found.losses[1] == np.inf
    assert found.best == found.rates[0]
    with pytest.raises(ValueError, match="learning_rate must let the training converge"):
        model.find_learning_rate(*patterns, factors=(1e33,))


def test_what_is_solved_for_exactly_has_no_rate(patterns):
    model = FineTuneClassifier(unfreeze_depth=0, **QUICK)
    with pytest.raises(ValueError, match="unfreeze_depth must be 1 or more for a search over learning rates"):
        model.find_learning_rate(*patterns)
    assert len(model.set_params(head=(8,)).find_learning_rate(*patterns, factors=(1, 3)).losses) == 2


def test_the_frozen_part_is_computed_once_for_all_rates(patterns, passes):
    model = FineTuneClassifier(cache=True, **QUICK)
    model.find_learning_rate(*patterns, factors=(1,))
    once = len(passes)
    assert once > 0
    model.find_learning_rate(*patterns, factors=(1, 3, 9))
    assert len(passes) == once


def test_a_teacher_still_knows_what_it_knew(patterns):
    teacher = FineTuneClassifier(unfreeze_depth=0).fit(*patterns)
    found = FineTuneClassifier(teacher=teacher, **QUICK).find_learning_rate(*patterns, factors=(1,))
    assert np.isfinite(found.losses[0])


def test_numbers_have_rates_too(patterns):
    X, _ = patterns
    found = FineTuneRegressor(**QUICK).find_learning_rate(X, X.mean((1, 2, 3)), factors=(1, 3))
    assert np.isfinite(found.losses).all()
