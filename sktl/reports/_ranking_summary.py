"""A ranking of networks summed up: which one to take in one sentence, tables, notes, and how to read them."""

from __future__ import annotations

from typing import Any

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._text import digits_for, enumerated, first_of, number
from sktl.backbones.descriptions import never_saw_photographs
from sktl.displays.verdicts import interval, notes_on_groups
from sktl.reports._summary import Summary
from sktl.reports._table import Column, Table

__all__ = ["answer", "milliseconds", "summarize"]

LIMITS = (
    "This is about this data set and features of networks that stay as they are; fine-tuned, another network may be "
    "the best one (finalists=2)."
)
WITHOUT = {PIXELS: "without a network", RANDOM_WEIGHTS: "without pretraining"}


def summarize(ranking: Any) -> Any:
    """Put everything that is said of a ranking into words and tables."""
    rows, digits = ranking.rows(), digits_for(ranking.comparison.scores.values())
    tables = [_scores(ranking, rows, digits), _controls(ranking, digits), _facts(rows)]
    if tuned := ranking.fine_tuned():
        tables.append(_fine_tuned(ranking, tuned, digits))
    tone = "open" if ranking.level_controls else "good"
    return Summary(answer(ranking, digits), tables, _notes(ranking, digits), _captions(ranking), LIMITS, tone=tone)


def milliseconds(seconds):
    """Write the seconds of an image in milliseconds, with about two meaningful digits."""
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def answer(ranking, digits=3):
    """Say in a sentence which network to take, after one that says so where a control is level with the best one."""
    rows, group = {row.name: row for row in ranking.rows()}, ranking.leading_group
    best, taken = rows[ranking.leader], rows[ranking.recommended]
    cost = f"{milliseconds(taken.seconds_per_image)} ms per image"
    scores = f"{number(taken.mean, digits=digits)} in {ranking.scoring}"
    if len(rows) == 1:
        text = f"{best.name!r}, the only network, scores {scores}, with {cost}."
    elif len(group) == 1:
        text = f"Take {best.name!r}: it scores {scores}, clearly more than the other networks, with {cost}."
    elif taken is not best:
        text = (
            f"Take {taken.name!r}: it scores {scores}, with {cost}. That is within {ranking.comparison.rope:g} of the "
            f"best, {best.name!r} with {number(best.mean, digits=digits)} and "
            f"{milliseconds(best.seconds_per_image)} ms.{_cheaper(ranking, rows, digits)}"
        )
    elif ranking.cheapest == best.name:
        others = [name for name in group if name != best.name]
        text = (
            f"Take {best.name!r}: it scores {scores}, with {cost}, and none of the networks that these images cannot "
            f"tell from it ({enumerated(others)}) is clearly cheaper."
        )
    else:
        text = f"Take {best.name!r}: it scores best, {scores}, with {cost}.{_cheaper(ranking, rows, digits)}"
    return " ".join([*_level(ranking, digits), text])


def _cheaper(ranking, rows, digits):
    """Say which network of the leading group is cheaper than the one to take, and what it may cost in score."""
    if (cheapest := rows[ranking.cheapest]).name == ranking.recommended:
        return ""
    less = number(rows[ranking.leader].mean - cheapest.mean, digits=digits)
    return (
        f" These images cannot tell {len(ranking.leading_group)} networks apart: where time counts more, the "
        f"cheapest of them, {cheapest.name!r} with {milliseconds(cheapest.seconds_per_image)} ms, scores {less} less "
        "than the best."
    )


def _level(ranking, digits):
    """Say which controls the best network does not clearly beat: before anything else."""
    leader = next(row for row in ranking.rows() if row.name == ranking.leader)
    for row in ranking.controls():
        if row.candidate in ranking.level_controls:
            word = "beats" if row.low > 0 else "is level with" if row.difference >= 0 else "may be level with"
            known = "" if row.low != row.low else f" (95 % interval {interval(row.low, row.high, digits)})"
            yield (
                f"{WITHOUT[row.candidate].capitalize()}, {row.candidate!r} {word} the best network, {leader.name!r}: "
                f"{number(row.mean, digits=digits)} beside {number(leader.mean, digits=digits)}, "
                f"{number(row.difference, sign=True, digits=digits)}{known}."
            )


def _scores(ranking, rows, digits):
    def written(row, text):
        return "" if row.difference is None else "–" if row.low != row.low else text

    gains = ["" if row.difference is None else number(row.difference, True, digits) for row in rows]
    return Table(
        [
            Column("network", [row.name for row in rows], "words"),
            Column("leading group", [_place(ranking, row) for row in rows], "words"),
            Column(ranking.scoring, [number(row.mean, digits=digits) for row in rows]),
            Column("SD", [number(row.sd, digits=digits) for row in rows], leaves=1),
            Column("to the leader", gains, leaves=2),
            Column("interval (all pairs)", [written(row, interval(row.low, row.high, digits)) for row in rows]),
            Column("ms per image", [milliseconds(row.seconds_per_image) for row in rows]),
        ]
    )


def _facts(rows):
    top1 = ["" if row.top1 is None else f"{row.top1:.1f} %" for row in rows]
    sizes = ["" if row.n_parameters is None else f"{row.n_parameters:,}" for row in rows]
    licences = [row.license.partition(" (")[0] for row in rows]
    columns = [
        Column("1-NN", [number(row.nearest_neighbour) for row in rows]),
        Column("LogME", [number(row.log_me) for row in rows]),
        Column("published top-1", top1, leaves=3),
        Column("parameters", sizes, leaves=2),
        Column("pixels", [str(row.image_size) for row in rows], leaves=1),
        Column("licence", licences, "words", leaves=4),
    ]
    names = Column("network", [row.name for row in rows], "words")
    return Table([names, *(column for column in columns if any(column.cells))])


