"""Which classes are taken for which: scikit-learn's own display, of predictions that no candidate trained on."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal

import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from sktl._targets import class_names
from sktl._text import written_apart
from sktl._validation import Interval, Options, validate_params
from sktl.displays._predictions import predictions_of

__all__ = ["confusion_display"]


@validate_params(
    {
        "candidate": [str, None],
        "target_names": ["array-like", None],
        "normalize": [Options(str, {"true", "pred", "all"}), None],
        "most": [Interval(Integral, 2, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def confusion_display(
    comparison: Any,
    candidate: str | None = None,
    *,
    target_names: Any = None,
    normalize: Literal["true", "pred", "all"] | None = None,
    most: int | None = 20,
) -> Any:
    """Count which classes a candidate takes for which, over the test images of all splits.

    Every image is predicted by a fit that did not train on it. With repeats an image counts as often as it was tested.

    Parameters
    ----------
    comparison : TransferComparison
        Of a classification.
    candidate : str or None, default=None
        Whose predictions; None takes the candidate with the best mean score, which is a little flattered by that.
    target_names : array-like of str or None, default=None
        Names of the classes in the order of the sorted labels, such as the target_names of
        :func:`~sktl.images.load_image_folder`.
    normalize : {"true", "pred", "all"} or None, default=None
        Shares of the true class, of the predicted class, or of everything, instead of counts.
    most : int or None, default=20
        How many classes are told apart at most, so that the matrix can be read: those that are confused most often.
        All others are one more, the last, in which they are not told from each other. None tells all apart.

    Returns
    -------
    sklearn.metrics.ConfusionMatrixDisplay
        Not drawn yet: call its `plot`, with ``xticks_rotation="vertical"`` where names are long or many. Its
        `confusion_matrix` has the shape (n_classes, n_classes), the true classes in its rows; (most + 1, most + 1) with
        more classes than `most`.

    Raises
    ------
    ValueError
        If there is no such candidate, the task is regression, or `target_names` has another length.

    See Also
    --------
    MistakesDisplay : The pictures behind the mistakes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import compare_transfer
    >>> from sktl.displays import confusion_display
    >>> digits = load_digits(n_class=3)
    >>> comparison = compare_transfer(
    ...     digits.images[:60], digits.target[:60], candidates=("dummy", "frozen"), baseline="dummy", cv=2)
    >>> display = confusion_display(comparison, "frozen")
    >>> int(display.confusion_matrix.sum())
    60
    """
    _, found = predictions_of(comparison, candidate, "confusion_display")
    names = class_names(comparison.y, target_names)
    places = {label: place for place, label in enumerate(names)}
    true, predicted = ([places.get(one, -1) for one in found[column].tolist()] for column in ("y_true", "y_pred"))
    kept = np.arange(len(names))
    if most is not None and len(names) > most:
        kept = _most_confused(confusion_matrix(true, predicted, labels=kept), most)
    rows = np.full(len(names) + 1, len(kept))
    rows[kept], rows[-1] = np.arange(len(kept)), -1  # a class that y does not have is left out
    n_others = len(names) - len(kept)
    labels = range(len(kept) + (n_others > 0))
    counts = confusion_matrix(rows[true], rows[predicted], labels=labels, normalize=normalize)
    written = written_apart(np.array(list(names.values()), dtype=object)[kept])
    return ConfusionMatrixDisplay(counts, display_labels=written + [f"{n_others:,} others"] * (n_others > 0))


def _most_confused(counts, most):
    """Choose the classes of the most frequent confusions, as many as fit, in the order of the classes."""
    wrong = counts - np.diag(np.diag(counts))
    pairs = np.column_stack(np.unravel_index(np.argsort(-wrong, axis=None, kind="stable"), wrong.shape))
    return np.sort(list(dict.fromkeys(pairs.ravel().tolist()))[:most])
