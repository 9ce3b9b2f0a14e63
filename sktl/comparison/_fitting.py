"""One fit of one candidate on one split: what it scored, what it predicted, and what it cost."""

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring

from sktl.comparison._cached_predictions import CachedPredictions
from sktl.comparison._measuring import measured
from sktl.comparison._networks import describe, is_pretrained, record_of, trained_part
from sktl.comparison._records import FitRecord
from sktl.exceptions import ImageReadError
from sktl.feature_extraction.frozen_pipeline import KeptSeed
from sktl.images import ImageCollection, take_rows

__all__ = ["FitTask", "fit_and_score", "set_seeds"]


@dataclass(frozen=True)
class FitTask:
    """One fit to be done."""

    candidate: str
    split: int
    estimator: Any  # unfitted; it is cloned
    train: np.ndarray  # indices in X, as `test`
    test: np.ndarray
    seed: int  # for every parameter called random_state
    scorers: dict  # by name, called with estimator, X, y


def fit_and_score(fit, X, y):
    """Do one fit.

    An error is returned, so that the caller learns of it in the same way from another process.
    """
    reading = fit.train  # the part of X that an image with an error is counted in
    try:
        estimator = set_seeds(clone(fit.estimator), fit.seed)
        with measured() as measurement:
            estimator.fit(take_rows(X, fit.train), y[fit.train])
            measurement.fitted()
            reading = fit.test
            test = take_rows(X, fit.test)
            cached = CachedPredictions(estimator, test)
            scores = check_scoring(scoring=fit.scorers)(cached, test, y[fit.test])
            scores = {name: float(score) for name, score in scores.items()}
            measurement.scored()
            _check(scores)
            predicted, confidence = _predictions(cached, test)
        about = measurement.costs(estimator) | _about_network(estimator, fit.split)
        return FitRecord(fit.candidate, fit.split, scores, predicted=predicted, confidence=confidence, **about), None
    except ImageReadError as error:
        counted = _counted_in_X(error, X, reading)
        return _failed(fit, counted), counted
    except Exception as error:
        return _failed(fit, error), error


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
        "history": None if trained is None else _history(trained),
        "network": describe(estimator),
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
    if error.index is None or isinstance(X, ImageCollection):  # which knows its own positions
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
    parameters = estimator.get_params(deep=True)
    names = [name for name in parameters if name.rpartition("__")[2] == "random_state"]
    names = [name for name in names if not isinstance(parameters[name], KeptSeed)]
    estimator.set_params(**dict.fromkeys(names, seed))  # not every estimator returns itself here
    return estimator
