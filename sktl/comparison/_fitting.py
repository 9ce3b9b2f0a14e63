"""One fit of one candidate on one split: what it scored, what it predicted, and what it cost."""

import time
from copy import copy
from dataclasses import dataclass
from functools import wraps
from os import PathLike, fspath
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sktl.comparison._measuring import image_passes, n_parameters, peak_memory, reset_peak_memory
from sktl.comparison._networks import describe, is_pretrained, record_of, trained_part
from sktl.comparison._records import FitRecord
from sktl.exceptions import ImageReadError
from sktl.images import take_rows

__all__ = ["FitTask", "fit_and_score", "set_seeds"]

METHODS = ("predict", "predict_proba", "decision_function", "predict_log_proba")


@dataclass(frozen=True)
class FitTask:
    """One fit to be done.

    Parameters
    ----------
    candidate : str
        Name of the candidate.
    split : int
        Number of the split.
    estimator : estimator
        Unfitted; it is cloned.
    train, test : ndarray of int
        Indices in `X`.
    seed : int
        For every parameter called random_state.
    scorers : dict of str to callable
        Called with estimator, X, y.
    """

    candidate: str
    split: int
    estimator: Any
    train: np.ndarray
    test: np.ndarray
    seed: int
    scorers: dict


def fit_and_score(fit, X, y):
    """Do one fit.

    An error is returned, so that the caller learns of it in the same way from another process.
    """
    reading = fit.train  # the part of X that an image with an error is counted in
    try:
        estimator = set_seeds(_own_copy(fit.estimator), fit.seed)
        reset_peak_memory()
        start = time.perf_counter()
        estimator.fit(take_rows(X, fit.train), y[fit.train])
        fitted = time.perf_counter()
        reading = fit.test
        test = take_rows(X, fit.test)
        _predict_once(estimator)
        scores = {name: float(scorer(estimator, test, y[fit.test])) for name, scorer in fit.scorers.items()}
        scored = time.perf_counter()
        memory = peak_memory()
        _check(scores)
        predicted, confidence = _predictions(estimator, test)
        return FitRecord(
            fit.candidate,
            fit.split,
            scores,
            fitted - start,
            scored - fitted,
            n_images_through_network=image_passes(estimator, len(fit.test)),
            peak_memory=memory,
            predicted=predicted,
            confidence=confidence,
            **_about_network(estimator, fit.split),
        ), None
    except ImageReadError as error:
        counted = _counted_in_X(error, X, reading)
        return _failed(fit, counted), counted
    except Exception as error:
        return _failed(fit, error), error


def _own_copy(estimator):
    """Clone an estimator; copy one whose clone is itself, as methods of it are hidden later."""
    cloned = clone(estimator)
    return copy(estimator) if cloned is estimator else cloned


def _failed(fit, error):
    return FitRecord(fit.candidate, fit.split, {}, error=f"{type(error).__name__}: {error}")


def _check(scores):
    for name, score in scores.items():
        if not np.isfinite(score):
            raise ValueError(
                f"its score {name!r} must be a finite number. Got {score} instead. Small test folds do that to some "
                "metrics: use fewer folds or another scoring."
            )


def _about_network(estimator, split):
    record = record_of(estimator)
    trained = trained_part(estimator)
    return {
        "n_trained_parameters": getattr(trained, "n_trained_parameters_", None),
        "n_parameters": n_parameters(estimator),
        "history": None if trained is None else _history(trained),
        "network": describe(record),
        # The first split stands for all: asking a function for a second network takes as long as making one.
        "pretrained": is_pretrained(record) if record is not None and split == 0 else None,
    }


def _history(trained):
    """Return the epochs in plain Python; None for an exact probe, which has none."""
    losses = {"train_loss": "train_loss", "valid_loss": "valid_loss", "valid_acc": "valid_accuracy"}
    return [
        {"epoch": int(epoch["epoch"]), **{losses[key]: float(epoch[key]) for key in losses if key in epoch}}
        for epoch in trained.history_
    ] or None


def _predict_once(estimator):
    """Let a fitted estimator predict the same images once, however many scores ask for it.

    Attributes of the instance hide the methods; it is thrown away after the scoring.
    """
    last, features = estimator, None
    if type(estimator) is Pipeline and len(estimator) > 1:  # one of another kind may do something in between
        last, features = estimator[-1], _remembering(estimator[:-1].transform)
    if hasattr(type(last), "_outputs"):  # what all methods of a fine-tuned estimator go through
        last._outputs = _remembering(last._outputs)
    for name in METHODS:
        if hasattr(estimator, name):
            method = getattr(estimator, name) if features is None else _through(features, getattr(last, name))
            setattr(estimator, name, _remembering(method))


def _remembering(method):
    """Answer the same question about the same object from memory.

    Each time with a copy: methods ask each other, and write into what they are given.
    """
    last: dict = {}

    @wraps(method)
    def answer(X, **options):
        if options:
            return method(X, **options)
        if last.get("X") is not X:
            last.update(X=X, answer=method(X))
        return copy(last["answer"])

    return answer


def _through(features, method):
    @wraps(method)
    def answer(X, **options):
        return method(features(X), **options)

    return answer


def _predictions(estimator, X):
    """Predictions in plain Python, and the probability of each."""
    if not hasattr(estimator, "predict"):
        return None, None
    predicted = np.asarray(estimator.predict(X))
    if predicted.dtype.kind not in "biufUSO" or predicted.ndim != 1:
        return None, None
    labels = [value.item() if isinstance(value, np.generic) else value for value in predicted]
    if not all(isinstance(label, (bool, int, float, str)) for label in labels):
        return None, None
    return labels, _confidence(estimator, X, labels)


def _confidence(estimator, X, labels):
    try:
        if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "classes_"):
            return None
        probabilities = np.asarray(estimator.predict_proba(X))
        columns = {label: column for column, label in enumerate(np.asarray(estimator.classes_).tolist())}
        if not columns.keys() >= set(labels):
            return None
        return [float(row[columns[label]]) for row, label in zip(probabilities, labels, strict=True)]
    except Exception:  # the scores are there; how sure a candidate is comes second
        return None


def _counted_in_X(error, X, part):
    """Name the image by its position in the X that the user passed, not by the one in a part of it."""
    if error.index is None:
        return error
    index = int(part[error.index]) if error.index < len(part) else None
    if index is not None and error.path is not None:
        (item,) = np.asarray(take_rows(X, [index]), dtype=object).ravel()[:1]
        if isinstance(item, (str, PathLike)) and fspath(item) != error.path:
            index = None  # counted in a part of the part, as by a search inside the candidate: the path says enough
    path = None if error.path is None else str(error.path)
    return ImageReadError(error.reason, index, path).with_traceback(error.__traceback__)


def set_seeds(estimator, seed):
    """Give the seed to every parameter called random_state, in nested estimators too."""
    names = [name for name in estimator.get_params(deep=True) if name.rpartition("__")[2] == "random_state"]
    estimator.set_params(**dict.fromkeys(names, seed))  # not every estimator returns itself here
    return estimator
