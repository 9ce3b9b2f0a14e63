"""Each parameter of the training does what its sentence in the docstring says, and nothing below the cut moves."""

import numpy as np
import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sktl import FineTuneClassifier, FineTuneRegressor
from sktl.training.callbacks import L2SP

QUICK = {"max_epochs": 2, "learning_rate": 1e-2, "random_state": 0}
VARIED = {"augment": "light", "n_views": 2}


def state(model):
    return model.module_.state_dict()


def assert_same_network(one, other):
    one, other = state(one), state(other)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def moved(model):
    """Names of the tensors of the stages that are not what they were before the training, and how far they went."""
    before, after = model.backbone_.stages.state_dict(), model.module_.stages.state_dict()
    return {
        name: float((after[name] - before[name]).abs().max()) for name in before if not after[name].equal(before[name])
    }


def prepared(model, X):
    return torch.from_numpy(np.stack([model.module_.preprocessing.prepare(image) for image in X]))


# batch_norm


def statistics_moved(model):
    return {name.partition(".")[0] for name in moved(model) if "running" in name}


def test_updated_statistics_move_above_the_cut_only(patterns):
    stages = {"stage3", "stage4"}
    for batch_norm, expected in (("update", stages), ("frozen", set()), ("auto", set())):
        model = FineTuneClassifier(unfreeze_depth=2, batch_norm=batch_norm, **QUICK).fit(*patterns)
        assert statistics_moved(model) == expected
        assert {name.partition(".")[0] for name in moved(model)} == stages


def test_frozen_statistics_stay_from_scratch_too(patterns):
    settings = {"weights": None, "image_size": 24, **QUICK}
    assert statistics_moved(FineTuneClassifier(batch_norm="frozen", **settings).fit(*patterns)) == set()
    assert statistics_moved(FineTuneClassifier(**settings).fit(*patterns))


# views and mixing


def photos(folder, X):
    paths = [folder / f"{i}.png" for i in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize(
    "knobs",
    [VARIED, {"augment": "trivial"}, {"mixup": 0.4}, {"cutmix": 1.0}, {**VARIED, "mixup": 0.4, "cutmix": 1.0}],
    ids=lambda knobs: "-".join(knobs),
)
def test_one_seed_one_network_from_files_in_any_order(patterns, tmp_path, knobs):
    X, y = patterns
    paths = photos(tmp_path, X)
    order = np.random.default_rng(0).permutation(len(y))
    model = FineTuneClassifier(**knobs, **QUICK)
    reference = clone(model).fit(paths, y)
    assert_same_network(reference, clone(model).fit([paths[i] for i in order], y[order]))
    plain = FineTuneClassifier(augment=None, **QUICK).fit(paths, y)
    assert not torch.equal(state(plain)["head.layers.0.weight"], state(reference)["head.layers.0.weight"])


@pytest.mark.parametrize("knobs", [VARIED, {"augment": "light"}, {"batch_norm": "update"}, {"callbacks": [L2SP(0.1)]}])
def test_weights_count_as_copies(three_patterns, knobs):
    X, y = three_patterns
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    model = FineTuneClassifier(**knobs, **QUICK)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    assert_same_network(weighted, clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights)))


def test_numbers_may_be_mixed_too(patterns):
    X, _ = patterns
    y = X.mean((1, 2))
    model = FineTuneRegressor(mixup=0.4, cutmix=1.0, augment="light", **QUICK).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert_same_network(model, clone(model).fit(X[::-1], y[::-1]))


def test_prediction_sees_plain_images(patterns):
    X, y = patterns
    model = FineTuneClassifier(augment="trivial", mixup=0.4, **QUICK).fit(X, y)
    with torch.no_grad():
        expected = model.module_(prepared(model, X)).softmax(1)
    assert_allclose(model.predict_proba(X), expected, atol=1e-5)


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_test_time_augmentation_is_the_mean_over_image_and_mirror_image(patterns, depth):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=depth, test_time_augmentation=True, ensemble=False, **QUICK).fit(X, y)
    batch = prepared(model, X)
    with torch.no_grad():
        outputs = (model.module_(batch) + model.module_(batch.flip(3))) / 2
    assert_allclose(model.decision_function(X), outputs[:, 1] - outputs[:, 0], atol=1e-4)
    one_sided = model.set_params(test_time_augmentation=False).decision_function(X)
    assert np.abs(one_sided - (outputs[:, 1] - outputs[:, 0]).numpy()).max() > 1e-3


def test_early_stopping_watches_plain_images(patterns):
    seen = {True: [], False: []}

    class Watch(skorch.callbacks.Callback):
        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            seen[training].extend(batch[0]["activations"].numpy().copy())

    settings = {"unfreeze_depth": "all", "early_stopping": True, "validation_fraction": 0.5, "image_size": 24, **QUICK}
    model = FineTuneClassifier(augment="light", callbacks=[Watch()], **settings).fit(*patterns)
    plain = {image.tobytes() for image in prepared(model, patterns[0]).numpy()}
    assert len(seen[False]) == len(seen[True]) == 24
    assert {image.tobytes() for image in seen[False]} < plain
    assert not {image.tobytes() for image in seen[True]} & plain


def test_views_at_depth_0_train_the_head_on_them(patterns):
    X, y = patterns
    probe = FineTuneClassifier(unfreeze_depth=0, **QUICK).fit(X, y)
    model = FineTuneClassifier(unfreeze_depth=0, augment="light", **QUICK).fit(X, y)
    assert len(probe.history_) == 0
    assert len(model.history_) == 2
    assert not torch.equal(state(probe)["head.layers.0.weight"], state(model)["head.layers.0.weight"])


def test_cutmix_of_pooled_features_is_refused(patterns):
    with pytest.raises(ValueError, match=r"cutmix must be 0 where .* Use mixup, or unfreeze more stages"):
        FineTuneClassifier(unfreeze_depth=0, cutmix=1.0, **QUICK).fit(*patterns)


def test_views_without_an_augmentation_are_refused(patterns):
    with pytest.raises(ValueError, match="n_views must be 'auto' or None when there is no augmentation"):
        FineTuneClassifier(augment=None, n_views=2, **QUICK).fit(*patterns)


def test_a_misspelt_augmentation_is_met_with_the_right_one(patterns):
    with pytest.raises(ValueError, match=r"augment must be .*Did you mean 'light'"):
        FineTuneClassifier(augment="lihgt", **QUICK).fit(*patterns)


def test_a_grid_may_choose_the_augmentation(patterns):
    model = FineTuneClassifier(**QUICK)
    assert {"augment", "n_views", "mixup", "cutmix", "callbacks"} <= model.get_params().keys()
    search = GridSearchCV(model, {"augment": ["light", None]}, cv=2).fit(*patterns)
    assert_array_equal(np.isfinite(search.cv_results_["mean_test_score"]), True)
    assert clone(search.best_estimator_).augment == search.best_params_["augment"]
