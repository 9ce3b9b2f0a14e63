"""The skorch net that trains the part above the split point, and its training loop."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochScoring, GradientNormClipping, LRScheduler, PrintLog
from skorch.helper import predefined_split

from sktl.backbones.finiteness import names_of_nonfinite
from sktl.backbones.torch_defaults import torch_defaults
from sktl.exceptions import TrainingDivergedError
from sktl.inference.forward_passes import current_counter
from sktl.inference.progress import tell
from sktl.training._batches import Batches, PredictionData
from sktl.training._loop_callbacks import EndWhenLearnt, LastBatch, Schedule, TellEpochs
from sktl.training._network import trained_tensors
from sktl.training._schedule import WarmUpCosine, n_batches, parameter_groups
from sktl.training._users_callbacks import named, that_can_be_pickled, unnamed, without_validation
from sktl.training.callbacks import GradualUnfreezing, TrainingOption

# Greatest norm of the gradient of one step.
_CLIP = 1.0


def _is_classifier(net):
    return net.coding is not None and net.coding.is_classifier


class FineTuneNet(NeuralNet):
    """A skorch net on activations at the split point, with weighted losses and a learning rate for each stage.

    To callbacks it is a classifier or regressor, whose predictions are labels, or numbers in their own units: of the
    data sets of the training, of the inputs of a batch, and while a training goes on of images.
    """

    coding = None  # nets in pickles of earlier versions have none until they are trained on
    compiled_ = None  # the part above the split point, while a training has it compiled
    read_ = None  # what returns activations of images, while a training goes on
    told_ = None  # what is told of each epoch then, and may ask for the end

    def __init__(self, module, criterion, *, settings, placement, coding, **kwargs):
        self.settings = settings
        self.placement = placement
        self.coding = coding
        super().__init__(module, criterion, **kwargs)

    def __sklearn_tags__(self):
        """Say which of scikit-learn's metrics fit."""
        tags = super().__sklearn_tags__()
        if _is_classifier(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags

    @property
    def classes_(self):
        """The labels."""
        return self.coding.classes

    def predict(self, X):
        """Return labels, or numbers in their own units."""
        return self.coding.decode(self._outputs(X))

    @available_if(_is_classifier)
    def predict_proba(self, X):
        """Return the probability of each label."""
        return self.coding.probabilities(self._outputs(X))

    def score(self, X, y):
        """Return the accuracy, or R² where that is defined."""
        if _is_classifier(self):
            return self.coding.accuracy(y, self.predict(X))
        return r2_score(y, self.predict(X)) if len(y) > 1 else np.nan

    def _outputs(self, X):
        return torch.cat([output.detach().cpu() for output in self.forward_iter(X)]).double().numpy()

    def get_dataset(self, X, y=None):
        """Return something that gives batches, for whatever the net predicts."""
        if isinstance(X, Mapping) and "activations" in X:  # the inputs of a batch
            return PredictionData(X["activations"])
        if isinstance(X, torch.utils.data.Dataset):
            return X
        if self.read_ is None:
            raise ValueError(
                "X must be a data set or a batch of the training once that is over. "
                f"Got {type(X).__name__} instead. The estimator itself predicts images."
            )
        return PredictionData(self.read_(X))

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Return the parameter groups, where skorch takes patterns of names."""
        return (self._groups(),), {"lr": self.settings.learning_rate}

    @torch_defaults()
    def __setstate__(self, state):
        """Read the tensors of a pickle as ones that can be trained."""
        super().__setstate__(state)

    def __getstate__(self):
        """Pickle no data, also while a training goes on, and no callback of a user's that cannot be."""
        state = {**super().__getstate__(), "train_split": None}
        for name in ("read_", "told_"):
            state.pop(name, None)
        return {**state, **{name: that_can_be_pickled(state[name]) for name in ("callbacks", "callbacks_")}}

    def learning_rates(self):
        """Return the rate of each group of the optimizer, before any schedule."""
        return [group["lr"] for group in self._groups()]

    def _groups(self):
        return parameter_groups(self.module_, self.settings)

    def refresh(self, settings, placement, batch_size, criterion, coding):
        """Update what may change from one training to the next, the device included."""
        self.settings, self.batch_size, self.coding = settings, batch_size, coding
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
        return self._forward(x)

    def is_finite_on(self, inputs):
        """Whether the outputs for the inputs of a batch are finite numbers; no pass of a training, so not counted."""
        self.module_.eval()
        with torch.no_grad():
            return bool(torch.isfinite(self._forward(inputs)).all())

    def _forward(self, x):
        activations = x["activations"].to(self.device, non_blocking=True)
        with self.placement.autocast():
            if self.module_.n_frozen == 0:
                activations = self.module_.below_cut(activations)
            return (self.compiled_ or self.module_.above_cut)(activations).float()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the weighted mean loss; the weights have mean one over the training set."""
        losses = self.criterion_(y_pred, X["targets"].to(self.device))
        losses = losses.reshape(len(losses), -1).mean(1)
        if "teacher" in X:
            share, temperature = self.settings.distillation, self.settings.temperature
            from_teacher = soft_cross_entropy(y_pred / temperature, X["teacher"].to(self.device)) * temperature**2
            losses = (1 - share) * losses + share * from_teacher
        return (losses * X["sample_weight"].to(self.device)).mean()


def soft_cross_entropy(logits, probabilities):
    """Return the cross-entropy of each row; its gradient is that of the divergence."""
    return -(probabilities * logits.log_softmax(1)).sum(1)


def build_net(network, coding, settings, placement, *, batch_size, **criterion_options):
    """Wrap a network into a skorch net that is ready to train."""
    net = FineTuneNet(
        lambda: network,
        coding.criterion,
        criterion__reduction="none",
        **{f"criterion__{name}": value for name, value in criterion_options.items()},
        settings=settings,
        placement=placement,
        coding=coding,
        optimizer=torch.optim.AdamW,
        optimizer__fused=placement.device.type in ("cpu", "cuda"),  # one pass over the weights instead of a dozen
        batch_size=batch_size,
        device=str(placement.device),
        train_split=None,
        iterator_train=Batches,
        iterator_valid=Batches,
        verbose=0,
    ).initialize()
    # The network is module_ from now on; kept here as well, it would be pickled twice.
    net.module = type(network)
    return net


def validation_loss(net, data):
    """Return the loss of a net with its present weights."""
    losses, sizes = [], []
    for inputs, labels in Batches(data, net.batch_size):
        losses.append(net.validation_step((inputs, labels))["loss"].item())
        sizes.append(len(labels))
    return float(np.average(losses, weights=sizes))


def train(
    net,
    data,
    validation,
    *,
    epochs,
    seed,
    schedule,
    told,
    read,
    stop_after=None,
    patience=None,
    learnt=None,
    callbacks=None,
    verbose=0,
):
    """Train a net on for a number of epochs, or until the loss of one is below `learnt`.

    A `patience` of None is no early stopping. For `told` and `read` see FineTuneNet.
    """
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
    users = list(callbacks or [])
    if schedule:
        net.initialize_optimizer()
        for group in net.optimizer_.param_groups:
            group["initial_lr"] = group["lr"]  # a scheduler of the user's asks for it when training goes on
    else:
        users = [callback for callback in users if not isinstance(unnamed(callback), GradualUnfreezing)]
    own = _own_callbacks(users, n_steps if schedule else None, patience)
    last_batch = LastBatch()
    first = [("sktl_epochs", TellEpochs()), ("sktl_last_batch", last_batch)]
    last = ("sktl_learnt", EndWhenLearnt(learnt))  # the user's see its last epoch
    # By their names, without which skorch moves those of one class together.
    net.callbacks = [*first, *own, *_lines(net, users, validation, verbose), *named(users).items(), last]
    net.initialize_callbacks()
    net.read_, net.told_ = read, told
    try:
        _run(net, data, epochs if stop_after is None else stop_after)
    finally:
        _forget(net, optimizer=schedule)
        inputs, last_batch.inputs_ = last_batch.inputs_, None
    _check_finite(net, inputs)


def _own_callbacks(users, n_steps, patience):
    own = [("sktl_clip", GradientNormClipping(_CLIP))]
    if not any(isinstance(unnamed(callback), LRScheduler) for callback in users):
        own.append(("sktl_schedule", Schedule(_constant if n_steps is None else WarmUpCosine(n_steps))))
    if patience is not None:
        own.append(("sktl_early_stopping", EarlyStopping(patience=patience, threshold=0, load_best=True)))
    return own


def _constant(step):
    return 1.0


def _lines(net, users, validation, verbose):
    """Return the metrics that a line per epoch shows; print lines when verbose, or where the user has added them."""
    has_own = any(isinstance(unnamed(callback), PrintLog) for callback in users)
    net.verbose = int(verbose) or int(has_own)
    net.callbacks__print_log = PrintLog() if verbose and not has_own else None
    if not verbose:
        return []
    metric = "accuracy" if _is_classifier(net) else "r2"
    parts = {"train": True} if validation is None else {"train": True, "valid": False}
    return [
        (f"{part}_{metric}", EpochScoring(None, lower_is_better=False, on_train=on_train, name=f"{part}_{metric}"))
        for part, on_train in parts.items()
    ]


def _run(net, data, epochs):
    net.notify("on_train_begin", X=data, y=None)
    try:
        net.fit_loop(data, epochs=epochs)
    except KeyboardInterrupt:
        # skorch's EarlyStopping ends a training by KeyboardInterrupt, as a user does with Ctrl-C. Only its own count of
        # epochs tells the two apart: the first is an end like any other, the second must reach the caller.
        if not any(_has_stopped(callback) for _, callback in net.callbacks_):
            raise
    except KeyError as error:
        if net.train_split is None and "valid" in str(error):  # how skorch's callbacks say that there is none
            raise without_validation(f"one that found none ({error.args[0]})") from error
        raise
    net.notify("on_train_end", X=data, y=None)


def _has_stopped(callback):
    if isinstance(callback, EarlyStopping):
        return callback.misses_ == callback.patience
    return isinstance(callback, EndWhenLearnt) and callback.has_ended_


def _forget(net, *, optimizer):
    """Drop what would be pickled with the net: training data, second copies of the weights, used-up moments."""
    net.train_split = net.read_ = net.told_ = None
    net.module_.trained_stages.requires_grad_(True)  # also when gradual unfreezing was interrupted
    if optimizer:
        net.optimizer_.state.clear()
    for _, callback in net.callbacks_:
        if isinstance(callback, EarlyStopping):
            callback.best_model_weights_ = None
        elif isinstance(callback, TrainingOption):
            callback._clear(net)


def _check_finite(net, inputs):
    loss, n_epochs = net.history[-1, "train_loss"], len(net.history)
    if not np.isfinite(loss):
        found = f"the loss must stay a finite number. Got {loss} in epoch {n_epochs}"
    # The loss of a step is that of the weights before it, and finite weights may be too large to compute with.
    elif broken := names_of_nonfinite(trained_tensors(net.module_)):
        found = (
            "the weights must be finite numbers after training. "
            f"Got NaN or infinity in {len(broken)} tensors ({broken[0]!r})"
        )
    elif inputs is not None and not net.is_finite_on(inputs):
        found = (
            "the outputs of the network must be finite numbers after training. Got NaN or infinity for training images"
        )
    else:
        return
    raise TrainingDivergedError(f"{found} instead. Lower learning_rate: it is {net.settings.learning_rate:g}.")
