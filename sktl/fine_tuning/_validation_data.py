"""Validation data: part of the training images, set aside here or by a splitter, or images of the user's own."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.utils import check_consistent_length, column_or_1d

from sktl.fine_tuning._bad_images import without_bad_images
from sktl.training import TrainingData, given_split, inner_split, merged_groups


class ValidationData:
    """What a training is watched on, if at all: what `validation` of `fit` says, or else early stopping asks for."""

    def __init__(self, estimator, validation, whole):
        self._estimator = estimator
        self._given = validation
        self._parts = None
        self.is_pair = isinstance(validation, (tuple, list)) and len(validation) in (2, 3)
        self.is_wanted = whole and (estimator.early_stopping or validation is not None)
        if not (validation is None or self.is_pair or hasattr(validation, "get_n_splits")):
            size = f" of length {len(validation)}" if isinstance(validation, Sequence) else ""
            raise ValueError(
                "validation must be a pair of images and targets, (X, y), a triple with their sample weights, or a "
                f"splitter. Got {type(validation).__name__}{size} instead. scikit-learn's splitters are in "
                "sklearn.model_selection."
            )

    def find(self, training_set, groups, passed, bad):
        """Choose the images to set aside, or check those of the user.

        A splitter is shown what was passed to `fit`, bad images included, whose positions it may know.
        """
        groups = None if groups is None else column_or_1d(groups)
        check_consistent_length(training_set.place, groups)
        if not self.is_wanted or self._estimator._is_probe():
            return
        if self.is_pair:
            self._own = self._checked(*self._given)
        elif self._given is not None:
            X, y, groups = passed
            place = np.full(len(training_set.place) + len(bad), -1, dtype=np.intp)
            place[np.setdiff1d(np.arange(len(place)), bad)] = training_set.place
            self._parts = given_split(self._given, X, y, None if groups is None else column_or_1d(groups), place)
        else:
            targets = training_set.targets.numpy()
            strata = self._estimator._coding.strata(targets)
            self._parts = inner_split(
                targets if strata is None else strata,
                strata is not None,
                self._estimator.validation_fraction,
                self._estimator._seed,  # the same in each training: what was set aside once is never trained on
                None if groups is None else merged_groups(groups, training_set.place),
            )

    def split(self, data):
        """Return training and validation data; None for the latter when nothing is watched."""
        if not self.is_wanted or self._estimator._is_probe():
            return data, None
        if self.is_pair:
            images, *rest, teacher = self._own
            return data, TrainingData(data.activations.of(images), *rest, teacher=teacher)
        train, held_out = self._parts
        return data.at(train), data.at(held_out)

    def _checked(self, X, y, sample_weight=None):
        """Return images, targets of the loss, weights, labels and the teacher's opinion."""
        estimator = self._estimator
        images = estimator._images(X)
        if estimator.on_error == "skip":
            _, (X, y, sample_weight) = without_bad_images(
                images, X, y, sample_weight, name="validation", n_jobs=estimator.n_jobs
            )
            images = estimator._images(X)
        weights = estimator._check_weights(sample_weight, images)
        encoded = estimator._check_targets(y, False, None)
        check_consistent_length(images, encoded)
        targets, weights = estimator._prepare_targets(encoded, weights, False, None)
        weights = torch.as_tensor(weights / weights.mean(), dtype=torch.float32)
        labels, teacher = estimator._coding.labels(encoded), estimator._teach(X, np.arange(len(encoded)))
        return images, estimator._loss_targets(targets), weights, labels, teacher
