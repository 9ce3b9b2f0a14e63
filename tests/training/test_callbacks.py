"""Each training option does what its first sentence says, is checked before the work, and leaves nothing behind."""

import pickle
from itertools import pairwise

import pytest
import skorch.callbacks
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sktl import FineTuneClassifier
from sktl.exceptions import TrainingDivergedError
from sktl.training.callbacks import L2SP, CompileNetwork, ExponentialMovingAverage, GradualUnfreezing

QUICK = {"ensemble": False, "augment": "light", "max_epochs": 2, "learning_rate": 1e-2, "random_state": 0}
OPTIONS = [L2SP(0.1), ExponentialMovingAverage(0.9), GradualUnfreezing((0, 1)), CompileNetwork()]
of_every_kind = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: type(option).__name__)


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


# all of them


@of_every_kind
def test_an_option_is_plain_data_that_clones_pickles_and_shows_itself(option):
    for copy in (clone(option), pickle.loads(pickle.dumps(option)), eval(repr(option))):
        assert type(copy) is type(option)
        assert copy.get_params() == option.get_params() == vars(option)


@of_every_kind
def test_the_exact_probe_stays_exact(patterns, option):
    plain = FineTuneClassifier(unfreeze_depth=0).fit(*patterns)
    model = FineTuneClassifier(unfreeze_depth=0, callbacks=[("mine", option)]).fit(*patterns)
    assert len(model.history_) == 0
    assert_same_network(plain, model)


@pytest.mark.parametrize("option", OPTIONS[:3], ids=lambda option: type(option).__name__)
def test_an_option_leaves_nothing_behind(patterns, option):
    model = FineTuneClassifier(callbacks=[option], unfreeze_depth=2, **QUICK).fit(*patterns)
    (used,) = (callback for _, callback in model.net_.callbacks_ if type(callback) is type(option))
    assert vars(used) == option.get_params() == vars(option)
    plain = clone(model).set_params(callbacks=None).fit(*patterns)
    assert len(pickle.dumps(model)) < 1.02 * len(pickle.dumps(plain))
    assert_same_network(model, clone(model).fit(*patterns))


@pytest.mark.parametrize("option", [L2SP(0.5), GradualUnfreezing((0, 1))], ids=["L2SP", "GradualUnfreezing"])
def test_early_stopping_and_the_training_after_it_keep_to_the_option(patterns, option):
    stopping = {"early_stopping": True, "validation_fraction": 0.25, "refit": True, "unfreeze_depth": 2}
    model = FineTuneClassifier(head=(8,), callbacks=[option], **stopping, **QUICK).fit(*patterns)
    assert 1 <= model.best_epoch_ == len(model.history_)
    plain = clone(model).set_params(callbacks=None).fit(*patterns)
    assert not torch.equal(state(plain)["head.layers.0.weight"], state(model)["head.layers.0.weight"])


def test_a_grid_may_choose_among_options(patterns):
    grid = {"callbacks": [[L2SP(0.1)], [L2SP(1e9)]]}
    search = GridSearchCV(FineTuneClassifier(**QUICK), grid, cv=2, scoring="neg_log_loss").fit(*patterns)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    (chosen,), (kept,) = search.best_params_["callbacks"], clone(search.best_estimator_).callbacks
    assert kept is not chosen
    assert kept.strength == chosen.strength


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (L2SP(-1), "The 'strength' parameter of L2SP must be"),
        (L2SP("much"), "The 'strength' parameter of L2SP must be"),
        (ExponentialMovingAverage(1.0), "The 'decay' parameter of ExponentialMovingAverage must be"),
        (ExponentialMovingAverage(0), "The 'decay' parameter of ExponentialMovingAverage must be"),
        (GradualUnfreezing(3), "The 'epochs' parameter of GradualUnfreezing must be"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_wrong_parameter_is_named_before_an_image_is_read(option, message, method):
    model = FineTuneClassifier(callbacks=[option], **QUICK)
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(["no/such.png", "nor/this.png"], [0, 1])


# L2SP


def test_l2_sp_keeps_the_stages_near_their_start_and_lets_the_head_go(patterns):
    free = FineTuneClassifier(**QUICK).fit(*patterns)
    pulled = FineTuneClassifier(callbacks=[L2SP(50.0)], **QUICK).fit(*patterns)
    held = FineTuneClassifier(callbacks=[L2SP(1e9)], **QUICK).fit(*patterns)
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
    ours = FineTuneClassifier(callbacks=[L2SP(3.0)], **settings).fit(*patterns)
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

    FineTuneClassifier(callbacks=[L2SP(0.1), Watch()], weight_decay=0.5, **QUICK).fit(*patterns)
    assert set(decays) == {(False, 0.0), (True, 0.5)}


def test_l2_sp_has_nothing_to_go_back_to_from_scratch(patterns):
    settings = {"weights": None, "image_size": 24, **QUICK}
    plain = FineTuneClassifier(**settings).fit(*patterns)
    assert_same_network(plain, FineTuneClassifier(callbacks=[L2SP(1e9)], **settings).fit(*patterns))


def test_l2_sp_of_a_training_that_goes_on_draws_towards_what_it_goes_on_from(patterns):
    model = FineTuneClassifier(warm_start=True, **QUICK).fit(*patterns)
    before = {name: tensor.clone() for name, tensor in model.module_.stages.state_dict().items()}
    model.set_params(callbacks=[L2SP(1e9)]).fit(*patterns)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module_.stages.state_dict().items())


