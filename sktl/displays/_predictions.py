"""Predictions of the classes of test images, by fits that did not train on them."""

__all__ = ["predictions_of"]


def predictions_of(comparison, candidate, caller):
    """Return the name of a candidate, by default of the best, and what it predicted out of fold; classes only."""
    if comparison.settings.get("task") == "regression":
        raise ValueError(f"The task must be classification for {caller}. Got regression instead: there are no classes.")
    candidate = comparison.best_candidate if candidate is None else candidate
    return candidate, comparison.out_of_fold(candidate)
