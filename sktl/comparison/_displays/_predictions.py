"""Whose predictions are looked at, and under which names the classes are shown."""

import numpy as np

from sktl._validation import did_you_mean

__all__ = ["candidate_or_best", "check_labels", "class_names"]


def candidate_or_best(comparison, candidate=None):
    """Take the candidate that the user named, or the one with the best mean score.

    Parameters
    ----------
    comparison : TransferComparison
        Who took part.
    candidate : str or None, default=None
        As passed by the user.

    Returns
    -------
    str
        Its name.

    Raises
    ------
    ValueError
        If no candidate goes by that name.
    """
    if candidate is None:
        return max(comparison.candidates, key=lambda name: np.mean(comparison.scores[name]))
    if candidate not in comparison.candidates:
        raise ValueError(
            f"candidate must be one of {comparison.candidates}. Got {candidate!r} instead."
            f"{did_you_mean(candidate, comparison.candidates)}"
        )
    return candidate


def check_labels(comparison, caller):
    """Refuse a comparison whose task has no classes.

    Parameters
    ----------
    comparison : TransferComparison
        What was compared.
    caller : str
        For the message.

    Raises
    ------
    ValueError
        If the task is regression.
    """
    if comparison.settings.get("task") == "regression":
        raise ValueError(f"The task must be classification for {caller}. Got regression instead: there are no classes.")


def class_names(y, target_names=None):
    """Find out how a person calls the classes.

    Parameters
    ----------
    y : array-like of shape (n_images,)
        All labels.
    target_names : sequence of str or None, default=None
        Names of the classes in the order of the sorted labels. Whole numbers from 0, such as the target of
        `load_image_folder`, are positions in it, so that classes may be missing.

    Returns
    -------
    dict of label to str
        By sorted label, in plain Python.

    Raises
    ------
    ValueError
        If `target_names` fits neither way.
    """
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
