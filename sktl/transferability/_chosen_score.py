"""The score of the best network, corrected for its having been chosen, from the predictions that are there."""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import accuracy_score, get_scorer

from sktl.transferability._bias_corrected import bias_corrected_score

__all__ = ["corrected_for_choice", "main_scorer"]

MANY, SOME = 1000, 200  # draws: of a score that is a mean over images, and of a metric, which is called each time


def corrected_for_choice(comparison, names, scorer, groups):
    """Correct the score of the best of some candidates for the choice; None where predictions do not tell the score."""
    if len(names) < 2:
        return None
    metric, kwargs = getattr(scorer, "_score_func", None), getattr(scorer, "_kwargs", {})
    runs = [run for name in names for run in comparison.runs_of(name)]
    needs_more = getattr(scorer, "_response_method", "predict") != "predict"
    if metric is None or needs_more or any(run.predicted is None for run in runs):
        return None
    found = [comparison.out_of_fold(name) for name in names]
    images = found[0]["index"]
    options = {"groups": images if groups is None else np.asarray(groups)[images]}
    if metric is accuracy_score and not kwargs:
        right = np.stack([one["y_pred"] == one["y_true"] for one in found])
        return bias_corrected_score(right, n_draws=MANY, **options)

    def signed(y_true, y_pred):
        return scorer._sign * metric(y_true, y_pred, **kwargs)

    predicted = np.stack([one["y_pred"] for one in found])
    try:
        return bias_corrected_score(predicted, found[0]["y_true"], metric=signed, n_draws=SOME, **options)
    except ValueError:  # the score is of whole folds, or of hardly any part of these images
        return None


def main_scorer(scoring, comparison):
    """Return the scorer that ranks; None where it is one of the user's own, given as a function."""
    if isinstance(scoring, Mapping):
        scoring = scoring[comparison.scoring]
    elif isinstance(scoring, (list, tuple)):
        scoring = scoring[0]
    return get_scorer(comparison.scoring if scoring is None else scoring)