def _place(ranking, row):
    marks = [
        word for word, name in (("leader", ranking.leader), ("recommended", ranking.recommended)) if row.name == name
    ]
    return ", ".join(marks) or ("yes" if row.in_leading_group else "no")


def _controls(ranking, digits):
    rows = ranking.controls()
    return Table(
        [
            Column("control", [row.candidate for row in rows], "words"),
            Column(ranking.scoring, [number(row.mean, digits=digits) for row in rows]),
            Column("SD", [number(row.sd, digits=digits) for row in rows], leaves=1),
            Column("to the leader", [number(row.difference, True, digits) for row in rows]),
            Column("95 % interval", [interval(row.low, row.high, digits) for row in rows]),
        ]
    )


def _fine_tuned(ranking, rows, digits):
    reasons = {row.candidate: reason for row, reason in zip(rows, ranking.finalists.values(), strict=False)}
    return Table(
        [
            Column("finalist", [row.candidate for row in rows], "words"),
            Column(ranking.scoring, [number(row.mean, digits=digits) for row in rows]),
            Column("to the leader as it is", [number(row.difference, True, digits) for row in rows]),
            Column("95 % interval", [interval(row.low, row.high, digits) for row in rows]),
            Column("fit s", [f"{row.fit_seconds:.1f}" for row in rows]),
            Column("chosen as", [reasons[row.candidate] for row in rows], "long"),
        ]
    )


def _notes(ranking, digits):
    comparison = ranking.comparison
    notes = [*_choice(ranking, digits), *_chance(ranking)]
    if ranking.finalists:
        notes += _best_finalist(ranking, digits)
    settings = comparison.settings
    notes += _photographs(ranking)
    notes += [
        f"{run.candidate!r} failed on split {run.split + 1} and is left out: {run.error}" for run in comparison.failures
    ]
    notes += [
        f"{name!r} is on this machine and cannot be loaded: {reason}" for name, reason in ranking.left_out.items()
    ]
    if bad := comparison.bad_images:
        notes.append(
            f"{len(bad):,} of {len(comparison.y):,} images could not be read and are left out: {first_of(bad)}."
        )
    if comparison.n_splits < 2:
        notes.append("One split says nothing about the spread, so that no network can be told from another: use cv=5.")
    if warning := settings.get("near_duplicates"):
        notes.append(warning)
    notes += notes_on_groups(comparison)
    if settings.get("control") is None:
        notes.append("No control with random weights: none of the networks has pretrained ones that can be drawn anew.")
    return notes


def _choice(ranking, digits):
    """Say what the best network scores where its having been chosen is allowed for."""
    found, leader = ranking.corrected, ranking.rows()[0]
    if found is None:
        return []
    return [
        f"{leader.name!r} was chosen for its score, which may flatter it: on images that had no part in the choice the "
        f"best of these networks scores {number(found.score, digits=digits)} (95 % interval "
        f"{number(found.low, digits=digits)} to {number(found.high, digits=digits)})."
    ]


def _photographs(ranking):
    """Say that the cheapest network has never seen a photograph, and which others of the ranking have."""
    comparison, cheapest = ranking.comparison, ranking.recommended
    networks = {name: comparison.runs_of(name)[0].network for name in ranking.networks}
    know = [name for name, one in networks.items() if not never_saw_photographs(one["name"], one["weights"])]
    if not comparison.settings.get("photographs") or cheapest in know:
        return []
    if not know:
        return [comparison.settings["photographs"]]
    return [
        f"{cheapest!r} has never seen a photograph: on photographs a network that knows them, such as {know[0]!r}, is "
        "nearly always better."
    ]


def _chance(ranking):
    if not ranking.comparison.baseline_at_chance:
        return []
    return [
        f"{ranking.leader!r} is not clearly better than chance level ({CHANCE_LEVEL!r}), so the order means little."
    ]


def _best_finalist(ranking, digits):
    tuned = ranking.fine_tuned()
    if not tuned:
        return []
    best = max(tuned, key=lambda row: row.mean)
    known = "" if best.low != best.low else f" (95 % interval {interval(best.low, best.high, digits)})"
    return [
        f"Of the finalists {best.candidate!r} is the best: {number(best.mean, digits=digits)}, "
        f"{number(best.difference, sign=True, digits=digits)}{known} beside {ranking.leader!r} as it is."
    ]


def _captions(ranking):
    n_splits, twin = ranking.comparison.n_splits, ranking.comparison.settings.get("control")
    random = "" if twin is None else f" {RANDOM_WEIGHTS}: {twin!r} with random weights."
    return [
        f"{ranking.scoring}: of a linear model on the features of all stages, mean over {n_splits} test folds (greater "
        "is better). interval (all pairs): of the difference to the leader, so wide that those of all pairs of "
        "networks hold at once with 95 % (Bonferroni), since the leader was chosen for being the best. Leading group: "
        "where it does not leave out zero. recommended: of its networks that score within "
        f"{ranking.comparison.rope:g} of the leader the one with the fewest ms; of those within 20 % of that the "
        "one that scores best.",
        "ms per image: from the file to the vector, on this machine. 1-NN: score of the most similar other image. "
        "LogME: log evidence of a linear model. Published top-1: on ImageNet-1k. Parameters: of the network without "
        f"its classifier. Pixels: side of what it saw.{random}",
    ]
