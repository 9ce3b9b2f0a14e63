"""FineTuneClassifier: labels, weights, seeds, and what stays frozen."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import skorch.callbacks
import torch
import torchvision
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from torch import nn

from sktl import FineTuneClassifier
from sktl.exceptions import (
    FrozenPartChangedError,
    ImageReadError,
    TrainingDivergedError,
)
from sktl.training import n_epochs

# Which views suit has tests of its own, and looking for them takes almost half of a short fit.
QUICK = {"max_epochs": 2, "augment": None, "random_state": 0}


NETWORKS = [
    ("tiny_fractal", 32),
    pytest.param("resnet18", 32, marks=pytest.mark.slow),
    ("mobilenet_v2", 32),
    pytest.param("vit_b_16", 224, marks=pytest.mark.slow),
]


def state(model):
    return {name: tensor.clone() for name, tensor in model.module_.state_dict().items()}


def assert_same_network(one, other):
    one, other = state(one), state(other)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def frozen_backbone(name):
    """A pretrained stand-in: weights=None would train everything, and no weights of torchvision are at hand."""
    from sktl.backbones import load_backbone

    return load_backbone(name, weights=None, random_state=3)


@pytest.mark.parametrize("labels", [["cat", "dog"], [3, 7], [True, False], [-1.0, 1.0]])
def test_any_labels_come_back_as_they_were(patterns, labels):
    X, y = patterns
    y = np.array(labels)[y]
    model = FineTuneClassifier(unfreeze_depth=0, max_epochs=10, random_state=0).fit(X, y)
    assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == y.dtype
    assert model.score(X, y) == 1.0


def test_probabilities_and_decisions_agree(three_patterns):
    X, y = three_patterns
    model = FineTuneClassifier(**QUICK).fit(X, y)
    probabilities, decisions = model.predict_proba(X), model.decision_function(X)
    assert probabilities.shape == decisions.shape == (30, 3)
    assert_allclose(probabilities.sum(1), 1)
    assert_array_equal(model.predict(X), probabilities.argmax(1))
    assert_array_equal(model.predict(X), decisions.argmax(1))


@pytest.mark.parametrize(("name", "size"), NETWORKS)
@pytest.mark.parametrize("depth", [0, 1])
def test_everything_below_the_cut_is_bit_identical_after_fit(patterns, name, size, depth):
    backbone = frozen_backbone(name)
    model = FineTuneClassifier(backbone, unfreeze_depth=depth, image_size=size, learning_rate=1e-2, **QUICK).fit(
        *patterns
    )
    before = backbone.stages.state_dict()
    n_frozen = len(backbone.stages) - depth
    frozen, changed = 0, 0
    for key, tensor in model.module_.stages.state_dict().items():
        position = list(backbone.stage_names).index(key.partition(".")[0])
        if position < n_frozen:
            assert torch.equal(tensor, before[key]), key
            frozen += 1
        else:
            changed += not torch.equal(tensor, before[key])
    assert frozen > 0
    assert (changed > 0) == (depth > 0)


def test_frozen_batch_norm_normalises_with_its_statistics_while_the_rest_trains(patterns):
    modes = []

    class Watch(skorch.callbacks.Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            assert net.module_.head.dropout.training
            modes.append([stage.training for stage in net.module_.stages])
            norms = [m for m in net.module_.stages.modules() if isinstance(m, nn.BatchNorm2d)]
            assert not any(norm.training for norm in norms)

    FineTuneClassifier(callbacks=[Watch()], **QUICK).fit(*patterns)
    assert modes
    assert all(mode == [False] * 4 + [True] for mode in modes)


def test_pretrained_statistics_are_kept_above_the_cut_too_and_learnt_from_scratch(patterns):
    def moved(weights):
        model = FineTuneClassifier(weights=weights, unfreeze_depth="all", learning_rate=1e-2, **QUICK).fit(*patterns)
        before = model.backbone_.stages.state_dict()
        after = model.module_.stages.state_dict()
        return {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])}

    assert moved("default") == {"weight", "bias"}
    assert moved(None) == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_a_callback_that_writes_below_the_cut_is_found_out(patterns):
    class Vandal(skorch.callbacks.Callback):
        def on_train_end(self, net, **kwargs):
            with torch.no_grad():
                next(net.module_.frozen_stages.parameters()).add_(1)

    with pytest.raises(FrozenPartChangedError, match="unfreeze_depth"):
        FineTuneClassifier(callbacks=[Vandal()], **QUICK).fit(*patterns)


def test_from_scratch_trains_everything_whatever_the_depth(patterns):
    model = FineTuneClassifier(weights=None, unfreeze_depth=0, **QUICK).fit(*patterns)
    assert model.unfreeze_depth_ == len(model.module_.stages)
    assert model.n_trained_parameters_ == sum(p.numel() for p in model.module_.parameters())


def test_depth_counts_trained_parameters(patterns):
    counts = [FineTuneClassifier(unfreeze_depth=d, **QUICK).fit(*patterns).n_trained_parameters_ for d in (0, 1, "all")]
    assert counts[0] == 2 * (192 + 1)
    assert counts == sorted(counts)


@pytest.mark.parametrize("depth", [0, 1, "all"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_two_fits_with_one_seed_are_identical(patterns, depth, dropout):
    model = FineTuneClassifier(unfreeze_depth=depth, head=[8], dropout=dropout, **{**QUICK, "augment": "auto"})
    assert_same_network(model.fit(*patterns), clone(model).fit(*patterns))


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_one_seed_gives_one_network_of_every_kind_from_rows_in_any_order(patterns, name, size):
    X, y = patterns[0][:12], patterns[1][:12]
    model = FineTuneClassifier(frozen_backbone(name), image_size=size, dropout=0.2, **QUICK).fit(X, y)
    order = np.random.default_rng(1).permutation(12)
    weighted = clone(model).fit(X[order], y[order], np.full(12, 3.0))
    assert_same_network(model, weighted)


def test_another_seed_gives_another_network(patterns):
    one, other = (FineTuneClassifier(max_epochs=2, random_state=seed).fit(*patterns) for seed in (0, 1))
    assert not torch.equal(one.module_.head.layers[0].weight, other.module_.head.layers[0].weight)


@pytest.mark.parametrize("weights", ["default", None])
def test_global_random_states_are_left_as_found(patterns, weights):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    FineTuneClassifier(dropout=0.5, weights=weights, **QUICK).fit(*patterns).predict(patterns[0])
    assert torch.equal(torch.rand(3), expected[0])
    assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_fits_in_threads_are_identical_and_leave_the_global_state(patterns):
    X, y = patterns
    model = FineTuneClassifier(dropout=0.5, weights=None, image_size=32, **QUICK)
    reference = clone(model).fit(X, y)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fitted = Parallel(n_jobs=2, backend="threading")(delayed(clone(model).fit)(X, y) for _ in range(6))
    assert torch.equal(torch.get_rng_state(), before)
    for one in fitted:
        assert_same_network(one, reference)


def test_weights_count_as_copies(three_patterns):
    X, y = three_patterns
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    model = FineTuneClassifier(dropout=0.2, class_weight="balanced", **{**QUICK, "augment": "auto"})
    weighted = clone(model).fit(X, y, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_same_network(weighted, repeated)


def test_the_order_of_rows_does_not_matter(three_patterns):
    X, y = three_patterns
    order = np.random.default_rng(0).permutation(len(y))
    model = FineTuneClassifier(**QUICK)
    assert_same_network(clone(model).fit(X, y), clone(model).fit(X[order], y[order]))


def test_kept_and_recomputed_activations_give_the_same_network(patterns, monkeypatch):
    from sktl.fine_tuning import _estimator
    from sktl.training import _activations

    backbone = frozen_backbone("resnet18")
    model = FineTuneClassifier(backbone, image_size=32, **QUICK)
    kept = clone(model).fit(*patterns)

    class Forgetful(_activations.Activations):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, memory=0, **kwargs)

    monkeypatch.setattr(_estimator, "Activations", Forgetful)
    assert_same_network(kept, clone(model).fit(*patterns))


def test_balanced_classes_equal_weights_by_hand(patterns):
    X, y = patterns
    keep = np.flatnonzero((y == 0) | (np.arange(len(y)) < 6))
    X, y = X[keep], y[keep]
    counts = np.bincount(y)
    balanced = FineTuneClassifier(class_weight="balanced", **QUICK).fit(X, y)
    by_hand = FineTuneClassifier(**QUICK).fit(X, y, sample_weight=1 / counts[y])
    assert_allclose(balanced.predict_proba(X), by_hand.predict_proba(X), rtol=1e-5)


def test_class_weights_by_label_lean_towards_the_heavy_class(patterns):
    X, _ = patterns
    names = np.repeat(["a", "b"], len(X))  # of the same images: which it is, the weights alone can say
    model = FineTuneClassifier(unfreeze_depth=0, class_weight={"a": 1000.0, "b": 1e-3}, random_state=0)
    assert (model.fit(np.concatenate([X, X]), names).predict(X) == "a").all()


@pytest.mark.slow
def test_a_training_of_automatic_length_ends_when_nothing_is_left_to_learn(patterns):
    X, y = patterns
    weights = {0: 1000.0, 1: 1e-4}
    model = FineTuneClassifier(class_weight=weights, random_state=0).fit(X, y)
    losses = [row["train_loss"] for row in model.history_]
    assert losses[-1] < 1e-5 <= min(losses[:-1])
    assert len(losses) < n_epochs("auto", len(X), model.batch_size)
    assert (
        len(FineTuneClassifier(class_weight=weights, max_epochs=len(losses) + 2).fit(X, y).history_) == len(losses) + 2
    )


def test_early_stopping_restores_the_best_weights(patterns):
    X, y = patterns
    noisy = np.random.default_rng(0).permutation(y)
    model = FineTuneClassifier(
        head=[16],
        early_stopping=True,
        validation_fraction=0.25,
        patience=3,
        max_epochs=40,
        learning_rate=1e-2,
        random_state=0,
    ).fit(X, noisy)
    losses = [row["valid_loss"] for row in model.history_]
    best = int(np.argmin(losses))
    assert len(losses) < 40
    assert best < len(losses) - 1

    class Snapshot(skorch.callbacks.Callback):
        weights = ()

        def on_epoch_end(self, net, **kwargs):
            if net.history[-1, "epoch"] == best + 1:
                Snapshot.weights = net.module_.head.layers[0].weight.detach().clone()

    again = clone(model).set_params(callbacks=[Snapshot()]).fit(X, noisy)
    assert torch.equal(Snapshot.weights, model.module_.head.layers[0].weight)
    assert_same_network(model, again)


def test_early_stopping_needs_images_to_set_aside():
    X = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    X[1] = 200
    with pytest.raises(ValueError, match="early_stopping=False"):
        FineTuneClassifier(early_stopping=True, **QUICK).fit(X, [0, 1])


def test_warm_start_goes_on_training(patterns):
    X, y = patterns
    model = FineTuneClassifier(warm_start=True, **QUICK).fit(X, y)
    first = state(model)
    model.fit(X, y)
    assert len(model.history_) == 4
    assert not torch.equal(first["head.layers.0.weight"], model.module_.head.layers[0].weight)
    with pytest.raises(ValueError, match="warm_start=False"):
        model.fit(X, y + 1)


def test_a_fit_after_pickling_goes_on_as_if_it_had_not_been_pickled(patterns):
    X, y = patterns
    model = FineTuneClassifier(warm_start=True, dropout=0.3, **QUICK).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert_same_network(model.fit(X, y), copy.fit(X, y))


def test_partial_fit_learns_in_portions(patterns):
    X, y = patterns
    model = FineTuneClassifier(learning_rate=1e-2, unfreeze_depth=0, random_state=0)
    for _ in range(20):
        model.partial_fit(X[:12], y[:12], classes=[0, 1])
        model.partial_fit(X[12:], y[12:])
    assert model.score(X, y) == 1.0
    with pytest.raises(ValueError, match=r"Got \[5\]"):
        model.partial_fit(X, np.full(len(y), 5))


def test_partial_fit_may_start_with_one_of_the_announced_classes(patterns):
    X, y = patterns
    model = FineTuneClassifier(learning_rate=1e-2, random_state=0).partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    assert_array_equal(model.classes_, [0, 1])
    for _ in range(20):
        model.partial_fit(X, y)
    assert model.score(X, y) == 1.0


@pytest.mark.parametrize(
    ("y", "weights"), [([1] * 24, None), ([0] * 12 + [1] * 12, [1.0] * 12 + [0.0] * 12)], ids=["labels", "weights"]
)
def test_a_single_class_is_an_error(patterns, y, weights):
    with pytest.raises(ValueError, match="two classes"):
        FineTuneClassifier(**QUICK).fit(patterns[0], y, sample_weight=weights)


def test_too_deep_is_an_error_that_lists_the_stages(patterns):
    with pytest.raises(ValueError, match=r"at most 5 .*stage4.*Got 9"):
        FineTuneClassifier(unfreeze_depth=9, **QUICK).fit(*patterns)


@pytest.mark.parametrize(
    "head",
    [[16], (16, 8), nn.Linear(192, 2), lambda n_in, n_out: nn.Sequential(nn.Linear(n_in, 4), nn.Linear(4, n_out))],
    ids=["hidden", "two hidden", "module", "function"],
)
def test_heads(patterns, head):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=0, head=head, max_epochs=20, learning_rate=1e-2, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.9


def test_a_head_of_the_users_is_not_trained_in_place(patterns):
    head = nn.Linear(192, 2)
    before = head.weight.detach().clone()
    FineTuneClassifier(head=head, **QUICK).fit(*patterns)
    assert torch.equal(head.weight, before)


@pytest.mark.parametrize("head", [nn.Linear(192, 3), nn.Linear(100, 2)])
def test_a_head_of_the_wrong_shape_is_named(patterns, head):
    with pytest.raises(ValueError, match="head must"):
        FineTuneClassifier(head=head, **QUICK).fit(*patterns)


@pytest.mark.slow
def test_a_grid_over_depth_runs_in_two_processes(three_patterns):
    X, y = three_patterns
    grid = {"unfreeze_depth": [0, 1, "all"]}
    search = GridSearchCV(FineTuneClassifier(max_epochs=3, random_state=0), grid, cv=2, n_jobs=2).fit(X, y)
    alone = GridSearchCV(FineTuneClassifier(max_epochs=3, random_state=0), grid, cv=2).fit(X, y)
    assert_allclose(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_cross_validation_with_sample_weights_routed(three_patterns):
    import sklearn

    X, _ = three_patterns
    X, y = np.concatenate([X, X, X]), np.repeat([0, 1, 2], len(X))  # what it is, the weights alone can say
    with sklearn.config_context(enable_metadata_routing=True):
        model = FineTuneClassifier(**QUICK).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        weights = np.where(y == 0, 1000.0, 1e-3)
        predicted = cross_val_predict(model, X, y, cv=2, params={"sample_weight": weights})
    assert (predicted == 0).mean() > 0.9


def test_interrupting_reaches_the_caller(patterns):
    class Interrupt(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FineTuneClassifier(callbacks=[Interrupt()], **QUICK).fit(*patterns)


def test_fit_leaves_the_list_of_callbacks_as_it_was_and_uses_those_in_it(patterns):
    callback = skorch.callbacks.EpochTimer()
    model = FineTuneClassifier(callbacks=[("mine", callback)], **QUICK).fit(*patterns)
    assert model.callbacks == [("mine", callback)]
    assert dict(model.net_.callbacks_)["mine"] is callback
    assert callback.epoch_start_time_ is not None


def test_verbose_prints_a_line_per_epoch(patterns, capsys):
    FineTuneClassifier(verbose=1, **QUICK).fit(*patterns)
    assert "train_loss" in capsys.readouterr().out


@pytest.mark.slow
def test_a_pickle_predicts_in_another_process(patterns, tmp_path):
    X, y = patterns
    model = FineTuneClassifier(**QUICK).fit(X, y)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps((model, X)))
    code = (
        "import pickle, sys, torch; torch.set_num_threads(1)\n"
        "model, X = pickle.load(open(sys.argv[1], 'rb'))\n"
        "pickle.dump(model.predict_proba(X), open(sys.argv[2], 'wb'))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.pkl"), str(tmp_path / "out.pkl")], check=True)
    assert_array_equal(pickle.loads((tmp_path / "out.pkl").read_bytes()), model.predict_proba(X))


def test_the_network_is_on_the_device_before_the_frozen_part_runs(patterns, monkeypatch):
    from sktl.fine_tuning import _estimator

    placement = _estimator.resolve_placement("cpu", "float32")
    elsewhere = type(placement)(torch.device("meta"), torch.float32)
    seen = []

    class Watch(_estimator.FrozenPart):
        def __init__(self, network, backbone, placement, **kwargs):
            seen.append({p.device.type for p in network.parameters()})
            raise RuntimeError("seen enough")

    monkeypatch.setattr(_estimator, "resolve_placement", lambda device, precision: elsewhere)
    monkeypatch.setattr(_estimator, "FrozenPart", Watch)
    with pytest.raises(RuntimeError, match="seen enough"):
        FineTuneClassifier(**QUICK).fit(*patterns)
    assert seen == [{"meta"}]


def test_floats_after_bytes_are_refused_unless_their_range_is_known(patterns):
    X, y = patterns
    model = FineTuneClassifier(**QUICK).fit(X, y)
    with pytest.raises(ImageReadError, match=r"image 0: .*value_range"):
        model.predict(X.astype(float))
    assert_allclose(model.predict_proba(X / 255), model.predict_proba(X), atol=1e-2)


def test_partial_fit_after_fit_goes_on_learning(patterns):
    X, y = patterns
    model = FineTuneClassifier(learning_rate=0.1, unfreeze_depth=0, random_state=0, max_epochs=3).fit(X, y)
    for _ in range(30):
        model.partial_fit(X, 1 - y)
    assert model.score(X, 1 - y) > 0.9


def test_the_inner_split_is_not_seen_by_the_probe(patterns):
    X, _ = patterns
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    y = rng.integers(0, 2, 60)
    model = FineTuneClassifier(
        unfreeze_depth=1, early_stopping=True, validation_fraction=0.5, max_epochs=1, random_state=0
    )
    assert model.fit(X, y).history_[0]["valid_loss"] > 0.65


def test_a_failed_refit_does_not_leave_the_old_network_under_new_labels(patterns):
    X, y = patterns
    model = FineTuneClassifier(**QUICK).fit(X, np.array(["cat", "dog"])[y])
    with pytest.raises(ValueError, match="unfreeze_depth"):
        model.set_params(unfreeze_depth=9).fit(X, np.array(["ape", "bee"])[y])
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_training_that_diverges_is_an_error(patterns):
    with pytest.raises(TrainingDivergedError, match="Lower learning_rate"):
        FineTuneClassifier(learning_rate=1e30, unfreeze_depth="all", max_epochs=5, random_state=0).fit(*patterns)


@pytest.mark.parametrize("class_weight", [{0: 0.0, 1: 0.0}, {0: -1.0, 1: 1.0}])
def test_impossible_class_weights_are_named(patterns, class_weight):
    with pytest.raises(ValueError, match="class_weight must not be negative"):
        FineTuneClassifier(class_weight=class_weight, **QUICK).fit(*patterns)


def test_a_sequential_of_the_users_is_not_replaced_by_the_probe(patterns):
    head = nn.Sequential(nn.Linear(192, 2, bias=False))
    model = FineTuneClassifier(head=head, unfreeze_depth=0, learning_rate=1e-12, **QUICK).fit(*patterns)
    assert_allclose(model.module_.head.layers[0].weight.detach(), head[0].weight.detach(), atol=1e-6)


@pytest.mark.parametrize("head", [[-5], ["a"], [0], [4.5]])
def test_impossible_widths_are_named(patterns, head):
    with pytest.raises(ValueError, match="positive widths"):
        FineTuneClassifier(head=head, **QUICK).fit(*patterns)


def test_training_goes_on_with_new_rates_and_batches_but_not_with_another_structure(patterns):
    model = FineTuneClassifier(warm_start=True, **QUICK).fit(*patterns)
    model.set_params(learning_rate=0.5, batch_size=6, max_epochs=1).fit(*patterns)
    assert model.net_.settings.learning_rate == 0.5
    assert model.history_[-1, "train_batch_count"] == 4
    for change in ({"unfreeze_depth": 2}, {"image_size": 32}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must stay"):
            clone(model).set_params(warm_start=True).fit(*patterns).set_params(**change).fit(*patterns)


def test_a_scheduler_of_the_users_takes_the_place_of_ours(patterns):
    rates = []

    class Watch(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[-1]["lr"])

    scheduler = skorch.callbacks.LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.1)
    FineTuneClassifier(callbacks=[Watch(), scheduler], max_epochs=3, random_state=0).fit(*patterns)
    assert_allclose(np.divide(rates[1:], rates[:-1]), 0.1)


def test_from_scratch_one_image_is_too_few_to_go_on(patterns):
    X, y = patterns
    with pytest.raises(ValueError, match="two distinct images"):
        FineTuneClassifier(weights=None, **QUICK).partial_fit(X[:1], y[:1], classes=[0, 1])


def test_other_classes_in_a_later_partial_fit_are_refused(patterns):
    X, y = patterns
    model = FineTuneClassifier(**QUICK).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, y, classes=[0, 1, 2])


def test_a_pickle_needs_no_file_of_weights_and_holds_them_once(patterns, tmp_path):
    X, y = patterns
    path = tmp_path / "start.pth"
    torch.save(torchvision.models.resnet18(num_classes=2).state_dict(), path)
    model = FineTuneClassifier("resnet18", weights=path, image_size=32, **QUICK).fit(X, y)
    pickled = pickle.dumps(model)
    path.unlink()
    copy = pickle.loads(pickled)
    assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.backbone_.stage_names == model.backbone_.stage_names
    n_bytes = sum(tensor.nbytes for tensor in model.module_.state_dict().values())
    assert len(pickled) < 1.1 * n_bytes


def test_an_interrupted_fit_is_not_fitted_and_an_interrupted_continuation_is(patterns):
    class Interrupt(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    X, y = patterns
    model = FineTuneClassifier(callbacks=[Interrupt()], warm_start=True, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(callbacks=None).fit(X, y).set_params(callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.net_.train_split is None
    assert model.predict(X).shape == y.shape
