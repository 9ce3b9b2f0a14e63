"""The skorch net that trains the part above the cut; the only file that imports skorch."""

from copy import deepcopy
from functools import partial

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split

from sktl.exceptions import TrainingDivergedError
from sktl.inference.forward_passes import current_counter
from sktl.training._batches import Batches
from sktl.training._network import trained_tensors
from sktl.training._schedule import WarmUpCosine, n_batches, parameter_groups

# Greatest norm of the gradient of one step.
_CLIP = 1.0


class FineTuneNet(NeuralNet):
    """A skorch net that is fed activations at the cut, weighs its losses, and learns at a rate for each stage."""

    compiled_ = None  # the part above the cut, while a training has it compiled

    def __init__(self, module, criterion, *, recipe, placement, **kwargs):
        self.recipe = recipe
        self.placement = placement
        super().__init__(module, criterion, **kwargs)

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Return the parameter groups in place of patterns of names."""
        return (self._groups(),), {"lr": self.recipe.learning_rate}

    def learning_rates(self):
        """Return the rate of each group of the optimizer, before any schedule."""
        return [group["lr"] for group in self._groups()]

    def _groups(self):
        return parameter_groups(self.module_, self.recipe)

    def refresh(self, recipe, placement, batch_size, criterion):
        """Take over what may change from one training to the next, the device among it."""
        self.recipe, self.batch_size = recipe, batch_size
        self.criterion_ = criterion
        self.module_.to(placement.device)
        if placement != self.placement:
            self.placement, self.device = placement, str(placement.device)
            # The moments would have to follow their parameters; a few steps make new ones.
            self.initialize_optimizer()

    def infer(self, x, **fit_params):
        """Run the part above the cut."""
        current_counter().add(len(x["activations"]))
        activations = x["activations"].to(self.device, non_blocking=True)
        with self.placement.autocast():
            if self.module_.n_frozen == 0:
                activations = self.module_.below_cut(activations)
            return (self.compiled_ or self.module_.above_cut)(activations).float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean loss; the weights have mean one over the training set."""
        losses = self.criterion_(y_pred, y_true.to(self.device))
        losses = losses.reshape(len(losses), -1).mean(1)
        if "teacher" in X:
            share, temperature = self.recipe.distillation, self.recipe.temperature
            from_teacher = soft_cross_entropy(y_pred / temperature, X["teacher"].to(self.device)) * temperature**2
            losses = (1 - share) * losses + share * from_teacher
        return (losses * X["sample_weight"].to(self.device)).mean()


class Schedule(Callback):
    """Set the learning rate of each group at each step: its own rate times a factor.

    skorch's own LRScheduler counts the epochs of former trainings as steps already made.
    """

    def __init__(self, factor):
        self.factor = factor

    def on_train_begin(self, net, **kwargs):
        """Start to count."""
        self.step_, self._rates = 0, net.learning_rates()

    def on_batch_begin(self, net, training=False, **kwargs):
        """Set the rates of this step."""
        if training:
            for group, rate in zip(net.optimizer_.param_groups, self._rates, strict=True):
                group["lr"] = rate * self.factor(self.step_)
            self.step_ += 1


class AverageWeights(Callback):
    """Keep a moving average of everything that is trained, and leave it in the network at the end."""

    def __init__(self, decay):
        self.decay = decay

    def on_train_begin(self, net, **kwargs):
        """Start from the weights as they are."""
        self._step = 0
        self._average = {name: tensor.clone() for name, tensor in trained_tensors(net.module_).items()}

    def on_batch_end(self, net, training=False, **kwargs):
        """Take the weights of this step in."""
        if training:
            self._step += 1
            decay = min(self.decay, (1 + self._step) / (10 + self._step))
            for name, tensor in trained_tensors(net.module_).items():
                self._average[name].lerp_(tensor, 1 - decay)

    def on_train_end(self, net, **kwargs):
        """Put the average into the network."""
        for name, tensor in trained_tensors(net.module_).items():
            tensor.copy_(self._average[name])

    def forget(self):
        """Let go of the copies."""
        self._average = {}


class TowardsStart(Callback):
    """Draw the trained stages towards the weights that they had at the start: weight decay with another goal."""

    def __init__(self, strength):
        self.strength = strength

    def on_train_begin(self, net, **kwargs):
        """Keep the weights as they are."""
        self._start = {p: p.detach().clone() for p in net.module_.trained_stages.parameters()}

    def on_batch_end(self, net, training=False, **kwargs):
        """Go a little way back."""
        if training:
            with torch.no_grad():
                for group in net.optimizer_.param_groups:
                    for parameter in group["params"]:
                        if parameter in self._start and parameter.grad is not None:
                            parameter.lerp_(self._start[parameter], min(group["lr"] * self.strength, 1.0))

    def forget(self):
        """Let go of the copies."""
        self._start = {}


