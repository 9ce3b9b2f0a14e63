"""A recommended strategy summed up: the answer in one sentence, what it rests on, and what would change it."""

from __future__ import annotations

from typing import Any

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._text import digits_for, enumerated, first_of, number, seconds
from sktl.displays.verdicts import interval, notes_on_groups
from sktl.reports._summary import Summary
from sktl.reports._table import Column, Table

__all__ = ["summarize"]

LIMITS = "This is about this data set, this network and these recipes; it is not a statement about other data."
SIMPLE = {PIXELS: "pixels", RANDOM_WEIGHTS: "all stages, random weights", CHANCE_LEVEL: "chance level"}
WITHOUT = {
    PIXELS: "a linear model on small pictures, which needs no network",
    RANDOM_WEIGHTS: "frozen features of random weights, which need no pretraining",
    CHANCE_LEVEL: "chance level",
}


def summarize(result: Any) -> Any:
    """Put everything that is said of a recommendation into words and tables."""
    digits = digits_for(result.comparison.scores.values())
    tables = [_strategies(result, digits), _stages(result, digits), _labels(result, digits)]
    return Summary(_answer(result, digits), tables, _notes(result, digits), _captions(result), LIMITS)


def _answer(result, digits):
    """Say what to do, what it scores, and what it costs."""
    row = {one.strategy: one for one in result.rows()}[result.recommended]
    words = f"{row.words[0].upper()}{row.words[1:]}"
    against = ""
    if row.strategy != "frozen":
        against = f", {_gain(result, row.strategy, 'frozen', digits)} over frozen features of all stages"
    cost = f"about {_seconds(row.seconds)} s to fit on all images"
    return f"{words}: {result.comparison.scoring} {number(row.mean, digits=digits)}{against}; {cost}."


def _gain(result, name, other, digits):
    """Write what one strategy gains over another one, with its interval."""
    row = result.against(other)[name]
    known = "" if row.low != row.low else f" (95 % interval {interval(row.low, row.high, digits)})"
    return f"{number(row.difference, sign=True, digits=digits)}{known}"


def _strategies(result, digits):
    """Tabulate the strategies: of the frozen ones the first, and the recommended one."""
    shown = [row for row in result.rows() if row.kind != "frozen" or row.strategy in ("frozen", result.recommended)]
    folds = [(row.predicted_seconds, row.measured_seconds) for row in shown]
    chosen = [" ←" if row.strategy == result.recommended else "" for row in shown]
    return Table(
        [
            Column("strategy", [f"{row.strategy}{mark}" for row, mark in zip(shown, chosen, strict=True)], "words"),
            Column(result.comparison.scoring, [number(row.mean, digits=digits) for row in shown]),
            Column("difference", _empty_or(lambda row: number(row.difference, sign=True, digits=digits), shown)),
            Column("95 % interval", _empty_or(lambda row: interval(row.low, row.high, digits), shown)),
            Column("fit s", [_seconds(row.seconds) for row in shown]),
            Column("folds s, predicted", ["" if one is None else _seconds(one) for one, _ in folds], leaves=2),
            Column("measured", ["" if one is None else _seconds(one) for _, one in folds], leaves=1),
            Column("", ["not tried" if row.not_tried else "" for row in shown], "words", leaves=3),
        ]
    )


def _seconds(value):
    return "–" if value != value else seconds(value)


def _empty_or(write, rows):
    return ["" if row.difference is None else write(row) for row in rows]


def _stages(result, digits):
    """Tabulate what the features of each stage score, by pooling, and what is without pretraining."""
    scores = result.comparison.scores
    frozen = [one for one in result.strategies if one.kind == "frozen"]
    means = {(one.stages, one.pooling): scores[one.name].mean() for one in frozen if one.name in scores}
    every = frozen[0].stages
    stages = [*((name,) for name in every if len(every) > 1), every]
    simple = {name: words for name, words in SIMPLE.items() if name in scores}
    names = ["all stages" if stage == every else stage[0] for stage in stages]
    columns = [Column("features of", [*names, *simple.values()], "words")]
    for pooling in ("avg", "avg+std"):
        cells = [number(means.get((stage, pooling)), digits=digits) for stage in stages]
        plain = [number(scores[name].mean(), digits=digits) if pooling == "avg+std" else "" for name in simple]
        columns.append(Column(pooling, [*cells, *plain]))
    return Table(columns)


def _labels(result, digits):
    curve = result.labels
    return Table(
        [
            Column("labels", [f"{n:,.0f}" for n in curve.n_labels]),
            Column("frozen", [number(row.mean(), digits=digits) for row in curve.scores]),
        ]
    )


def _notes(result, digits):
    comparison = result.comparison
    notes = [*_simple(result, digits), _level(result, digits), _chosen(result, digits)]
    notes += [_place(result), _labels_or_tuning(result, digits)]
    if result.untried:
        notes.append(f"Not tried: {first_of(f'{name!r} ({why})' for name, why in result.untried.items())}.")
    notes += [_textbook(result, digits)]
    notes += [comparison.settings.get("photographs"), comparison.settings.get("near_duplicates")]
    notes += notes_on_groups(comparison)
    notes += [f"{run.candidate!r} failed and is left out: {run.error}" for run in comparison.failures]
    if bad := comparison.bad_images:
        notes.append(f"{len(bad):,} images could not be read and are left out: {first_of(bad)}.")
    if comparison.n_splits < 2:
        notes.append("One split says nothing about the spread, so that no strategy can be told from another: use cv=5.")
    return [str(note) for note in notes if note]


