"""Validation data: part of the training images, set aside here or by a splitter, or images of the user's own."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from sklearn.utils import check_consistent_length, column_or_1d

from sktl.fine_tuning._bad_images import without_bad_images
from sktl.fine_tuning._unlabelled import as_codes, unlabelled_images
from sktl.training import TrainingData, given_split, inner_split, merged_groups, split_of_labelled


class ValidationData:
    """What a training is watched on, if at all: what `validation` of `fit` says, or else early stopping asks for."""

    def __init__(self, estimator, validation, whole):
        self._estimator = estimator
        self._given = validation
        self._parts = self._own = self._teacher = None
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
            groups = None if groups is None else column_or_1d(groups)
            if training_set.unlabelled.any():
                y = as_codes(y, unlabelled_images(y, self._estimator.teacher, self._estimator.teacher_cv))
            self._parts = given_split(self._given, X, y, groups, place, training_set.unlabelled)
        else:
            groups = None if groups is None else merged_groups(groups, training_set.place)
            self._parts = split_of_labelled(training_set.unlabelled, groups, partial(self._inner_split, training_set))

    def _inner_split(self, training_set, groups):
        targets = training_set.targets.numpy()[~training_set.unlabelled]
        strata = self._estimator._coding.strata(targets)
        return inner_split(
            targets if strata is None else strata,
            strata is not None,
            self._estimator.validation_fraction,
            self._estimator._seed,  # the same in each training: what was set aside once is never trained on
            groups,
        )

    @property
    def held_out(self):
        """Positions of the training images that are set aside."""
        return [] if self._parts is None else self._parts[1]

    def ask(self, teaching):
        """Ask a teacher about the images of the user's own."""
        if teaching is not None and self._own is not None:
            self._teacher = teaching.softened(teaching.asked(self._passed))

    def split(self, data):
        """Return training and validation data; None for the latter when nothing is watched."""
        if not self.is_wanted or self._estimator._is_probe():
            return data, None
        if self.is_pair:
            images, *rest = self._own
            return data, TrainingData(data.activations.of(images), *rest, teacher=self._teacher)
        train, held_out = self._parts
        return data.at(train), data.at(held_out)

    def _checked(self, X, y, sample_weight=None):
        """Return images, targets of the loss, weights and labels."""
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
        if (n_without := estimator._unlabelled(encoded).sum()) > 0:
            raise ValueError(
                "validation must hold images with labels, since losses and scores are told by them. Got "
                f"{n_without} of {len(encoded)} without instead. Leave these out."
            )
        targets, weights = estimator._prepare_targets(encoded, weights, False, None)
        weights = torch.as_tensor(weights / weights.mean(), dtype=torch.float32)
        self._passed = X
        return images, estimator._loss_targets(targets), weights, estimator._coding.labels(encoded)
