"""The scores of a comparison: names, scorers, or several of them; the first is the one that the verdict is about."""

from collections.abc import Mapping
from inspect import signature

from sklearn.metrics import get_scorer, get_scorer_names

from sktl._validation import did_you_mean

__all__ = ["check_scoring"]


def check_scoring(scoring, task):
    """Turn the parameter `scoring` into scorers with names."""
    if scoring is None:
        scoring = "accuracy" if task == "classification" else "r2"
    if isinstance(scoring, Mapping):
        if strangers := [name for name in scoring if not isinstance(name, str)]:
            raise ValueError(f"The names of scores must be str. Got {strangers[0]!r} instead.")
        scorers = {name: _scorer(scorer)[1] for name, scorer in scoring.items()}
    elif isinstance(scoring, (list, tuple)):
        scorers = dict(map(_scorer, scoring))
        if len(scorers) < len(scoring):
            raise ValueError(f"scoring must have different names. Got {list(scoring)} instead.")
    else:
        scorers = dict([_scorer(scoring)])
    if not scorers:
        raise ValueError(f"scoring must name at least one score. Got {scoring!r} instead.")
    return scorers


def _scorer(scoring):
    """Return the name and the scorer."""
    if isinstance(scoring, str):
        if scoring not in get_scorer_names():
            raise ValueError(
                f"scoring must be the name of a scikit-learn scorer. Got {scoring!r} instead."
                f"{did_you_mean(scoring, get_scorer_names())}"
            )
        return scoring, get_scorer(scoring)
    if not callable(scoring):
        raise ValueError(
            "scoring must be a name, a callable or None, or several of them in a list or a dictionary. "
            f"Got {scoring!r} instead."
        )
    if _is_metric(scoring):
        raise ValueError(
            f"scoring must be a scorer, which is called with (estimator, X, y). Got the metric {scoring.__name__} "
            f"instead, which is called with labels: write scoring=make_scorer({scoring.__name__})."
        )
    metric = getattr(scoring, "_score_func", scoring)
    return getattr(metric, "__name__", type(scoring).__name__), scoring


def _is_metric(scoring):
    if not hasattr(scoring, "__name__"):
        return False
    try:
        return next(iter(signature(scoring).parameters), None) == "y_true"
    except ValueError:  # some functions written in C have no signature
        return False
