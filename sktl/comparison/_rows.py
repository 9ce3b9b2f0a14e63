"""One candidate of a comparison, summed up: its scores, its costs, and what its difference to the baseline is worth."""

from dataclasses import replace

import numpy as np

from sktl._costs import COSTS
from sktl._score_bounds import possible_difference
from sktl._statistics import holm
from sktl.comparison._controls import has_network
from sktl.comparison._per_image import image_interval
from sktl.comparison._records import ComparisonRow
from sktl.comparison.difference import mean_difference

__all__ = ["make_rows"]


def make_rows(comparison):
    """Sum up every candidate."""
    rows = [_row(comparison, name) for name in comparison.candidates]
    adjusted = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return [row if row.p_value is None else replace(row, p_value_holm=next(adjusted)) for row in rows]


def _row(comparison, name):
    measured = {"candidate": name, **_measured(comparison, name)}
    if name == comparison.baseline:
        return ComparisonRow(**measured)
    differences, found = comparison.differences(name), mean_difference(comparison, name, comparison.baseline)
    low, high = possible_difference(comparison, found.interval())
    probabilities = found.probabilities(comparison.rope)
    image_difference, image_low, image_high = image_interval(comparison, name, comparison.baseline)
    return ComparisonRow(
        **measured,
        difference=float(differences.mean()),
        low=low,
        high=high,
        worse=probabilities[0],
        equal=probabilities[1],
        better=probabilities[2],
        splits_won=int(np.sum(differences > 0)),
        verdict=_verdict(comparison, name, found.verdict(comparison.rope)),
        p_value=found.p_value(),
        interval=found.kind,
        image_difference=image_difference,
        image_low=image_low,
        image_high=image_high,
    )


def _measured(comparison, name):
    runs, scores = comparison.runs_of(name), comparison.scores[name]
    costs = {field: cost.over_splits([getattr(run, field) for run in runs]) for field, cost in COSTS.items()}
    sd = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
    return {"mean": float(np.mean(scores)), "sd": sd, **costs}


def _verdict(comparison, name, verdict):
    transfer, baseline = comparison.transfer, comparison.baseline
    if transfer[name] and not transfer[baseline] and has_network(comparison, baseline):
        return {"better": "transfer helps", "worse": "negative transfer"}.get(verdict, verdict)
    return verdict