def test_l2_sp_of_strength_0_is_off_and_weight_decay_comes_back_afterwards(patterns):
    model = FineTuneClassifier(weight_decay=0.5, warm_start=True, **QUICK).fit(*patterns)
    assert_same_network(model, clone(model).set_params(callbacks=[L2SP(0)]).fit(*patterns))
    decays = [group["weight_decay"] for group in model.net_.optimizer_.param_groups]
    model.set_params(callbacks=[L2SP(0.1)]).fit(*patterns)
    assert [group["weight_decay"] for group in model.net_.optimizer_.param_groups] == decays


# ExponentialMovingAverage


@pytest.mark.slow
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
    model = FineTuneClassifier(callbacks=[ExponentialMovingAverage(decay), Average()], **settings).fit(*patterns)
    last = FineTuneClassifier(**settings).fit(*patterns)
    assert any(not torch.equal(state(last)[name], state(model)[name]) for name in found)
    for name, mean in found.items():
        assert_allclose(state(model)[name], mean, atol=1e-6)


def test_an_average_and_one_best_epoch_exclude_each_other(patterns):
    with pytest.raises(ValueError, match="callbacks must be without ExponentialMovingAverage with early_stopping=True"):
        FineTuneClassifier(callbacks=[ExponentialMovingAverage(0.9)], early_stopping=True, **QUICK).fit(*patterns)


# GradualUnfreezing


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
    model = FineTuneClassifier(callbacks=[GradualUnfreezing((1, 3)), Watch()], **settings).fit(*patterns)
    changes = {i: [not all(map(torch.equal, a, b)) for a, b in pairwise(copies)] for i, copies in seen.items()}
    assert changes == {4: [False, True, True, True], 3: [False, False, False, True]}
    assert all(p.requires_grad for p in model.module_.trained_stages.parameters())
    assert not any(p.requires_grad for p in model.module_.frozen_stages.parameters())
    assert {name.partition(".")[0] for name in moved(model)} == {"stage3", "stage4"}
    assert model.history_[0, "train_loss"] > model.history_[-1, "train_loss"]


def test_a_schedule_that_starts_with_everything_is_none(patterns):
    model = FineTuneClassifier(unfreeze_depth=2, **QUICK)
    scheduled = clone(model).set_params(callbacks=[GradualUnfreezing([0])])
    assert_same_network(model.fit(*patterns), scheduled.fit(*patterns))


@pytest.mark.parametrize("schedule", [(), (5, 0), (0, 1.5), ("a",)])
def test_impossible_schedules_are_named(patterns, schedule):
    with pytest.raises(ValueError, match="epochs of GradualUnfreezing must be whole numbers in ascending order"):
        FineTuneClassifier(callbacks=[GradualUnfreezing(schedule)], **QUICK).fit(*patterns)


