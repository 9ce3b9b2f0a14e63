"""Which learning rate suits an estimator and some data: short of a grid search, and far better than a guess."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from sktl.backbones import load_backbone
from sktl.exceptions import TrainingDivergedError
from sktl.training import base_learning_rate

FACTORS = (1 / 9, 1 / 3, 1, 3, 9)
_FOREVER = 10**9


@dataclass(frozen=True)
class LearningRates:
    """What `find_learning_rate` has found.

    Parameters
    ----------
    rates : tuple of float
        The learning rates tried, ascending.
    losses : tuple of float
        Loss on the images set aside at the end of each training; infinite where it diverged.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> digits = load_digits()
    >>> model = FineTuneClassifier(max_epochs=2, validation_fraction=0.5, random_state=0)
    >>> found = model.find_learning_rate(digits.images[:60], digits.target[:60], factors=(1, 3))
    >>> found.rates
    (0.001, 0.003)
    >>> found.best in found.rates
    True
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def best(self):
        """The rate of the least loss."""
        return self.rates[int(np.argmin(self.losses))]


def search_rates(estimator, X, y, sample_weight, factors):
    """Train clones at several rates on one inner split.

    Parameters
    ----------
    estimator : FineTuneEstimator
        Left as it is.
    X, y, sample_weight
        As in `fit`.
    factors : sequence of float
        Of the estimator's own rate.

    Returns
    -------
    LearningRates

    Raises
    ------
    ValueError
        If the rate makes no difference, or each training diverges.
    """
    if not len(factors):
        raise ValueError("factors must hold at least one number. Got an empty sequence instead.")
    if estimator._is_probe():
        raise ValueError(
            "unfreeze_depth must be 1 or more for a search over learning rates. Got 0 instead: a linear head is solved "
            "for exactly, without any rate."
        )
    family = load_backbone(estimator.backbone, estimator.weights, random_state=0).family
    own = base_learning_rate(estimator.learning_rate, family, estimator.weights is None)
    is_fixed = isinstance(estimator.random_state, int | np.integer)
    # A generator is copied, since drawing from it would change the estimator.
    source = check_random_state(deepcopy(estimator.random_state))
    seed = estimator.random_state if is_fixed else int(source.randint(2**31 - 1))
    rates = tuple(sorted(own * factor for factor in factors))
    losses = []
    for rate in rates:
        trial = clone(estimator).set_params(
            learning_rate=rate,
            random_state=seed,
            early_stopping=True,
            patience=_FOREVER,
            refit=False,
            ema_decay=None,
            warm_start=False,
            **_not_to_be_cloned(estimator),
        )
        try:
            trial.fit(X, y, sample_weight)
            loss = float(trial.history_[-1, "valid_loss"])
            losses.append(loss if np.isfinite(loss) else np.inf)
        except TrainingDivergedError:
            losses.append(np.inf)
    if not np.isfinite(losses).any():
        raise ValueError(f"learning_rate must let the training converge. Got {rates[0]:g} as the lowest rate instead.")
    return LearningRates(rates, tuple(losses))


def _not_to_be_cloned(estimator):
    """Return a teacher as it is: a clone of it would have forgotten what it knows."""
    teacher = getattr(estimator, "teacher", None)
    return {} if teacher is None else {"teacher": teacher}
