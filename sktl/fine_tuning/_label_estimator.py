"""What a fine-tuned classifier predicts, and how its labels meet the training."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin

from sktl.fine_tuning._estimator import FineTuneEstimator
from sktl.fine_tuning._label_columns import find_labels, labels_of
from sktl.fine_tuning._labels import has_columns
from sktl.fine_tuning._probe import LOGIT_SCALE
from sktl.fine_tuning._teaching import Teaching, check_teacher
from sktl.images import take_rows
from sktl.training import merged_groups

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class LabelEstimator(ClassifierMixin, FineTuneEstimator, metaclass=ABCMeta):
    """Abstract: any labels in, labels and probabilities out; FineTuneClassifier has the parameters."""

    _probe_scale, _augments = LOGIT_SCALE, True
    teacher_cv = None  # in pickles of versions that did not have it

    @abstractmethod
    def fit(self, X: Any, y: Any) -> Any:
        """Train the network."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict labels.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,), (n_samples, n_labels) or (n_samples, n_columns)
            The most probable label of each image, or of each column; of several labels, ones for those more probable
            than not. Columns of words beside columns of numbers come as objects.
        """
        outputs = self._outputs(X)
        return self._labels.decode(outputs)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Predict the probability of each label.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), or list of n_columns such arrays
            In the order of `classes_`; each row sums to one, unless an image may have several labels.
        """
        outputs = self._outputs(X)
        return self._labels.probabilities(outputs)

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return logits.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes, or list of n_columns of these
            Logits; for two classes their difference, positive for the second.
        """
        outputs = self._outputs(X)
        return self._labels.scores(outputs)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of images whose label is right, or all of whose labels are.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.
        y : array-like of shape (n_samples,), or matrix of shape (n_samples, n_labels) or (n_samples, n_columns)
            True labels, as in `fit`. A label that is missing is not looked at; an image without any does not count,
            nor one of -1 where that is no class.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Sample weights.

        Returns
        -------
        accuracy : float
            Between 0 and 1.
        """
        predicted = self.predict(X)
        return self._labels.accuracy(y, predicted, sample_weight)

    @property
    def _coding(self):
        return self._labels

    def _criterion_options(self):
        return self._labels.criterion_options(self.label_smoothing)

    def _check_targets(self, y, reset, classes):
        if self.teacher is not None and not has_columns(y):
            check_teacher(self.teacher, self.teacher_cv)
        if reset:
            self._labels = find_labels(y, classes, self)
        encoded = self._labels.encode(y, classes, self)
        self.classes_ = self._labels.classes
        return encoded

    def _prepare_targets(self, targets, weights, reset, classes):
        if reset:
            self._labels.check_enough(targets, weights, classes)
        return self._labels.prepare(targets, weights, self.class_weight)

    def _counted(self, targets, weights):
        return self._labels.counted(targets, weights)

    def _unlabelled(self, targets):
        return self._labels.unlabelled(targets)

    def _learns_labels(self):
        is_taught = self.teacher is not None and bool(self.alpha or self._has_unlabelled)
        return not (is_taught or self.label_smoothing)

    def _teach(self, X, training_set, groups, held_out):
        if self.teacher is None:
            return None
        rows, unlabelled, teacher = training_set.rows, training_set.unlabelled, (self.classes_, self.temperature)
        if self.teacher_cv is None:
            teaching = Teaching.of_fitted(self.teacher, *teacher, X, rows)
        else:
            groups = None if groups is None else merged_groups(groups, training_set.place)
            learnt = np.setdiff1d(np.flatnonzero(~unlabelled), held_out)
            labels = training_set.labels
            teaching = Teaching.fitted_here(
                self.teacher, *teacher, take_rows(X, rows), labels, learnt, self.teacher_cv, groups
            )
        training_set.labels[unlabelled] = self.classes_[teaching.probabilities[unlabelled].argmax(axis=1)]
        return teaching

    def _distillation(self):
        return {} if self.teacher is None else {"temperature": self.temperature, "distillation": self.alpha}

    def _take_encoding(self, classes, multilabel):
        self._labels = labels_of(classes, multilabel)
        self.classes_ = classes

    def __sklearn_tags__(self):
        """Say that an image may have several labels, and y several columns."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = tags.target_tags.multi_output = True
        return tags
