"""Between which two numbers a score lies, where that is known: an interval cannot reach beyond them.

Cutting an interval off there costs no confidence, since what is cut off cannot be the truth.
"""

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names

__all__ = ["bounds_of_scorers", "possible_difference", "possible_score"]

UNKNOWN = (-np.inf, np.inf)
SHARE, CORRELATION, ERROR, AT_MOST_ONE = (0.0, 1.0), (-1.0, 1.0), (0.0, np.inf), (-np.inf, 1.0)
METRICS = {  # by the name of the function in sklearn.metrics
    **dict.fromkeys(("accuracy_score", "balanced_accuracy_score", "top_k_accuracy_score"), SHARE),
    **dict.fromkeys(("f1_score", "fbeta_score", "precision_score", "recall_score", "jaccard_score"), SHARE),
    **dict.fromkeys(("roc_auc_score", "average_precision_score", "zero_one_loss", "hamming_loss"), SHARE),
    **dict.fromkeys(("matthews_corrcoef", "cohen_kappa_score"), CORRELATION),
    "brier_score_loss": (0.0, 2.0),
    **dict.fromkeys(("r2_score", "explained_variance_score", "d2_absolute_error_score"), AT_MOST_ONE),
    **dict.fromkeys(("d2_log_loss_score", "d2_brier_score", "d2_pinball_score", "d2_tweedie_score"), AT_MOST_ONE),
    **dict.fromkeys(("log_loss", "max_error", "mean_absolute_error", "median_absolute_error"), ERROR),
    **dict.fromkeys(("mean_squared_error", "root_mean_squared_error", "mean_absolute_percentage_error"), ERROR),
    **dict.fromkeys(("mean_squared_log_error", "root_mean_squared_log_error"), ERROR),
    **dict.fromkeys(("mean_poisson_deviance", "mean_gamma_deviance"), ERROR),
}
RESCALED_BY = {"adjusted", "normalize"}  # arguments that give a metric another range


def bounds_of_scorers(scorers):
    """Return the least and the greatest value that each scorer may give, by its name; infinite where not known."""
    return {name: _bounds_of(scorer) for name, scorer in scorers.items()}


def _bounds_of(scorer):
    metric, sign = getattr(scorer, "_score_func", None), getattr(scorer, "_sign", 1)
    name = getattr(metric, "__name__", None) if getattr(metric, "__module__", "").startswith("sklearn.") else None
    if RESCALED_BY & getattr(scorer, "_kwargs", {}).keys():
        return UNKNOWN
    low, high = METRICS.get(name, UNKNOWN)
    return (low, high) if sign > 0 else (0 - high, 0 - low)


def possible_score(comparison, interval):
    """Cut an interval of a mean score off where the score cannot lie; one of NaN stays."""
    return tuple(float(end) for end in np.clip(interval, *_known_bounds(comparison)))


def possible_difference(comparison, interval):
    """Cut an interval of a difference off where that of two such scores cannot lie; one of NaN stays."""
    low, high = _known_bounds(comparison)
    return tuple(float(end) for end in np.clip(interval, low - high, high - low))


def _known_bounds(comparison):
    """Return the bounds of the main score, as recorded, or by the name that scikit-learn has for it.

    A score outside them shows that the name stands for something else.
    """
    metric = comparison.scoring
    bounds = comparison.settings.get("score_bounds", {}).get(metric)
    if bounds is None:
        bounds = _bounds_of(get_scorer(metric)) if metric in get_scorer_names() else UNKNOWN
    values = np.concatenate(list(comparison.scores.values()))
    return bounds if bounds[0] <= values.min() and values.max() <= bounds[1] else UNKNOWN
