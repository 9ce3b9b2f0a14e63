"""A comparison summed up: the verdict in one sentence, tables of scores and costs, notes, and what the columns mean."""

from __future__ import annotations

from typing import Any

from sktl._costs import COSTS
from sktl._text import digits_for, number, seconds
from sktl.displays.verdicts import interval, sentence, tone
from sktl.reports._summary import WIDEST, Summary
from sktl.reports._table import Column, Table

__all__ = ["summarize"]

LIMITS = "This is about this data set and this recipe; it is not a statement about other data."
P_VALUES = (
    "p: two-sided, of no difference, by the t-test that the interval goes with. p Holm: the same, corrected for the "
    "number of candidates (Holm)."
)
IMAGE_BY_IMAGE = (
    "image by image: descriptive only. Difference in the share of images predicted correctly, with its 95 % interval "
    "over the images; it leaves out that other training images give other models."
)

INTERVALS = {
    "crossed": "allows for which images were tested and for the luck of each training: where the difference on further "
    "images of this kind may well lie, for models trained on this data set; luck that all trainings on it share is "
    "left out.",
    "corrected": "allows for training images that the folds share (Nadeau and Bengio): where the true difference may "
    "well lie.",
}


def summarize(comparison: Any) -> Any:
    """Put everything that is said of a comparison into words and tables."""
    rows, digits = comparison.rows(), _digits(comparison)
    names = Column("candidate", [row.candidate for row in rows], "words")
    costs = _cost_columns(rows)
    scores = [
        Column(comparison.scoring, [number(row.mean, digits=digits) for row in rows]),
        Column("SD", [number(row.sd, digits=digits) for row in rows], leaves=4),
    ]
    beside = [costs[name] for name, cost in COSTS.items() if cost.beside_scores]
    others = [costs[name] for name, cost in COSTS.items() if not cost.beside_scores]
    tables = [Table([names, *scores, *beside, *_difference_columns(rows, digits)])]
    second = [column for column in [*_p_columns(rows), *others, *_image_columns(rows)] if any(column.cells)]
    if second:
        tables.append(Table([names, *second]))
    tables += _other_scores(comparison, names)
    texts = sentence(comparison), tables, comparison.notes(), _captions(comparison), LIMITS
    return Summary(*texts, tone=tone(comparison))


def _digits(comparison, metric=None):
    return digits_for(comparison.scores_of(metric or comparison.scoring).values())


def _cost_columns(rows):
    explained = " ".join(
        cost.explained
        for name, cost in COSTS.items()
        if cost.explained and any(getattr(row, name) is not None for row in rows)
    )
    return {
        name: Column(
            cost.title,
            [_cost(cost, getattr(row, name)) for row in rows],
            leaves=cost.leaves,
            explained=explained if cost.explained else "",
            is_cost=True,
        )
        for name, cost in COSTS.items()
    }


def _cost(cost, value):
    if value is None:
        return ""
    return seconds(value) if cost.unit == "s" else f"{cost.in_unit(value):,.0f}"


def _difference_columns(rows, digits):
    def cells(write):
        return ["" if row.difference is None else "–" if row.low != row.low else write(row) for row in rows]

    gains = ["" if row.difference is None else number(row.difference, sign=True, digits=digits) for row in rows]
    odds = cells(lambda row: " / ".join(f"{100 * p:.0f} %" for p in (row.worse, row.equal, row.better)))
    return [
        Column("difference", gains),
        Column("95 % interval", cells(lambda row: interval(row.low, row.high, digits))),
        Column("worse / equal / better", odds, leaves=3),
        Column("verdict", [row.verdict for row in rows], "words"),
    ]


def _p_columns(rows):
    return [
        Column("p", [_p_value(row.p_value) for row in rows]),
        Column("p Holm", [_p_value(row.p_value_holm) for row in rows], explained=P_VALUES),
    ]


def _image_columns(rows):
    """Make the columns of what holds image by image."""
    gains = ["" if row.image_difference is None else number(row.image_difference, sign=True) for row in rows]
    intervals = ["" if row.image_low is None else interval(row.image_low, row.image_high) for row in rows]
    return [
        Column("image by image", gains, leaves=2, explained=IMAGE_BY_IMAGE),
        Column("95 % of the images", intervals, leaves=1),
    ]


def _p_value(value):
    return "" if value is None else "<0.001" if value < 0.0005 else number(value)


def _other_scores(comparison, names):
    """Tabulate the other scores with their differences, in as many tables as the width asks for."""
    tables = []
    for metric in comparison.metrics[1:]:
        digits, scores = _digits(comparison, metric), comparison.scores_of(metric)
        gains = {name: number(comparison.differences(name, metric).mean(), sign=True, digits=digits) for name in scores}
        gains[comparison.baseline] = ""
        columns = [
            Column(metric, [number(values.mean(), digits=digits) for values in scores.values()]),
            Column("difference", list(gains.values())),
        ]
        wide = sum(2 + len(title) for title in (tables[-1].header[1:] if tables else [])) + len(metric) + 14
        if not tables or max(map(len, names.cells)) + wide > WIDEST:
            tables.append(Table([names]))
        tables[-1] = Table([*tables[-1].columns, *columns])
    return tables


def _captions(comparison):
    n, rope = comparison.n_splits, comparison.rope
    return [
        f"{comparison.scoring}: mean over {n} test folds (greater is better). SD: standard deviation over the folds, "
        "not a standard error. Seconds: mean per fold.",
        f"difference: to {comparison.baseline!r} on the same folds. {_about_intervals(comparison)}",
        f"worse / equal / better: probability that the true difference is below -{rope:g}, within ±{rope:g}, above "
        f"{rope:g}. A verdict of better or worse needs an interval that leaves out zero and a difference beyond "
        f"±{rope:g}; that of being equal needs 95 %.",
    ]


def _about_intervals(comparison):
    """Say what the intervals allow for, by their names, and whose they are where there are two kinds."""
    names: dict[str, list[str]] = {}
    for row in comparison.rows():
        names.setdefault(row.interval or "", []).append(repr(row.candidate))
    kinds = [kind for kind in INTERVALS if kind in names]
    whose = {kind: f" of {', '.join(names[kind])}" if len(kinds) > 1 else "" for kind in kinds}
    return " ".join(f"The interval{whose[kind]} ({kind}) {INTERVALS[kind]}" for kind in kinds)
