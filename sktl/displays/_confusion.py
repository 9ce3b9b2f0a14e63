"""Which classes are taken for which: scikit-learn's own display, of predictions that no candidate trained on."""

from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from sktl._targets import class_names
from sktl._text import written_apart
from sktl._validation import Options, validate_params
from sktl.displays._predictions import predictions_of

__all__ = ["confusion_display"]


@validate_params(
    {
        "candidate": [str, None],
        "target_names": ["array-like", None],
        "normalize": [Options(str, {"true", "pred", "all"}), None],
    },
    prefer_skip_nested_validation=True,
)
def confusion_display(comparison, candidate=None, *, target_names=None, normalize=None):
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

    Returns
    -------
    sklearn.metrics.ConfusionMatrixDisplay
        Not drawn yet: call its `plot`. Its `confusion_matrix` has the shape (n_classes, n_classes), the true classes in
        its rows.

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
    counts = confusion_matrix(found["y_true"], found["y_pred"], labels=list(names), normalize=normalize)
    return ConfusionMatrixDisplay(counts, display_labels=written_apart(names.values()))