def _simple(result, digits):
    """Say what has no network, or no pretraining, and may do as well; chance level alone, if it is among them."""
    name, scores = result.recommended, result.comparison.scores
    level = [one for one in WITHOUT if one in scores and not _is_better(result.against(one)[name], result)]
    for one in [CHANCE_LEVEL] if CHANCE_LEVEL in level else level:
        means = [number(scores[which].mean(), digits=digits) for which in (name, one)]
        text = f"{name!r} is not clearly better than {one!r} ({WITHOUT[one]}): {' beside '.join(means)}"
        yield f"{text}, {_gain(result, name, one, digits)}."


def _is_better(row, result):
    """Whether the interval leaves out zero, or, where all folds differ alike, the difference is beyond the rope."""
    return row.low > 0 if row.low == row.low else row.difference > result.comparison.rope


def _level(result, digits):
    """Say which strategies the data do not tell from the best one, and what the best would gain and cost."""
    if len(result.level) < 2:
        return None
    best = max(result.level, key=lambda name: result.comparison.scores[name].mean())
    others = enumerated([name for name in result.level if name != best], most=9)
    text = f"These data do not tell {others} from {best!r}, which scores best; the cheapest of them is recommended"
    if best == result.recommended:
        return f"{text}. More images, or n_repeats, would tell them apart."
    less, more = (_seconds(result.costs[name].fit) for name in (result.recommended, best))
    gain = _gain(result, best, result.recommended, digits)
    tell = "more images, or n_repeats, would tell them apart"
    return f"{text}. {best!r} has {gain} for {more} s instead of {less} s; {tell}."


def _chosen(result, digits):
    """Say what the best score is worth once it is known to have been chosen."""
    found = result.corrected
    if found is None:
        return "The best score was chosen among several on the same folds, so that it is rather too high."
    before, after, low, high = (
        number(value, digits=digits) for value in (found.uncorrected, found.score, found.low, found.high)
    )
    return (
        f"The best of {len(found.chosen)} scores was chosen on the folds that it was measured on: it is {before}, and "
        f"{after} (95 % interval {low} to {high}) once corrected for that (BBC-CV)."
    )


def _place(result):
    """Say where the information sits."""
    every = next(one.stages for one in result.strategies if one.kind == "frozen")
    if len(every) == 1:
        return None
    text = f"Of single stages {result.peak!r} has the best features, "
    if result.peak == every[-1]:
        return f"{text}the top one: there is no sign that stages below it need training."
    return f"{text}and not the top one, {every[-1]!r}: those above it may need training."


def _labels_or_tuning(result, digits):
    """Say whether more labels would help more than training does."""
    curve, comparison = result.labels, result.comparison
    if len(curve.n_labels) < 2:
        return None
    known = "" if curve.low != curve.low else f" (95 % interval {interval(curve.low, curve.high, digits)})"
    first, last = (f"{n:,.0f}" for n in curve.n_labels[-2:])
    gain = number(curve.gain, sign=True, digits=digits)
    text = f"Labels or training: from {first} to {last} labels the frozen network gained {gain}{known}"
    trained = [one.name for one in result.strategies if one.kind == "fine-tuned" and one.name in comparison.scores]
    if not trained:
        return f"{text}."
    best = max(trained, key=lambda name: comparison.scores[name].mean())
    tuning = result.against("frozen")[best]
    text += f"; training ({best!r}) gained {_gain(result, best, 'frozen', digits)} with the labels that there are"
    clear = {"more labels": curve.gain} if curve.low > 0 else {}
    clear |= {"training": tuning.difference} if tuning.low > 0 else {}
    if not clear:
        return f"{text}. Both may be chance."
    return f"{text}. Clear is what {max(clear, key=clear.get)} gained{', the greater' if len(clear) > 1 else ''}."


def _textbook(result, digits):
    """Print the folklore's cell beside what was measured."""
    cell = result.quadrant
    if cell.similarity is None:
        return None
    what = f"this is {cell.size} and {cell.similarity}"
    share = f"pretraining gains {cell.gain:.0%} of what pixels and random weights leave to be gained"
    says = f"{cell.textbook}" if cell.textbook else "no rule for that"
    return f"Textbook: {what} ({share}): {says}. Your data say: {result.strategy().words}."


def _captions(result):
    comparison = result.comparison
    return [
        f"{comparison.scoring}: mean over {comparison.n_splits} test folds (greater is better). difference: to "
        f"{result.recommended!r} on the same folds. Recommended (←) is the cheapest strategy that these data do "
        f"not tell from the best, or that scores within {comparison.rope:g} of it. 'frozen' stands for all choices of "
        "stages and pooling unless one is clearly better, whatever their number (Holm).",
        "fit s: predicted seconds to fit once on all images. folds s: of all fits and predictions here, predicted "
        "before any of them, and measured.",
        f"features of: a linear model on frozen features; 'frozen' is that of all stages with avg+std. "
        f"{seconds(result.spent)} s of a budget of {seconds(result.budget)} s were spent.",
    ]
