"""Seconds of strategies: what short fits tell, scaled to the folds and to all images."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sktl import FineTuneClassifier
from sktl.comparison import compare_transfer
from sktl.fine_tuning.rehearsal import FitCost
from sktl.transferability import _costs
from sktl.transferability._costs import predict_costs
from sktl.transferability._strategies import Strategy

DIGITS, LABELS = (part[:40] for part in load_digits(return_X_y=True))
NETWORK = {"backbone": "tiny_fractal", "value_range": (0, 16)}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKTL_CACHE_DIR", str(tmp_path_factory.mktemp("store")))
        splits = [(np.arange(20), np.arange(20, 26)), (np.arange(10, 30), np.arange(0, 9))]
        options = {"candidates": ["frozen", "dummy"], "baseline": "frozen", "cv": splits, "duplicates": "ignore"}
        yield compare_transfer(DIGITS, LABELS % 2, value_range=(0, 16), **options)


def predict(comparison, estimator=None):
    strategies = [Strategy("frozen", "frozen", ("stem",), None, "avg+std")]
    strategies.append(Strategy("fine_tuned_1", "fine-tuned", ("stage4",), estimator, depth=1))
    return predict_costs(comparison, DIGITS, strategies, NETWORK)


def test_folds_share_what_is_computed_once_for_an_image(comparison, monkeypatch):
    asked = {}

    def rehearsed(estimator, X, y, sizes, **options):
        asked.update(n_images=len(X), sizes=sizes)
        return {size: FitCost(seconds=100.0 * size[0] + size[1], per_new_image=7.0) for size in sizes}

    monkeypatch.setattr(_costs, "rehearsed", rehearsed)
    cost = predict(comparison)["fine_tuned_1"]
    # 30 images lie in splits, and all of these are trained on; images 30 to 39 lie in none.
    assert asked == {"n_images": 30, "sizes": [(20, 6), (20, 9), (30, 0)]}
    assert cost.folds == 100 * 20 + 6 + 100 * 20 + 9 + 30 * 7
    assert cost.fit == 100 * 30 + 30 * 7


def test_frozen_strategies_cost_one_pass_and_their_model(comparison, monkeypatch):
    monkeypatch.setattr(_costs, "rehearsed", lambda *args, **options: {})
    monkeypatch.setattr(_costs, "seconds_per_image", lambda *args: 2.0)
    cost = predict(comparison)["frozen"]
    head = min(comparison.fit_seconds["frozen"] / 20) * 30
    assert cost.fit == pytest.approx(60 + head)
    assert cost.folds == 0


def test_what_cannot_be_told_is_not_a_number(comparison, monkeypatch):
    def failing(*args, **options):
        raise RuntimeError("no such network")

    for stand_in in (failing, lambda *args, **options: {}):
        monkeypatch.setattr(_costs, "rehearsed", stand_in)
        cost = predict(comparison)["fine_tuned_1"]
        assert np.isnan([cost.fit, cost.folds]).all()


@pytest.mark.slow
def test_few_epochs_are_timed_as_well(comparison):
    cost = predict(comparison, FineTuneClassifier(**NETWORK, max_epochs=2))["fine_tuned_1"]
    assert cost.folds > 0
    assert cost.fit > 0
