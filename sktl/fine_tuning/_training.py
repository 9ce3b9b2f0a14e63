"""The skorch net that trains the part above the cut; the only file that imports skorch."""

from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split

from sktl.exceptions import TrainingDivergedError
from sktl.fine_tuning._schedule import WarmUpCosine, n_batches, parameter_groups

# Greatest norm of the gradient of one step.
_CLIP = 1.0


class TrainingData(torch.utils.data.Dataset):
    """Activations, targets and weights of some of the training images.

    Parameters
    ----------
    activations : Activations
        Of all training images.
    targets : torch.Tensor of shape (n_images, ...)
        Of all training images.
    weights : torch.Tensor of shape (n_images,)
        Of all training images.
    positions : ndarray of int
        Which of them belong here.
    """

    def __init__(self, activations, targets, weights, positions):
        self.activations = activations
        self.targets = targets
        self.weights = weights
        self.positions = positions

    def __len__(self):
        return len(self.positions)

    def batch(self, selected):
        """Return inputs and targets for an array of indices into `positions`."""
        positions = self.positions[selected]
        inputs = {"activations": self.activations[positions], "sample_weight": self.weights[positions]}
        return inputs, self.targets[positions]


class Batches:
    """Whole batches of nearly equal size, shuffled anew in each pass when a generator is given.

    A DataLoader would collate image by image, and draws from torch's global generator even without shuffling.

    Parameters
    ----------
    dataset : TrainingData
        What to iterate over.
    batch_size : int
        Greatest size of a batch.
    generator : numpy.random.Generator or None, default=None
        Source of the order; None keeps the order.
    """

    def __init__(self, dataset, batch_size, generator=None):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self):
        return n_batches(len(self.dataset), self.batch_size)

    def __iter__(self):
        order = np.arange(len(self.dataset))
        if self.generator is not None:
            self.generator.shuffle(order)
        for selected in np.array_split(order, len(self)):
            yield self.dataset.batch(selected)


@dataclass(frozen=True)
class Recipe:
    """What the optimizer is told.

    Parameters
    ----------
    learning_rate : float
        Rate of the top stage.
    layer_decay : float
        Factor from each stage to the one below.
    weight_decay : float
        Decay of matrices and kernels.
    from_scratch : bool
        Whether nothing in the network is pretrained.
    """

    learning_rate: float
    layer_decay: float
    weight_decay: float
    from_scratch: bool


class FineTuneNet(NeuralNet):
    """A skorch net that is fed activations at the cut, weighs its losses, and learns at a rate for each stage.

    Parameters
    ----------
    module : callable
        Returns the FineTuneNetwork.
    criterion : type
        Loss with ``reduction="none"``.
    recipe : Recipe
        What the optimizer is told.
    placement : Placement
        Device and precision.
    **kwargs
        See `skorch.NeuralNet`.
    """

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
        recipe = self.recipe
        return parameter_groups(
            self.module_, recipe.learning_rate, recipe.layer_decay, recipe.weight_decay, recipe.from_scratch
        )

    def refresh(self, recipe, placement, batch_size):
        """Take over parameters that may change from one training to the next, the device among them."""
        self.recipe, self.batch_size = recipe, batch_size
        if placement != self.placement:
            self.placement, self.device = placement, str(placement.device)
            self.module_.to(placement.device)
            # The moments would have to follow their parameters; a few steps make new ones.
            self.initialize_optimizer()

    def infer(self, x, **fit_params):
        """Run the part above the cut."""
        activations = x["activations"].to(self.device, non_blocking=True)
        with self.placement.autocast():
            if self.module_.n_frozen == 0:
                activations = self.module_.below_cut(activations)
            return self.module_.above_cut(activations).float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean loss; the weights have mean one over the training set."""
        losses = self.criterion_(y_pred, y_true.to(self.device))
        losses = losses.reshape(len(losses), -1).mean(1)
        return (losses * X["sample_weight"].to(self.device)).mean()


class Schedule(Callback):
    """Set the learning rate of each group at each step: its own rate times a factor.

    skorch's own LRScheduler counts the epochs of former trainings as steps already made.

    Parameters
    ----------
    factor : callable
        From the number of a step, counted from 0, to a factor.
    """

    def __init__(self, factor):
        self.factor = factor

    def on_train_begin(self, net, **kwargs):
        """Start to count."""
        self.step_ = 0

    def on_batch_begin(self, net, training=False, **kwargs):
        """Set the rates of this step."""
        if training:
            for group, rate in zip(net.optimizer_.param_groups, net.learning_rates(), strict=True):
                group["lr"] = rate * self.factor(self.step_)
            self.step_ += 1


def build_net(network, criterion, recipe, placement, *, batch_size, verbose):
    """Wrap a network into a skorch net that is ready to train.

    Parameters
    ----------
    network : FineTuneNetwork
        Trained in place.
    criterion : type
        Loss class that takes ``reduction``.
    recipe : Recipe
        What the optimizer is told.
    placement : Placement
        Device and precision.
    batch_size : int
        Images per step.
    verbose : int
        A line per epoch when positive.

    Returns
    -------
    FineTuneNet
        The initialised net.
    """
    quiet = {} if verbose else {"callbacks__print_log": None}
    net = FineTuneNet(
        lambda: network,
        criterion,
        criterion__reduction="none",
        recipe=recipe,
        placement=placement,
        optimizer=torch.optim.AdamW,
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


def train(net, data, validation, *, epochs, seed, schedule, patience=None, callbacks=None):
    """Train for a number of epochs, from where the net stands.

    Parameters
    ----------
    net : FineTuneNet
        Trained in place.
    data : TrainingData
        What to learn from.
    validation : TrainingData or None
        What early stopping watches.
    epochs : int
        Passes over the data, at most.
    seed : int
        Order of the images.
    schedule : bool
        Warm-up and cosine with a new optimizer; otherwise constant rates with the optimizer as it is.
    patience : int or None, default=None
        Epochs without improvement before early stopping, which restores the best weights.
    callbacks : list or None, default=None
        The user's own skorch callbacks; an LRScheduler among them takes the place of the schedule.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts; skorch's own `fit` would return a half-trained net instead.
    TrainingDivergedError
        If the loss is no longer a finite number.
    """
    net.iterator_train = partial(Batches, generator=np.random.default_rng(seed))
    net.train_split = None if validation is None else predefined_split(validation)
    factor = WarmUpCosine(epochs * n_batches(len(data), net.batch_size)) if schedule else _constant
    own = [("sktl_clip", GradientNormClipping(_CLIP))]
    users = deepcopy(list(callbacks or []))
    if not any(isinstance(callback, LRScheduler) for _, callback in map(_with_name, users)):
        own.append(("sktl_schedule", Schedule(factor)))
    if validation is not None:
        own.append(("sktl_early_stopping", EarlyStopping(patience=patience, load_best=True)))
    if schedule:
        net.initialize_optimizer()
    net.callbacks = [*own, *users]
    net.initialize_callbacks()
    try:
        _run(net, data, epochs)
    finally:
        _forget(net, optimizer=schedule)
    if not np.isfinite(net.history[-1, "train_loss"]):
        raise TrainingDivergedError(
            f"the loss must stay a finite number. Got {net.history[-1, 'train_loss']} in epoch {len(net.history)} "
            f"instead. Lower learning_rate: it is {net.recipe.learning_rate:g}."
        )


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
    net.train_split = None
    if optimizer:
        net.optimizer_.state.clear()
    for _, callback in net.callbacks_:
        if isinstance(callback, EarlyStopping):
            callback.best_model_weights_ = None
