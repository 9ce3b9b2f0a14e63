"""Which images have no label: a label that is missing, or -1 where that is no class."""

import warnings

import numpy as np

from sktl._targets import missing_labels, plain_labels

UNLABELLED = -1  # among positions of labels


def unlabelled_images(y, teacher, teacher_cv):
    """Return which images of a training have no label, which takes a teacher.

    -1 is scikit-learn's mark, and a class where {-1, 1} are told apart: of a teacher that knows it, or without one.
    """
    is_class = teacher is None or (teacher_cv is None and has_minus_one(getattr(teacher, "classes_", [])))
    missing = missing_labels(y, minus_one=not is_class).reshape(-1)
    if teacher is None and missing.any():
        raise ValueError(
            f"y must have a label for every image. Got none for {missing.sum()} of {len(missing)} instead, the first "
            f"at position {np.flatnonzero(missing)[0]}. Leave these images out, or set teacher=, whose probabilities "
            "then stand for their labels."
        )
    return missing


def has_minus_one(classes):
    """Whether -1 is a class."""
    return np.asarray(classes).dtype.kind in "iuf" and -1 in classes


def warn_of_minus_one(labels):
    """Say that -1 is a class, where all other labels count upwards from 0 or more and a teacher may be forgotten."""
    labels = np.asarray(labels)
    found = np.unique(labels) if labels.dtype.kind in "if" else []
    if len(found) > 2 and found[0] == -1 and found[1] >= 0:
        warnings.warn(
            "y should hold -1 beside other classes for unlabelled images only, and these take a teacher. Got -1 for "
            f"{(labels == -1).sum()} of {len(labels)} images and no teacher: it is learnt as a class. Set teacher=, or "
            "give the class another name.",
            stacklevel=2,
        )


def labels_that_are_known(y, unlabelled):
    """Return the labels of the other images, as they would come without those that have none."""
    if not unlabelled.any():
        return plain_labels(y)
    if isinstance(y, (list, tuple)):
        return np.asarray([label for label, without in zip(y, unlabelled, strict=True) if not without])
    cells = np.ma.getdata(y) if np.ma.isMaskedArray(y) else np.asarray(y)
    return plain_cells(cells.reshape(-1)[~unlabelled])


def as_codes(y, unlabelled):
    """Return numbers in place of labels, which scikit-learn's splitters can compare, also with what marks none."""
    codes = np.full(len(unlabelled), UNLABELLED)
    codes[~unlabelled] = np.unique(labels_that_are_known(y, unlabelled), return_inverse=True)[1]
    return codes


def plain_cells(cells):
    """Return labels as numbers where they are such."""
    numbers = np.array(cells.tolist()) if cells.dtype.kind == "O" else cells
    return numbers if numbers.dtype.kind in "biuf" else cells
