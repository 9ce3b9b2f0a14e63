"""The skorch net that trains the part above the split point, and its training loop."""

from copy import deepcopy
from functools import partial

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split

from sktl.backbones.torch_defaults import torch_defaults
from sktl.exceptions import TrainingDivergedError
from sktl.inference.forward_passes import current_counter
from sktl.inference.progress import tell
from sktl.training._batches import Batches
from sktl.training._schedule import WarmUpCosine, n_batches, parameter_groups
from sktl.training.callbacks import GradualUnfreezing, TrainingOption, unnamed

# Greatest norm of the gradient of one step.
_CLIP = 1.0


class FineTuneNet(NeuralNet):
    """A skorch net on activations at the split point, with weighted losses and a learning rate for each stage."""

    compiled_ = None  # the part above the split point, while a training has it compiled

    def __init__(self, module, criterion, *, settings, placement, **kwargs):
        self.settings = settings
        self.placement = placement
        super().__init__(module, criterion, **kwargs)

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Return the parameter groups, where skorch takes patterns of names."""
        return (self._groups(),), {"lr": self.settings.learning_rate}

    @torch_defaults()
    def __setstate__(self, state):
        """Read the tensors of a pickle as ones that can be trained."""
        super().__setstate__(state)

    def learning_rates(self):
        """Return the rate of each group of the optimizer, before any schedule."""
        return [group["lr"] for group in self._groups()]

    def _groups(self):
        return parameter_groups(self.module_, self.settings)

    def refresh(self, settings, placement, batch_size, criterion):
        """Update what may change from one training to the next, the device included."""
        self.settings, self.batch_size = settings, batch_size
        self.criterion_ = criterion
        self.module_.to(placement.device)
        if placement != self.placement:
            self.placement, self.device = placement, str(placement.device)
            # The moments would have to follow their parameters; a few steps make new ones.
            self.initialize_optimizer()

    def on_epoch_begin(self, net, **kwargs):
        """Tell how far the training is."""
        super().on_epoch_begin(net, **kwargs)
        tell("epoch", len(self.history), self.max_epochs)

    def infer(self, x, **fit_params):
        """Run the part above the split point."""
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
            share, temperature = self.settings.distillation, self.settings.temperature
            from_teacher = soft_cross_entropy(y_pred / temperature, X["teacher"].to(self.device)) * temperature**2
            losses = (1 - share) * losses + share * from_teacher
        return (losses * X["sample_weight"].to(self.device)).mean()


class EndWhenLearnt(Callback):
    """End a training whose loss has vanished.

    AdamW would go on with steps of full size, after noise and rows of next to no weight. It raises KeyboardInterrupt,
    as skorch's EarlyStopping does.
    """

    def __init__(self, loss):
        self.loss = loss

    def on_train_begin(self, net, **kwargs):
        """Forget how a former training ended."""
        self.has_ended_ = False

    def on_epoch_end(self, net, **kwargs):
        """Look at the loss of the epoch."""
        if net.history[-1, "train_loss"] < self.loss:
            self.has_ended_ = True
            raise KeyboardInterrupt


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


def soft_cross_entropy(logits, probabilities):
    """Return the cross-entropy of each row; its gradient is that of the divergence."""
    return -(probabilities * logits.log_softmax(1)).sum(1)


def build_net(network, criterion, settings, placement, *, batch_size, verbose, **criterion_options):
    """Wrap a network into a skorch net that is ready to train."""
    quiet = {} if verbose else {"callbacks__print_log": None}
    net = FineTuneNet(
        lambda: network,
        criterion,
        criterion__reduction="none",
        **{f"criterion__{name}": value for name, value in criterion_options.items()},
        settings=settings,
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
    """Return the loss of a net with its present weights."""
    losses, sizes = [], []
    for inputs, targets in Batches(data, net.batch_size):
        losses.append(net.validation_step((inputs, targets))["loss"].item())
        sizes.append(len(targets))
    return float(np.average(losses, weights=sizes))


def train(
    net, data, validation, *, epochs, seed, schedule, stop_after=None, patience=None, learnt=None, callbacks=None
):
    """Train a net on for a number of epochs, or until the loss of one is below `learnt`."""
    net.max_epochs = epochs  # how long the training was planned to be, for callbacks
    net.iterator_train = partial(
        Batches,
        generator=np.random.default_rng(seed),
        first_view=1 + len(net.history),
        mixup=net.settings.mixup,
        cutmix=net.settings.cutmix,
    )
    net.train_split = None if validation is None else predefined_split(validation)
    n_steps = epochs * n_batches(len(data), net.batch_size)
    users = deepcopy(list(callbacks or []))
    if schedule:
        net.initialize_optimizer()
        for group in net.optimizer_.param_groups:
            group["initial_lr"] = group["lr"]  # a scheduler of the user's asks for it when training goes on
    else:
        users = [callback for callback in users if not isinstance(unnamed(callback), GradualUnfreezing)]
    own = _own_callbacks(users, n_steps if schedule else None, validation, patience)
    last = [] if learnt is None else [("sktl_learnt", EndWhenLearnt(learnt))]  # the user's see its last epoch
    net.callbacks = [*own, *users, *last]
    net.initialize_callbacks()
    try:
        _run(net, data, epochs if stop_after is None else stop_after)
    finally:
        _forget(net, optimizer=schedule)
    if not np.isfinite(net.history[-1, "train_loss"]):
        raise TrainingDivergedError(
            f"the loss must stay a finite number. Got {net.history[-1, 'train_loss']} in epoch {len(net.history)} "
            f"instead. Lower learning_rate: it is {net.settings.learning_rate:g}."
        )


def _own_callbacks(users, n_steps, validation, patience):
    own = [("sktl_clip", GradientNormClipping(_CLIP))]
    if not any(isinstance(unnamed(callback), LRScheduler) for callback in users):
        own.append(("sktl_schedule", Schedule(_constant if n_steps is None else WarmUpCosine(n_steps))))
    if validation is not None:
        own.append(("sktl_early_stopping", EarlyStopping(patience=patience, threshold=0, load_best=True)))
    return own


def _constant(step):
    return 1.0


def _run(net, data, epochs):
    net.notify("on_train_begin", X=data, y=None)
    try:
        net.fit_loop(data, epochs=epochs)
    except KeyboardInterrupt:
        # skorch's EarlyStopping ends a training by KeyboardInterrupt, as a user does with Ctrl-C. Only its own count of
        # epochs tells the two apart: the first is an end like any other, the second must reach the caller.
        if not any(_has_stopped(callback) for _, callback in net.callbacks_):
            raise
    net.notify("on_train_end", X=data, y=None)


def _has_stopped(callback):
    if isinstance(callback, EndWhenLearnt):
        return callback.has_ended_
    return isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience


def _forget(net, *, optimizer):
    """Drop what would be pickled with the net: training data, second copies of the weights, used-up moments."""
    net.train_split = None
    net.module_.trained_stages.requires_grad_(True)  # also when gradual unfreezing was interrupted
    if optimizer:
        net.optimizer_.state.clear()
    for _, callback in net.callbacks_:
        if isinstance(callback, EarlyStopping):
            callback.best_model_weights_ = None
        elif isinstance(callback, TrainingOption):
            callback._clear(net)
