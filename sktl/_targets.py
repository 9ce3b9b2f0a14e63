"""What is compared on: images and targets that belong together, and whether the targets are classes or numbers."""

from numbers import Number
from pathlib import Path

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

__all__ = [
    "check_classes",
    "check_data",
    "class_names",
    "has_fractions",
    "is_missing",
    "missing_labels",
    "plain_labels",
]

_ALL_LABELS = "FineTuneClassifier, which takes several labels per image,"
_ALL_COLUMNS = "FineTuneClassifier, which takes columns of labels,"
_ALL_NUMBERS = "FineTuneRegressor, which takes several numbers per image,"
_FEW = 10  # classes that may have a single image each


def check_data(X, y, groups, task):
    """Find the task, and check that images, targets and groups fit together."""
    if isinstance(X, (str, bytes, Path)):
        raise TypeError(
            f"X must be a sequence of images. Got {type(X).__name__} instead. A folder is read by "
            "sktl.images.load_image_folder."
        )
    y = plain_labels(y)
    _refuse_several_targets(y)
    y = column_or_1d(y)
    check_consistent_length(X, y, groups)
    if y.dtype.kind in "iuf" and (task == "classification" or (task == "auto" and not has_fractions(y))):
        check_classes(y, whole=True)
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


def _refuse_several_targets(y):
    """Refuse a matrix of targets, and cells with several labels, and say what takes them."""
    try:
        shape = np.shape(y)
    except ValueError:  # cells of different lengths
        shape = (len(y),)
    if len(shape) == 2 and shape[1] > 1:
        got, remedy = f"shape {shape}", _remedy(y.toarray() if issparse(y) else np.asarray(y))
    elif len(shape) == 1 and isinstance(first := next(iter(y), None), (set, frozenset, list, tuple)):
        got = f"cells of type {type(first).__name__}"
        remedy = f"Score {_ALL_LABELS} on MultiLabelBinarizer().fit_transform(y) with cross_val_score."
    else:
        return
    raise ValueError(f"y must be one label per image, of shape (n_images,). Got {got} instead. {remedy}")


def _remedy(matrix):
    """Say what to do with a matrix of targets."""
    if not np.isin(matrix, (0, 1)).all():
        both = f"{_ALL_COLUMNS} or {_ALL_NUMBERS}"  # whole numbers may be labels, or counted
        takes = {"f": _ALL_NUMBERS, "i": both, "u": both}.get(matrix.dtype.kind, _ALL_COLUMNS)
        return f"Pass one column at a time, or score {takes} with cross_val_score."
    if (matrix.sum(axis=1) == 1).all():
        return "Where each row has a single one, which stands for the class, pass y.argmax(axis=1)."
    return f"Pass one column at a time, or score {_ALL_LABELS} with cross_val_score."


def check_classes(y, name="y", *, whole=False):
    """Refuse numbers as classes when hardly any of them comes twice: they are counted or measured."""
    n_different = len(np.unique(y))
    if (whole and has_fractions(y)) or n_different > max(_FEW, len(y) / 2):
        raise ValueError(
            f"{name} must hold classes, each of several images. Got {n_different} different numbers for {len(y)} "
            'images instead: pass task="regression" to predict numbers (in a command, --task regression).'
        )


def has_fractions(y):
    """Whether some of the numbers are not whole."""
    with np.errstate(invalid="ignore"):  # of infinity, which is refused by name elsewhere
        return bool(np.any(np.asarray(y) % 1 > 0))


def plain_labels(y):
    """Return nullable and masked labels as plain arrays, and all others as they are; none of them may be missing."""
    if y is None or issparse(y):
        return y
    is_table = not isinstance(y, (np.ndarray, list, tuple)) and hasattr(y, "shape")
    try:
        array = np.ma.getdata(y) if np.ma.isMaskedArray(y) else np.asarray(y)
        missing = _missing(y, array, is_table)
    except (ValueError, TypeError):  # lists of different lengths, which scikit-learn refuses by name
        return y
    rows = np.flatnonzero(missing.reshape(len(missing), -1).any(axis=1)) if missing.ndim else []
    if len(rows):
        raise ValueError(
            f"y must have a label for every image. Got none for {len(rows)} of {len(missing)} instead, the first at "
            f"position {rows[0]}. Leave these images out."
        )
    if np.ma.isMaskedArray(y):
        return array
    if is_table and array.dtype.kind == "O":
        numbers = np.array(array.tolist())
        return numbers if numbers.dtype.kind in "biuf" else y
    return y


def _missing(y, array, is_table):
    """Say which labels are missing, but for NaN among numbers of numpy's, of which scikit-learn speaks."""
    if np.ma.isMaskedArray(y):
        return np.ma.getmaskarray(y)
    if array.dtype.kind == "f" and is_table:
        return np.isnan(array)
    if array.dtype.kind not in "OU":
        return np.zeros(array.shape, dtype=bool)
    cells = np.asarray(y, dtype=object)  # among texts numpy takes NaN for the word "nan"
    return np.array([is_missing(cell) for cell in cells.flat], dtype=bool).reshape(cells.shape)


def missing_labels(y):
    """Say which labels are missing: None, NaN, pandas' and masked cells, and -1, scikit-learn's mark for unlabelled."""
    array = np.asarray(y.toarray() if issparse(y) else y)
    missing = _missing(y, array, True)
    if array.dtype.kind in "iuf":
        return missing | (array == -1) | np.isnan(array)
    if array.dtype.kind in "OU":  # among words numpy would take numbers for words
        cells = [isinstance(cell, Number) and cell == -1 for cell in np.asarray(y, dtype=object).flat]
        return missing | np.array(cells, dtype=bool).reshape(array.shape)
    return missing


def is_missing(value):
    """Whether a cell is empty: None, NaN, or pandas' own marks."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


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
