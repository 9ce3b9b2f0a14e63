"""What is compared on: images and targets that belong together, and whether the targets are classes or numbers."""

from pathlib import Path

from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

__all__ = ["check_data"]


def check_data(X, y, groups, task):
    """Find the task, and check that images, targets and groups fit together.

    Parameters
    ----------
    X, y, groups
        As passed to compare_transfer.
    task : {"auto", "classification", "regression"}
        As passed by the user.

    Returns
    -------
    y : ndarray of shape (n_images,)
        Labels as they are, or floats for regression.
    task : {"classification", "regression"}
        What `y` is for.

    Raises
    ------
    TypeError
        If `X` is a path or bytes.
    ValueError
        If `y` is neither labels nor numbers or holds a single class, or lengths differ.
    """
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
