"""What becomes of an estimator whose parameters change between one training and the next, or whose training fails."""

import numpy as np
import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from torchvision.transforms import v2

from sktl import FineTuneClassifier
from sktl.fine_tuning import _validation_data
from sktl.training._activations import FrozenPart


def test_a_bare_transform_of_torchvision_survives_cloning_and_searching(patterns):
    """Some of them have a static get_params, which is not that of an estimator."""
    X, y = patterns
    model = FineTuneClassifier(augment=v2.RandomRotation(10), max_epochs=1, random_state=0)
    assert clone(model).augment is not model.augment
    assert "RandomRotation" in repr(model)
    assert np.isfinite(cross_val_score(model, X, y, cv=2, error_score="raise")).all()
    grid = {"augment": [v2.Compose([v2.RandomResizedCrop(16)]), None], "max_epochs": [1]}
    assert GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y).best_params_["max_epochs"] == 1
    assert model.set_params(augment=v2.RandomCrop(8)).get_params()["augment"] is model.augment


def test_nested_parameters_are_still_reached():
    from sklearn.linear_model import LogisticRegression

    model = FineTuneClassifier(teacher=LogisticRegression(C=3))
    assert model.get_params()["teacher__C"] == 3
    assert "teacher__C" not in model.get_params(deep=False)


def test_going_on_never_ends_worse_on_the_images_set_aside(patterns, monkeypatch):
    X, y = patterns
    y = np.random.default_rng(0).permutation(y)  # nothing to be learnt: a ruinous rate cannot help
    parts = []

    def watched(*args):
        train, held_out = split(*args)
        parts.append(held_out)
        return train, held_out

    split = _validation_data.inner_split
    monkeypatch.setattr(_validation_data, "inner_split", watched)
    model = FineTuneClassifier(early_stopping=True, warm_start=True, max_epochs=3, random_state=0).fit(X, y)
    before = {name: tensor.clone() for name, tensor in model.module_.state_dict().items()}
    n_before = len(model.history_)
    constant = skorch.callbacks.LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=10**6)
    model.set_params(learning_rate=30.0, max_epochs=2, callbacks=[constant]).fit(X, y)
    assert model.best_epoch_ == n_before
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module_.state_dict().items())
    assert_array_equal(*parts)


def test_slow_progress_counts_as_progress(patterns):
    X, y = patterns
    model = FineTuneClassifier(
        weights=None, early_stopping=True, patience=3, learning_rate=1e-6, max_epochs=8, random_state=0
    ).fit(X, y)
    losses = model.history_[:, "valid_loss"]
    assert model.best_epoch_ == int(np.argmin(losses)) + 1
    now = [row["valid_loss_best"] for row in model.history_]
    assert max(i for i, best in enumerate(now) if best) + 1 == model.best_epoch_


@pytest.mark.parametrize("change", [{"head": (8,)}, {"dropout": 0.5}])
def test_another_structure_needs_a_new_start(patterns, change):
    model = FineTuneClassifier(warm_start=True, max_epochs=1, random_state=0).fit(*patterns)
    with pytest.raises(ValueError, match="must stay what it was when training goes on"):
        model.set_params(**change).fit(*patterns)


def test_loss_and_batch_norm_may_change_between_trainings(patterns):
    model = FineTuneClassifier(warm_start=True, max_epochs=1, random_state=0).fit(*patterns)
    model.set_params(label_smoothing=0.3, batch_norm="update").fit(*patterns)
    assert model.net_.criterion_.label_smoothing == 0.3
    assert model.module_.update_statistics


def test_a_value_range_set_after_fit_does_not_reinterpret_what_was_learnt(patterns):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=0).fit(X / 2.0, y)
    before = model.predict_proba(X)
    assert_array_equal(model.set_params(value_range=(0, 255)).predict_proba(X), before)


def test_predictions_of_many_images_leave_the_store_to_others(patterns, monkeypatch):
    X, y = patterns
    model = FineTuneClassifier(max_epochs=1, random_state=0).fit(X, y)
    monkeypatch.setenv("SKTL_CACHE_SIZE", "300KB")
    others = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    hits = model.store_info_.n_hits
    for _ in range(2):
        model.predict(others)
    assert model.store_info_.n_hits == hits


def test_float_images_count_as_what_they_take(patterns):
    X, _ = patterns
    model = FineTuneClassifier(unfreeze_depth="all", max_epochs=1, random_state=0).fit(X / 255, patterns[1])
    from sktl.images import as_images

    part = FrozenPart(model.module_, model.backbone_, None, store=None, info=None, batch_size=8, n_jobs=None)
    side = model.module_.preprocessing.crop_size
    assert part.bytes_per_image(as_images(X)) == 3 * side**2
    floats = as_images(X / 255).with_value_range((0.0, 1.0))
    assert part.bytes_per_image(floats) == 12 * side**2
