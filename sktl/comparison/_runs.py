"""Fitting and scoring: every candidate on every split, each split with its own seed."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state, column_or_1d

__all__ = ["Run", "fixed_random_state", "make_seeds", "make_splits", "set_seeds", "take"]


@dataclass(frozen=True)
class Run:
    """One fit of one candidate on one split, in plain Python: it goes to JSON and back.

    Parameters
    ----------
    candidate : str
        Name of the candidate.
    split : int
        Number of the split, from 0.
    scores : dict of str to float
        By name of the metric; empty when it failed.
    fit_seconds, predict_seconds : float or None, default=None
        Time of the fit, and of predicting and scoring the test images; None when it failed.
    n_trained_parameters : int or None, default=None
        Parameters that were trained; None where the candidate does not tell.
    n_parameters : int or None, default=None
        Parameters of the network that the fitted candidate has to keep; None without a network.
    n_images_through_network : int or None, default=None
        Forward passes of images, in fit and predict together; None without a network.
    peak_memory : int or None, default=None
        Highest resident memory of the process meanwhile, in bytes; None where it cannot be known.
    predicted : list or None, default=None
        For every test image of the split, in the order of its test indices.
    confidence : list of float or None, default=None
        Probability of the predicted class; None without predict_proba.
    history : list of dict or None, default=None
        One entry per epoch: "epoch", "train_loss", and where there "valid_loss", "valid_accuracy"; None without
        training by epochs.
    network : dict or None, default=None
        Name, weights, source, licence and digest of the network.
    pretrained : bool or None, default=None
        Whether its weights were pretrained ones, found out on the first split.
    error : str or None, default=None
        Type and message of the error of a failed fit.

    See Also
    --------
    TransferComparison : Holds them, and what follows from them.

    Examples
    --------
    >>> from sktl.comparison import Run
    >>> run = Run("frozen", split=0, scores={"accuracy": 0.8}, fit_seconds=1.5, predict_seconds=0.2)
    >>> run.error is None
    True
    """

    candidate: str
    split: int
    scores: dict[str, float]
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    n_trained_parameters: int | None = None
    n_parameters: int | None = None
    n_images_through_network: int | None = None
    peak_memory: int | None = None
    predicted: list | None = None
    confidence: list[float] | None = None
    history: list[dict] | None = None
    network: dict | None = None
    pretrained: bool | None = None
    error: str | None = None


def take(X, indices):
    """Rows of X in the kind X came in: array, tensor, data frame, Series, or list."""
    if hasattr(X, "iloc"):
        return X.iloc[indices]
    if hasattr(X, "shape"):
        return X[indices]
    return [X[i] for i in indices]


def make_seeds(random_state, purpose, n_seeds):
    """Different seeds derived from one number, one for each split or repeat.

    A constant seed would make the folds agree about the luck of one initialisation, and tests on such folds find
    differences between a recipe and itself.

    Parameters
    ----------
    random_state : int
        The number to derive them from.
    purpose : {"shuffle", "fit"}
        What the seeds are for; seeds for different purposes have nothing to do with each other.
    n_seeds : int
        How many.

    Returns
    -------
    list of int
        Numbers from 0 to 2**31 - 1.
    """
    sequence = np.random.SeedSequence(random_state, spawn_key=(("shuffle", "fit").index(purpose),))
    return [int(word >> 1) for word in sequence.generate_state(n_seeds)]


def fixed_random_state(random_state):
    """Find the int that stands for `random_state`: itself, a draw from a generator, or fresh entropy for None."""
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def make_splits(X, y, *, cv, n_repeats, groups, task, random_state):
    """Make the (train, test) indices of all splits, once, as a list that every candidate shares.

    Raises
    ------
    ValueError
        If a split trains on images that it tests on, or on others of their group, is empty, or there are none; and if
        `n_repeats` is combined with a splitter, which has its own repeats.
    """
    if isinstance(cv, (int, np.integer)) and not isinstance(cv, bool):
        seeds = make_seeds(random_state, "shuffle", n_repeats)
        splitters = [_splitter(int(cv), groups, task, seed) for seed in seeds]
    elif n_repeats != 1:
        raise ValueError(f"n_repeats must be 1 unless cv is an int. Got {n_repeats} instead, with cv={cv!r}.")
    else:
        splitters = [check_cv(cv, y, classifier=task == "classification")]
    pairs = [pair for splitter in splitters for pair in splitter.split(X, y, groups)]
    splits = [
        (_as_indices(train, len(y), number), _as_indices(test, len(y), number))
        for number, (train, test) in enumerate(pairs)
    ]
    if not splits:
        raise ValueError(f"cv must give at least one split. Got none from {cv!r} instead.")
    for number, (train, test) in enumerate(splits):
        if len(train) == 0 or len(test) == 0:
            raise ValueError(f"Every split must have images on both sides. Split {number} has none on one of them.")
        if len(shared := np.intersect1d(train, test)):
            raise ValueError(
                f"The test images of a split must not be among its training images. Split {number} shares "
                f"{len(shared)}, the first at index {shared[0]}."
            )
        if groups is not None:
            _check_groups(column_or_1d(groups), train, test, number)
    return splits


def _check_groups(groups, train, test, number):
    """Not every splitter heeds groups: a stratified one, for instance, takes them and passes over them."""
    known = set(groups[train].tolist())
    shared = [group for group in groups[test].tolist() if group in known]
    if shared:
        raise ValueError(
            f"Images of one group must not lie on both sides of a split. Split {number} has the group {shared[0]!r} on "
            "both. Pass an int as cv, or a splitter that keeps groups together: GroupKFold, StratifiedGroupKFold, "
            "GroupShuffleSplit or LeaveOneGroupOut."
        )


def _splitter(n_splits, groups, task, seed):
    if groups is not None:
        kind = StratifiedGroupKFold if task == "classification" else GroupKFold
    else:
        kind = StratifiedKFold if task == "classification" else KFold
    return kind(n_splits, shuffle=True, random_state=seed)


def _as_indices(part, n_images, number):
    """Turn masks, lists and indices from the end into indices from 0, which can be compared."""
    part = np.asarray(part)
    if part.size == 0:
        return np.empty(0, dtype=np.intp)
    try:
        return np.arange(n_images)[part]
    except IndexError as error:
        raise ValueError(
            f"Every split must hold two masks or two sequences of indices of the {n_images} images. Got something else "
            f"in split {number} instead: {error}."
        ) from error


def set_seeds(estimator, seed):
    """Give the seed to every parameter called random_state, in nested estimators too."""
    names = [name for name in estimator.get_params(deep=True) if name.rpartition("__")[2] == "random_state"]
    estimator.set_params(**dict.fromkeys(names, seed))  # not every estimator returns itself here
    return estimator
