"""What is compared on: images and targets that belong together, and whether the targets are classes or numbers."""

from pathlib import Path

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

__all__ = ["check_data", "class_names"]


def check_data(X, y, groups, task):
    """Find the task, and check that images, targets and groups fit together."""
    if isinstance(X, (str, bytes, Path)):
        raise TypeError(
            f"X must be a sequence of images. Got {type(X).__name__} instead. A folder is read by "
            "sktl.images.load_image_folder."
        )
    y = column_or_1d(y)
    check_consistent_length(X, y, groups)
    if task == "auto":
        kind = type_of_target(y, input_name="y")
        tasks = {"binary": "classification", "multiclass": "classification", "continuous": "regression"}
        if kind not in tasks:
            raise ValueError(f"y must be class labels or numbers, one per image. Got y of the type {kind!r} instead.")
        task = tasks[kind]
    if task == "regression":
        return y.astype(float), task
    classes = list(dict.fromkeys(y.tolist()))
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes. Got {len(classes)} instead: {classes}.")
    return y, task


def class_names(y, target_names=None):
    """Find out how a person calls the classes."""
    labels = np.unique(np.asarray(y)).tolist()
    if target_names is None:
        return {label: str(label) for label in labels}
    names = [str(name) for name in target_names]
    if all(type(label) is int and 0 <= label < len(names) for label in labels):
        return {label: names[label] for label in labels}
    if len(names) != len(labels):
        raise ValueError(
            f"target_names must hold a name for each of the {len(labels)} classes. Got {len(names)} instead."
        )
    return dict(zip(labels, names, strict=True))
