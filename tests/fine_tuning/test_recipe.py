"""Each knob of the recipe does what its sentence in the docstring says, and nothing below the cut moves."""

from itertools import pairwise

import numpy as np
import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sktl import FineTuneClassifier, FineTuneRegressor

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


# l2_sp


def test_l2_sp_keeps_the_stages_near_their_start_and_lets_the_head_go(patterns):
    free = FineTuneClassifier(**QUICK).fit(*patterns)
    pulled = FineTuneClassifier(l2_sp=50.0, **QUICK).fit(*patterns)
    held = FineTuneClassifier(l2_sp=1e9, **QUICK).fit(*patterns)
    far, near = (sum(moved(model).values()) for model in (free, pulled))
    assert 0 < near < 0.7 * far
    assert moved(held) == {}
    probe = FineTuneClassifier(unfreeze_depth=0).fit(*patterns)
    start = 0.3 * probe.module_.head.layers[0].weight
    assert not torch.equal(held.module_.head.layers[0].weight, start)


def test_l2_sp_goes_a_share_of_the_way_back_at_each_step(patterns):
    class Pull(skorch.callbacks.Callback):
        def on_train_begin(self, net, **kwargs):
            self.start = [p.detach().clone() for p in net.module_.trained_stages.parameters()]

        def on_batch_end(self, net, training=False, **kwargs):
            if training:
                rate = net.optimizer_.param_groups[-1]["lr"] / 0.1  # of the top stage; the head's is a tenth
                for p, start in zip(net.module_.trained_stages.parameters(), self.start, strict=True):
                    p.data += rate * 3.0 * (start - p.data)

    settings = {**QUICK, "max_epochs": 4, "weight_decay": 0.0}
    by_hand = FineTuneClassifier(callbacks=[Pull()], **settings).fit(*patterns)
    ours = FineTuneClassifier(l2_sp=3.0, **settings).fit(*patterns)
    for name, tensor in state(ours).items():
        assert_allclose(tensor, state(by_hand)[name], atol=2e-5)


def test_l2_sp_takes_the_place_of_weight_decay_in_the_stages_alone(patterns):
    decays = []

    class Watch(skorch.callbacks.Callback):
        def on_train_end(self, net, **kwargs):
            head = {id(p) for p in net.module_.head.parameters()}
            decays.extend(
                (id(group["params"][0]) in head, group["weight_decay"])
                for group in net.optimizer_.param_groups
                if group["params"][0].ndim > 1
            )

    FineTuneClassifier(l2_sp=0.1, weight_decay=0.5, callbacks=[Watch()], **QUICK).fit(*patterns)
    assert set(decays) == {(False, 0.0), (True, 0.5)}


def test_l2_sp_has_nothing_to_go_back_to_from_scratch(patterns):
    settings = {"weights": None, "image_size": 24, **QUICK}
    plain = FineTuneClassifier(**settings).fit(*patterns)
    assert_same_network(plain, FineTuneClassifier(l2_sp=1e9, **settings).fit(*patterns))


# ema_decay


@pytest.mark.parametrize("decay", [0.2, 0.9])
def test_the_average_kept_is_the_one_that_a_callback_computes(patterns, decay):
    found = {}

    class Average(skorch.callbacks.Callback):
        def on_train_begin(self, net, **kwargs):
            self.step = 0
            self.mean = {name: p.detach().clone() for name, p in net.module_.named_parameters() if p.requires_grad}

        def on_batch_end(self, net, training=False, **kwargs):
            self.step += 1
            share = min(decay, (1 + self.step) / (10 + self.step))
            for name, p in net.module_.named_parameters():
                if name in self.mean:
                    self.mean[name] = share * self.mean[name] + (1 - share) * p.detach()

        def on_train_end(self, net, **kwargs):
            found.update(self.mean)

    settings = {**QUICK, "max_epochs": 5, "batch_size": 8}
    model = FineTuneClassifier(ema_decay=decay, callbacks=[Average()], **settings).fit(*patterns)
    last = FineTuneClassifier(**settings).fit(*patterns)
    assert any(not torch.equal(state(last)[name], state(model)[name]) for name in found)
    for name, mean in found.items():
        assert_allclose(state(model)[name], mean, atol=1e-6)


def test_an_average_and_one_best_epoch_exclude_each_other(patterns):
    with pytest.raises(ValueError, match="ema_decay must be None with early_stopping=True"):
        FineTuneClassifier(ema_decay=0.9, early_stopping=True, **QUICK).fit(*patterns)


# unfreeze_schedule


def test_a_stage_stays_as_it_is_until_its_epoch(patterns):
    seen = {3: [], 4: []}

    class Watch(skorch.callbacks.Callback):
        def keep(self, net):
            for i, copies in seen.items():
                copies.append([p.detach().clone() for p in net.module_.stages[i].parameters()])

        def on_train_begin(self, net, **kwargs):
            self.keep(net)

        def on_epoch_end(self, net, **kwargs):
            self.keep(net)

    settings = {**QUICK, "max_epochs": 4, "unfreeze_depth": 2}
    model = FineTuneClassifier(unfreeze_schedule=(1, 3), callbacks=[Watch()], **settings).fit(*patterns)
    changes = {i: [not all(map(torch.equal, a, b)) for a, b in pairwise(copies)] for i, copies in seen.items()}
    assert changes == {4: [False, True, True, True], 3: [False, False, False, True]}
    assert all(p.requires_grad for p in model.module_.trained_stages.parameters())
    assert not any(p.requires_grad for p in model.module_.frozen_stages.parameters())
    assert {name.partition(".")[0] for name in moved(model)} == {"stage3", "stage4"}
    assert model.history_[0, "train_loss"] > model.history_[-1, "train_loss"]


def test_a_schedule_that_starts_with_everything_is_none(patterns):
    model = FineTuneClassifier(unfreeze_depth=2, **QUICK)
    scheduled = clone(model).set_params(unfreeze_schedule=[0])
    assert_same_network(model.fit(*patterns), scheduled.fit(*patterns))


@pytest.mark.parametrize("schedule", [(), (5, 0), (0, 1.5), ("a",)])
def test_impossible_schedules_are_named(patterns, schedule):
    with pytest.raises(ValueError, match=r"unfreeze_schedule must be epochs in ascending order"):
        FineTuneClassifier(unfreeze_schedule=schedule, **QUICK).fit(*patterns)


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


@pytest.mark.parametrize("knobs", [VARIED, {"augment": "light"}, {"batch_norm": "update"}, {"l2_sp": 0.1}])
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
    y = (X[:, :, :4].mean((1, 2, 3)) > X[:, :, 12:].mean((1, 2, 3))).astype(int)
    model = FineTuneClassifier(unfreeze_depth=depth, test_time_augmentation=True, **QUICK).fit(X, y)
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
    assert {"augment", "n_views", "mixup", "cutmix", "l2_sp", "ema_decay"} <= model.get_params().keys()
    search = GridSearchCV(model, {"augment": ["light", None]}, cv=2).fit(*patterns)
    assert_array_equal(np.isfinite(search.cv_results_["mean_test_score"]), True)
    assert clone(search.best_estimator_).augment == search.best_params_["augment"]
