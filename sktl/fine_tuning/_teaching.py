"""What a teacher says of images: as the user has fitted it, or fitted here, out of fold where it learns labels."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedGroupKFold, check_cv
from sklearn.utils.validation import check_is_fitted

from sktl.images import take_rows


def check_teacher(teacher, teacher_cv):
    """Raise unless a teacher is fitted, or can be fitted."""
    if teacher_cv is None:
        check_is_fitted(
            teacher,
            msg="teacher must be fitted. Got a %(name)s that is not, instead. clone() forgets what was fitted: give "
            "sklearn.frozen.FrozenEstimator(teacher) to cross-validation and grid search; or set teacher_cv=5, by "
            "which each training fits it.",
        )
    elif isinstance(teacher, FrozenEstimator):
        raise ValueError(
            "teacher_cv must be None for a FrozenEstimator, which is never fitted again. "
            f"Got {teacher_cv!r} instead. Pass the teacher itself."
        )


class Teaching:
    """A teacher in one training: its probabilities of the training images, and of any others."""

    def __init__(self, teacher, classes, temperature):
        self._teacher = teacher
        self._classes = classes
        self._temperature = temperature
        self.probabilities = None

    @classmethod
    def of_fitted(cls, teacher, classes, temperature, X, rows):
        """Ask a fitted teacher about rows of X."""
        if not np.array_equal(np.unique(teacher.classes_), classes):
            raise ValueError(
                f"teacher must know the classes {classes.tolist()}, and no others. "
                f"Got a teacher of {np.asarray(teacher.classes_).tolist()} instead."
            )
        teaching = cls(teacher, classes, temperature)
        teaching.probabilities = teaching.asked(X)[rows]
        return teaching

    @classmethod
    def fitted_here(cls, teacher, classes, temperature, X, labels, learnt, cv, groups):
        """Fit a teacher to the images to learn from, and ask about those through teachers that have not seen them."""
        images, labels = take_rows(X, learnt), labels[learnt]
        teaching = cls(clone(teacher).fit(images, labels), classes, temperature)
        teaching.probabilities = np.empty((len(X), len(classes)))
        others = np.setdiff1d(np.arange(len(X)), learnt)
        if len(others):
            teaching.probabilities[others] = teaching.asked(take_rows(X, others))
        groups = None if groups is None else groups[learnt]
        if isinstance(cv, Integral) and groups is not None:
            cv = StratifiedGroupKFold(cv)
        for train, test in check_cv(cv, labels, classifier=True).split(np.zeros(len(labels)), labels, groups):
            other = cls(clone(teacher).fit(take_rows(images, train), labels[train]), classes, temperature)
            teaching.probabilities[learnt[test]] = other.asked(take_rows(images, test))
        return teaching

    def asked(self, X):
        """Return probabilities of images; zero for a class that the teacher does not know."""
        given = np.asarray(self._teacher.predict_proba(X))
        probabilities = np.zeros((len(given), len(self._classes)), dtype=given.dtype)
        probabilities[:, np.searchsorted(self._classes, self._teacher.classes_)] = given
        return probabilities

    def softened(self, probabilities):
        """Return probabilities softened by the temperature, as a tensor."""
        logits = torch.as_tensor(np.log(np.clip(probabilities, 1e-12, None)), dtype=torch.float32)
        return (logits / self._temperature).softmax(1)
