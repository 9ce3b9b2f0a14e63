"""Training options as skorch callbacks: L2-SP, moving average of weights, gradual unfreezing, compilation."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback

from sktl._pages import PageMixin
from sktl._validation import Interval, validate_parameter_constraints
from sktl.training._network import trained_tensors
from sktl.training._users_callbacks import unnamed

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["CompileNetwork", "ExponentialMovingAverage", "GradualUnfreezing", "L2SP"]


class TrainingOption(PageMixin, BaseEstimator, Callback, metaclass=ABCMeta):
    """Abstract: a callback that is checked before images are read, and holds nothing once the training is over."""

    _parameter_constraints: dict = {}

    def _check(self, early_stopping):
        """Raise ValueError if a parameter is wrong."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), caller_name=type(self).__name__
        )

    @abstractmethod
    def _clear(self, net):
        """Undo everything that was meant for one training, also when the training failed."""


def training_options(callbacks):
    """Return the callbacks of this file among those of a user."""
    return [callback for callback in map(unnamed, callbacks or ()) if isinstance(callback, TrainingOption)]


class L2SP(TrainingOption):
    """Draw the trained stages towards the weights that they had at the start: L2-SP regularization.

    Pretrained stages decay towards their pretrained weights rather than towards zero [1]_, decoupled from the gradient
    like `weight_decay`, whose place it takes there; the head keeps its weight decay. When a training goes on, with
    `warm_start` or `partial_fit`, the start is what it goes on from. From scratch it does nothing.

    Parameters
    ----------
    strength : float
        Share of the way back, per step and in units of the learning rate. 0.01 to 1 may help with few images much like
        those of the source; 0 is off.

    See Also
    --------
    ExponentialMovingAverage : Goes behind it in the list of callbacks.

    References
    ----------
    .. [1] Li, Grandvalet & Davoine (2018), "Explicit inductive bias for transfer learning with convolutional networks",
       arXiv:1802.01483.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> from sktl.training.callbacks import L2SP
    >>> digits = load_digits()
    >>> model = FineTuneClassifier(callbacks=[L2SP(0.1)], max_epochs=2, random_state=0)
    >>> model.fit(digits.images[:50], digits.target[:50]).predict(digits.images[:2])
    array([0, 1])
    """

    _parameter_constraints = {"strength": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Copy the weights, and switch weight decay off."""
        self.start_, self.weight_decays_ = {}, []
        if net.settings.from_scratch or not self.strength:
            return
        self.start_ = {p: p.detach().clone() for p in net.module_.trained_stages.parameters()}
        stages = set(net.module_.stages.parameters())
        for group in net.optimizer_.param_groups:
            if group["params"][0] in stages:
                self.weight_decays_.append((group, group["weight_decay"]))
                group["weight_decay"] = 0.0

    def on_batch_end(self, net: Any, training: Any = False, **kwargs: Any) -> None:
        """Move the weights a share of the way back."""
        if training and self.start_:
            with torch.no_grad():
                for group in net.optimizer_.param_groups:
                    for parameter in group["params"]:
                        if parameter in self.start_ and parameter.grad is not None:
                            parameter.lerp_(self.start_[parameter], min(group["lr"] * self.strength, 1.0))

    def _clear(self, net):
        """Drop the copies, and switch weight decay on again."""
        for group, weight_decay in vars(self).pop("weight_decays_", ()):
            group["weight_decay"] = weight_decay
        vars(self).pop("start_", None)


class ExponentialMovingAverage(TrainingOption):
    """Keep an exponential moving average of the weights over the steps, and leave it in the network at the end.

    It may help where the last epochs jump up and down [1]_. All that is trained is averaged, batch-norm statistics
    among it. `early_stopping`, which restores the weights of one epoch, excludes it.

    Parameters
    ----------
    decay : float
        Share of the average that is kept in each step, for instance 0.99, or less in a short training; between 0 and
        1. The first steps keep less, so that the start is soon forgotten.

    See Also
    --------
    L2SP : Goes before it in the list of callbacks.

    References
    ----------
    .. [1] Izmailov et al. (2018), "Averaging weights leads to wider optima and better generalization",
       arXiv:1803.05407.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> from sktl.training.callbacks import ExponentialMovingAverage
    >>> digits = load_digits()
    >>> model = FineTuneClassifier(callbacks=[ExponentialMovingAverage(0.9)], max_epochs=2, random_state=0)
    >>> model.fit(digits.images[:50], digits.target[:50]).predict(digits.images[:2])
    array([0, 1])
    """

    _parameter_constraints = {"decay": [Interval(Real, 0, 1, closed="neither")]}

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def _check(self, early_stopping):
        """Raise ValueError also with early stopping."""
        super()._check(early_stopping)
        if early_stopping:
            raise ValueError(
                "callbacks must be without ExponentialMovingAverage with early_stopping=True, which restores the "
                f"weights of one epoch. Got {self!r} instead. Use one of the two."
            )

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start from the weights as they are."""
        self.step_ = 0
        self.average_ = {name: tensor.clone() for name, tensor in trained_tensors(net.module_).items()}

    def on_batch_end(self, net: Any, training: Any = False, **kwargs: Any) -> None:
        """Add the weights of this step to the average."""
        if training:
            self.step_ += 1
            decay = min(self.decay, (1 + self.step_) / (10 + self.step_))
            for name, tensor in trained_tensors(net.module_).items():
                self.average_[name].lerp_(tensor, 1 - decay)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Put the average into the network."""
        for name, tensor in trained_tensors(net.module_).items():
            tensor.copy_(self.average_[name])

    def _clear(self, net):
        """Drop the average."""
        for name in ("step_", "average_"):
            vars(self).pop(name, None)


class GradualUnfreezing(TrainingOption):
    """Unfreeze the trained stages one after the other, from the top downwards: gradual unfreezing.

    Until its epoch has come a stage is bit-identical, batch-norm statistics included [1]_. For trainings of many
    stages on few images. `partial_fit`, which is one pass, trains all stages.

    Parameters
    ----------
    epochs : sequence of int
        The epoch, counted from 0, from which on each stage above the split point is trained, the top one first; the
        last number is for all that are left. ``(0, 5, 10)`` trains the top stage from the start, the one below from
        epoch 5, and all others from epoch 10.

    See Also
    --------
    sktl.FineTuneClassifier : Its `unfreeze_depth` says how many stages are trained in the end.

    References
    ----------
    .. [1] Howard & Ruder (2018), "Universal language model fine-tuning for text classification", arXiv:1801.06146.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> from sktl.training.callbacks import GradualUnfreezing
    >>> digits = load_digits()
    >>> gradual = GradualUnfreezing((0, 1))
    >>> model = FineTuneClassifier(unfreeze_depth=2, callbacks=[gradual], max_epochs=2, random_state=0)
    >>> model.fit(digits.images[:50], digits.target[:50]).predict(digits.images[:2])
    array([0, 1])
    """

    _parameter_constraints = {"epochs": ["array-like"]}

    def __init__(self, epochs: Sequence[int]) -> None:
        self.epochs = epochs

    def _check(self, early_stopping):
        """Raise ValueError also unless the epochs are whole numbers in ascending order."""
        super()._check(early_stopping)
        epochs = list(self.epochs)
        if not (
            epochs and all(isinstance(epoch, Integral) and epoch >= 0 for epoch in epochs) and epochs == sorted(epochs)
        ):
            raise ValueError(
                "epochs of GradualUnfreezing must be whole numbers in ascending order, the first for the top stage. "
                f"Got {self.epochs!r} instead. (0, 5, 10) trains one stage from the start, two after 5 epochs, all "
                "after 10."
            )

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start to count the epochs, or raise ValueError when they outlast the training."""
        if self.epochs[-1] >= net.max_epochs:
            raise ValueError(
                f"epochs of GradualUnfreezing must end before the training, which has {net.max_epochs} epochs. "
                f"Got {self.epochs!r} instead. Raise max_epochs, or lower unfreeze_depth."
            )
        self.epoch_ = 0

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Unfreeze the stages whose epoch has come."""
        net.module_.train(False)  # the next step switches to training, and the modes of the stages with it
        for i, stage in enumerate(reversed(net.module_.trained_stages)):
            stage.requires_grad_(self.epoch_ >= self.epochs[min(i, len(self.epochs) - 1)])
        self.epoch_ += 1

    def _clear(self, net):
        """Drop the count; the net itself leaves every stage trainable."""
        vars(self).pop("epoch_", None)


class CompileNetwork(TrainingOption):
    """Run the trained part of the network through :func:`torch.compile`.

    It takes half a minute or more before the first step, and pays in long trainings, on an accelerator above all.
    Results differ from those without it in the last bits.

    See Also
    --------
    sktl.FineTuneClassifier : Takes it among its `callbacks`.

    Examples
    --------
    >>> from sktl import FineTuneClassifier
    >>> from sktl.training.callbacks import CompileNetwork
    >>> FineTuneClassifier(callbacks=[CompileNetwork()])
    FineTuneClassifier(callbacks=[CompileNetwork()])
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Compile the part above the split point; the first step does the work."""
        net.compiled_ = torch.compile(net.module_.above_cut)

    def _clear(self, net):
        """Return to the network itself, which can be pickled."""
        net.compiled_ = None
