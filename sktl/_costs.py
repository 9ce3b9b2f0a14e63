"""What a fit costs: every figure that is kept, how it is summed up over the splits, and how it is shown.

A cost is one entry here, one field of FitRecord and of ComparisonRow, and one measurement.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["COSTS", "Cost"]

UNITS = {"": 1, "s": 1, "MB": 10**6}  # what one of the unit is, in that of FitRecord


def mean(values):
    """Average what is known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def largest(values):
    """Take the greatest that is known."""
    return max((value for value in values if value is not None), default=None)


def first(values):
    """Take that of the first split: all are the same."""
    return values[0]


@dataclass(frozen=True)
class Cost:
    """One figure of what a fit costs."""

    title: str  # of its column in a table
    label: str  # of its axis in a plot
    over_splits: Callable = mean
    unit: str = ""  # one of UNITS
    explained: str = ""  # what the column means, below the table
    beside_scores: bool = False  # in the main table rather than in the second one
    needs_network: bool = False  # a candidate without a network then costs nothing, where others do not tell
    leaves: int = 1  # when its column leaves a narrow terminal: the least first, 0 never

    def in_unit(self, value):
        """Return a value that was kept in the unit that is shown."""
        return value / UNITS[self.unit]


COSTS = {
    "fit_seconds": Cost("fit s", "seconds to fit, per split", unit="s", beside_scores=True, leaves=5),
    "predict_seconds": Cost("predict s", "seconds to predict, per split", unit="s", beside_scores=True),
    "n_images_through_network": Cost(
        "images through network",
        "images through the network, per split",
        explained="images through network: forward passes of images per fold, fit and test; what the store has is not "
        "computed again.",
        needs_network=True,
        leaves=0,
    ),
    "n_parameters": Cost(
        "parameters kept",
        "network parameters kept",
        over_splits=first,
        explained="parameters kept: of the network.",
        needs_network=True,
        leaves=4,
    ),
    "n_trained_parameters": Cost(
        "trained", "network parameters trained", over_splits=first, beside_scores=True, leaves=2
    ),
    "peak_memory": Cost(
        "peak memory MB",
        "peak memory in MB",
        over_splits=largest,
        unit="MB",
        explained="peak memory: highest of the whole process.",
        leaves=3,
    ),
}