class GradualUnfreezing(Callback):
    """Let stages take part in the training one after the other, from the top downwards."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_begin(self, net, **kwargs):
        """Start to count."""
        self.epoch_ = 0

    def on_epoch_begin(self, net, **kwargs):
        """Switch the stages on whose time has come."""
        net.module_.train(False)  # the next step switches to training, and the modes of the stages with it
        for i, stage in enumerate(reversed(net.module_.trained_stages)):
            stage.requires_grad_(self.epoch_ >= self.epochs[min(i, len(self.epochs) - 1)])
        self.epoch_ += 1


def soft_cross_entropy(logits, probabilities):
    """Return the cross-entropy of each row; its gradient is that of the divergence."""
    return -(probabilities * logits.log_softmax(1)).sum(1)


def build_net(network, criterion, recipe, placement, *, batch_size, verbose, **criterion_options):
    """Wrap a network into a skorch net that is ready to train."""
    quiet = {} if verbose else {"callbacks__print_log": None}
    net = FineTuneNet(
        lambda: network,
        criterion,
        criterion__reduction="none",
        **{f"criterion__{name}": value for name, value in criterion_options.items()},
        recipe=recipe,
        placement=placement,
        optimizer=torch.optim.AdamW,
        optimizer__fused=placement.device.type in ("cpu", "cuda"),  # one pass over the weights instead of a dozen
        batch_size=batch_size,
        device=str(placement.device),
        train_split=None,
        iterator_train=Batches,
        iterator_valid=Batches,
        verbose=int(verbose),
        **quiet,
    ).initialize()
    # The network is module_ from now on; kept here as well, it would be pickled twice.
    net.module = type(network)
    return net


def validation_loss(net, data):
    """Return the loss of a net as it stands."""
    losses, sizes = [], []
    for inputs, targets in Batches(data, net.batch_size):
        losses.append(net.validation_step((inputs, targets))["loss"].item())
        sizes.append(len(targets))
    return float(np.average(losses, weights=sizes))


def train(net, data, validation, *, epochs, seed, schedule, stop_after=None, patience=None, callbacks=None):
    """Train for a number of epochs, from where the net stands."""
    recipe = net.recipe
    if schedule and recipe.unfreeze_schedule is not None and recipe.unfreeze_schedule[-1] >= epochs:
        raise ValueError(
            f"unfreeze_schedule must end before the training, which has {epochs} epochs. "
            f"Got {recipe.unfreeze_schedule} instead. Raise max_epochs, or lower unfreeze_depth."
        )
    net.iterator_train = partial(
        Batches,
        generator=np.random.default_rng(seed),
        first_view=1 + len(net.history),
        mixup=recipe.mixup,
        cutmix=recipe.cutmix,
    )
    net.train_split = None if validation is None else predefined_split(validation)
    n_steps = epochs * n_batches(len(data), net.batch_size)
    users = deepcopy(list(callbacks or []))
    if schedule:
        net.initialize_optimizer()
        for group in net.optimizer_.param_groups:
            group["initial_lr"] = group["lr"]  # a scheduler of the user's asks for it when training goes on
    net.callbacks = [*_own_callbacks(recipe, users, n_steps if schedule else None, validation, patience), *users]
    net.initialize_callbacks()
    if recipe.compile:
        net.compiled_ = torch.compile(net.module_.above_cut)
    try:
        _run(net, data, epochs if stop_after is None else stop_after)
    finally:
        _forget(net, optimizer=schedule)
    if not np.isfinite(net.history[-1, "train_loss"]):
        raise TrainingDivergedError(
            f"the loss must stay a finite number. Got {net.history[-1, 'train_loss']} in epoch {len(net.history)} "
            f"instead. Lower learning_rate: it is {net.recipe.learning_rate:g}."
        )


def _own_callbacks(recipe, users, n_steps, validation, patience):
    own = [("sktl_clip", GradientNormClipping(_CLIP))]
    if not any(isinstance(callback, LRScheduler) for _, callback in map(_with_name, users)):
        own.append(("sktl_schedule", Schedule(_constant if n_steps is None else WarmUpCosine(n_steps))))
    if recipe.unfreeze_schedule is not None and n_steps is not None:
        own.append(("sktl_unfreezing", GradualUnfreezing(recipe.unfreeze_schedule)))
    if recipe.l2_sp:
        own.append(("sktl_l2_sp", TowardsStart(recipe.l2_sp)))
    if recipe.ema_decay is not None:
        own.append(("sktl_average", AverageWeights(recipe.ema_decay)))
    if validation is not None:
        own.append(("sktl_early_stopping", EarlyStopping(patience=patience, threshold=0, load_best=True)))
    return own


def _constant(step):
    return 1.0


def _with_name(callback):
    return callback if isinstance(callback, tuple) else (None, callback)


def _run(net, data, epochs):
    net.notify("on_train_begin", X=data, y=None)
    try:
        net.fit_loop(data, epochs=epochs)
    except KeyboardInterrupt:
        # skorch's EarlyStopping stops in this way too.
        if not any(_has_stopped(callback) for _, callback in net.callbacks_):
            raise
    net.notify("on_train_end", X=data, y=None)


def _has_stopped(callback):
    return isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience


def _forget(net, *, optimizer):
    """Let go of what would be pickled with the net: training data, second copies of the weights, used-up moments."""
    net.train_split = net.compiled_ = None
    net.module_.trained_stages.requires_grad_(True)  # also when gradual unfreezing was interrupted
    if optimizer:
        net.optimizer_.state.clear()
    for _, callback in net.callbacks_:
        if isinstance(callback, EarlyStopping):
            callback.best_model_weights_ = None
        elif isinstance(callback, TowardsStart | AverageWeights):
            callback.forget()