def test_a_schedule_beyond_the_training_is_an_error(patterns):
    with pytest.raises(
        ValueError, match=r"epochs of GradualUnfreezing must end before the training, which has 3 epochs"
    ):
        FineTuneClassifier(callbacks=[GradualUnfreezing((5,))], max_epochs=3).fit(*patterns)
    with pytest.raises(ValueError, match="ascending"):
        FineTuneClassifier(callbacks=[GradualUnfreezing((-1, 2))], max_epochs=3).fit(*patterns)


def test_statistics_of_stages_that_are_not_unfrozen_yet_stand_still(patterns):
    X, y = patterns
    seen = []

    class Watch(skorch.callbacks.Callback):
        def on_epoch_end(self, net, **kwargs):
            stage = net.module_.trained_stages[0]
            seen.append([b.clone() for name, b in stage.named_buffers() if "running_mean" in name])

    FineTuneClassifier(
        unfreeze_depth=2, batch_norm="update", max_epochs=4, callbacks=[GradualUnfreezing((0, 2)), Watch()]
    ).fit(X, y)
    moved = [any(not torch.equal(a, b) for a, b in zip(seen[i], seen[i + 1], strict=True)) for i in range(3)]
    assert moved == [False, True, True]


def test_one_pass_has_no_schedule(patterns):
    model = FineTuneClassifier(unfreeze_depth=2, **QUICK)
    scheduled = clone(model).set_params(callbacks=[GradualUnfreezing((0, 1))])
    assert_same_network(model.partial_fit(*patterns), scheduled.partial_fit(*patterns))


def test_a_failure_during_gradual_unfreezing_leaves_everything_trainable_and_nothing_behind(patterns):
    X, y = patterns
    model = FineTuneClassifier(unfreeze_depth=2, augment=None, warm_start=True, max_epochs=5, random_state=0).fit(X, y)
    size = len(pickle.dumps(model))

    class Failing:
        calls = 0

        def __call__(self, image):
            Failing.calls += 1
            if Failing.calls > 3:
                raise RuntimeError("enough")
            return image

    model.set_params(callbacks=[GradualUnfreezing((3, 4)), L2SP(0.1), ExponentialMovingAverage(0.9)], augment=Failing())
    with pytest.raises(ValueError, match="enough"):
        model.fit(X, y)
    assert all(p.requires_grad for p in model.module_.trained_stages.parameters())
    model.set_params(callbacks=None, augment=None)
    assert len(pickle.dumps(model)) < size * 1.1


# CompileNetwork


@pytest.mark.slow
def test_a_compiled_training_gives_nearly_the_same_network_and_is_not_pickled(patterns):
    plain = FineTuneClassifier(**QUICK).fit(*patterns)
    compiled = FineTuneClassifier(callbacks=[CompileNetwork()], **QUICK).fit(*patterns)
    assert_allclose(compiled.predict_proba(patterns[0]), plain.predict_proba(patterns[0]), atol=1e-4)
    assert_same_network(compiled, pickle.loads(pickle.dumps(compiled)))
    assert_same_network(compiled, clone(compiled).fit(*patterns))


# weights in the end


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("depth", [0, 1])
def test_final_weights_that_are_not_finite_are_a_diverged_training(patterns, value, depth):
    class Spoil(skorch.callbacks.Callback):
        def on_train_end(self, net, **kwargs):
            next(net.module_.head.parameters()).data[0, 0] = value

    model = FineTuneClassifier(unfreeze_depth=depth, callbacks=[Spoil()], **QUICK)
    with pytest.raises(TrainingDivergedError, match=r"the weights must be finite numbers after training. Got NaN"):
        model.fit(*patterns)
    with pytest.raises(NotFittedError):
        model.predict(patterns[0])


def test_finite_weights_whose_outputs_are_not_are_a_diverged_training(patterns):
    class Spoil(skorch.callbacks.Callback):
        def on_train_end(self, net, **kwargs):
            next(net.module_.head.parameters()).data.fill_(3e38)

    with pytest.raises(TrainingDivergedError, match="the outputs of the network must be finite numbers after training"):
        FineTuneClassifier(callbacks=[Spoil()], **QUICK).fit(*patterns)


def test_callbacks_in_pickles_of_earlier_versions_are_found_where_they_were():
    from sktl.training import _net

    assert {"EndWhenLearnt", "LastBatch", "Schedule", "TellEpochs", "_constant"} <= vars(_net).keys()
