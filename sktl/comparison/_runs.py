"""Fitting and scoring: every candidate on every split, each split with its own seed."""

import time
import warnings
from dataclasses import dataclass
from os import PathLike, fspath

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.parallel import Parallel, delayed

from sktl.comparison._networks import describe, is_pretrained, record_of
from sktl.exceptions import ImageReadError

__all__ = ["Run", "fixed_random_state", "make_seeds", "make_splits", "run_all", "set_seeds", "take"]


@dataclass(frozen=True)
class Run:
    """What one fit and its scoring gave."""

    candidate: str
    split: int
    score: float = np.nan
    fit_seconds: float = np.nan
    predict_seconds: float = np.nan
    n_trained_parameters: int | None = None
    network: dict | None = None
    pretrained: bool | None = None
    error: Exception | None = None


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
    return estimator.set_params(**dict.fromkeys(names, seed))


def run_all(estimators, X, y, *, splits, seeds, scorer, n_jobs, verbose):
    """Fit and score every candidate on every split.

    Returns
    -------
    list of Run
        Split by split, the candidates of one split next to each other.

    Raises
    ------
    RuntimeError
        If a candidate fails to fit or predict, or its score is not a finite number; names candidate and split, and
        carries the original error as its cause.
    """
    tasks = (
        delayed(_run)(name, estimator, X, y, number, splits[number], seeds[number], scorer)
        for number in range(len(splits))
        for name, estimator in estimators.items()
    )
    runs = []
    width = max(map(len, estimators))
    results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    try:
        for run in results:
            _check(run, len(splits))
            runs.append(run)
            if verbose:
                where, seconds = f"split {run.split + 1}/{len(splits)}", run.fit_seconds + run.predict_seconds
                print(f"{where}  {run.candidate:{width}}  score {run.score:.4f}  {seconds:.1f} s", flush=True)
    finally:
        with warnings.catch_warnings():  # after an error joblib warns of the fits that it calls off
            warnings.simplefilter("ignore")
            results.close()
    return runs


def _run(name, estimator, X, y, number, split, seed, scorer):
    """One fit; an error is returned, so that the caller learns of it in the same way from another process."""
    train, test = split
    reading = train  # the part of X that an image with an error is counted in
    try:
        estimator = set_seeds(clone(estimator), seed)
        start = time.perf_counter()
        estimator.fit(take(X, train), y[train])
        fitted = time.perf_counter()
        reading = test
        score = float(scorer(estimator, take(X, test), y[test]))
        scored = time.perf_counter()
        record = record_of(estimator)
        # The first split stands for all: asking a function for a second network takes as long as making one.
        pretrained = is_pretrained(record) if record is not None and number == 0 else None
    except ImageReadError as error:
        return Run(name, number, error=_counted_in_X(error, X, reading))
    except Exception as error:
        return Run(name, number, error=error)
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    return Run(
        name,
        number,
        score,
        fitted - start,
        scored - fitted,
        getattr(last, "n_trained_parameters_", None),
        describe(record),
        pretrained,
    )


def _counted_in_X(error, X, part):
    """Name the image by its position in the X that the user passed, not by the one in a part of it."""
    if error.index is None:
        return error
    index = int(part[error.index]) if error.index < len(part) else None
    if index is not None and error.path is not None:
        (item,) = np.asarray(take(X, [index]), dtype=object).ravel()[:1]
        if isinstance(item, (str, PathLike)) and fspath(item) != error.path:
            index = None  # counted in a part of the part, as by a search inside the candidate: the path says enough
    path = None if error.path is None else str(error.path)
    return ImageReadError(error.reason, index, path).with_traceback(error.__traceback__)


def _check(run, n_splits):
    where = f"Candidate {run.candidate!r} failed on split {run.split + 1} of {n_splits}"
    if run.error is not None:
        raise RuntimeError(f"{where}: {type(run.error).__name__}: {run.error}") from run.error
    if not np.isfinite(run.score):
        raise RuntimeError(
            f"{where}: its score must be a finite number. Got {run.score} instead. Small test folds do that to some "
            "metrics: use fewer folds or another scoring."
        )
