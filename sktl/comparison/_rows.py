"""One candidate of a comparison, summed up: its scores, its costs, and what its difference to the baseline is worth."""

from dataclasses import dataclass, replace

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL
from sktl._statistics import corrected_interval, corrected_p_value, correlated_t_probabilities, decide, holm
from sktl.comparison._per_image import image_interval

__all__ = ["ComparisonRow", "make_rows"]


@dataclass(frozen=True)
class ComparisonRow:
    """One candidate of a comparison, summed up.

    Parameters
    ----------
    candidate : str
        Its name.
    mean, sd : float
        Mean of the score over the splits, and standard deviation over the splits (not a standard error).
    fit_seconds, predict_seconds : float
        Mean time per split, reading images and embedding them included.
    n_trained_parameters : int or None
        Number of network parameters that were trained; None where the candidate does not tell.
    difference : float or None, default=None
        Mean score minus that of the baseline, on the same splits; this and what follows up to `splits_won` is None for
        the baseline.
    low, high : float or None, default=None
        Corrected 95 % interval of the difference; NaN where all differences are equal, or there is but one.
    worse, equal, better : float or None, default=None
        Probabilities that the true difference is below -rope, within, above rope; NaN likewise.
    splits_won : int or None, default=None
        On how many splits it beat the baseline.
    verdict : str, default="baseline"
        "transfer helps", "negative transfer", "practically equal" or "undecided"; "better" and "worse" where the
        difference is not one between transfer and no transfer; "baseline".
    n_parameters : int or None, default=None
        Number of network parameters that the fitted candidate has to keep; None without a network.
    n_images_through_network : float or None, default=None
        Images sent through the network, mean per split; None without a network.
    peak_memory : int or None, default=None
        Highest resident memory of the process over all splits, in bytes; None where it cannot be known.
    p_value : float or None, default=None
        Two-sided p-value of the corrected t-test of no difference to the baseline; NaN and None as for `low`.
    p_value_holm : float or None, default=None
        The same, corrected by Holm's method for the number of candidates that are compared with the baseline.
    image_difference, image_low, image_high : float or None, default=None
        Secondary and descriptive: difference in the share of images predicted correctly, image by image, averaged over
        repeats, and its 95 % interval over the images. It leaves out that other training images would have given other
        models. None for regression.

    See Also
    --------
    TransferComparison.rows : Makes them.

    Examples
    --------
    >>> from sktl.comparison import ComparisonRow
    >>> row = ComparisonRow("from_scratch", 0.6, 0.02, fit_seconds=27, predict_seconds=0.1, n_trained_parameters=692482)
    >>> row.verdict
    'baseline'
    """

    candidate: str
    mean: float
    sd: float
    fit_seconds: float
    predict_seconds: float
    n_trained_parameters: int | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    worse: float | None = None
    equal: float | None = None
    better: float | None = None
    splits_won: int | None = None
    verdict: str = "baseline"
    n_parameters: int | None = None
    n_images_through_network: float | None = None
    peak_memory: int | None = None
    p_value: float | None = None
    p_value_holm: float | None = None
    image_difference: float | None = None
    image_low: float | None = None
    image_high: float | None = None


def make_rows(comparison):
    """Sum up every candidate."""
    rows = [_row(comparison, name) for name in comparison.candidates]
    adjusted = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return [row if row.p_value is None else replace(row, p_value_holm=next(adjusted)) for row in rows]


def _row(comparison, name):
    measured = {"candidate": name, **_measured(comparison, name)}
    if name == comparison.baseline:
        return ComparisonRow(**measured)
    differences, n_train, n_test = comparison.differences(name), comparison.n_train, comparison.n_test
    low, high = corrected_interval(differences, n_train, n_test)
    probabilities = correlated_t_probabilities(differences, n_train, n_test, comparison.rope)
    image_difference, image_low, image_high = image_interval(comparison, name)
    return ComparisonRow(
        **measured,
        difference=float(differences.mean()),
        low=low,
        high=high,
        worse=probabilities[0],
        equal=probabilities[1],
        better=probabilities[2],
        splits_won=int(np.sum(differences > 0)),
        verdict=_verdict(comparison, name, probabilities),
        p_value=corrected_p_value(differences, n_train, n_test),
        image_difference=image_difference,
        image_low=image_low,
        image_high=image_high,
    )


def _measured(comparison, name):
    runs, scores = comparison.runs_of(name), comparison.scores[name]

    def known(field):
        return [value for run in runs if (value := getattr(run, field)) is not None]

    passes, memory = known("n_images_through_network"), known("peak_memory")
    return {
        "mean": float(np.mean(scores)),
        "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan"),
        "fit_seconds": float(np.mean(known("fit_seconds"))),
        "predict_seconds": float(np.mean(known("predict_seconds"))),
        "n_trained_parameters": runs[0].n_trained_parameters,
        "n_parameters": runs[0].n_parameters,
        "n_images_through_network": float(np.mean(passes)) if passes else None,
        "peak_memory": max(memory) if memory else None,
    }


def _verdict(comparison, name, probabilities):
    verdict, transfer = decide(probabilities), comparison.transfer
    if transfer[name] and not transfer[comparison.baseline] and comparison.baseline != CHANCE_LEVEL:
        return {"better": "transfer helps", "worse": "negative transfer"}.get(verdict, verdict)
    return verdict
