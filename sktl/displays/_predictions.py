"""Whose predictions are looked at, and under which names the classes are shown."""

from sktl._validation import did_you_mean

__all__ = [
    "candidate_or_best",
    "check_labels",
]


def candidate_or_best(comparison, candidate=None):
    """Take the candidate that the user named, or the one with the best mean score."""
    if candidate is None:
        return comparison.best_candidate
    if candidate not in comparison.candidates:
        raise ValueError(
            f"candidate must be one of {comparison.candidates}. Got {candidate!r} instead."
            f"{did_you_mean(candidate, comparison.candidates)}"
        )
    return candidate


def check_labels(comparison, caller):
    """Refuse a comparison whose task has no classes."""
    if comparison.settings.get("task") == "regression":
        raise ValueError(f"The task must be classification for {caller}. Got regression instead: there are no classes.")
