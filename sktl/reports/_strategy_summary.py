"""A recommended strategy summed up: the answer in one sentence, what it rests on, and what would change it."""

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._text import digits_for, enumerated, first_of, number, seconds
from sktl.displays.verdicts import interval
from sktl.reports._summary import Summary
from sktl.reports._table import Column, Table

__all__ = ["summarize"]

LIMITS = "This is about this data set, this network and these recipes; it is not a statement about other data."
SIMPLE = {PIXELS: "pixels", RANDOM_WEIGHTS: "all stages, random weights", CHANCE_LEVEL: "chance level"}


def summarize(result):
    """Put everything that is said of a recommendation into words and tables."""
    digits = digits_for(result.comparison.scores.values())
    tables = [_strategies(result, digits), _stages(result, digits), _labels(result, digits)]
    return Summary(_answer(result, digits), tables, _notes(result, digits), _captions(result), LIMITS)


def _answer(result, digits):
    """Say what to do, what it scores, and what it costs."""
    row = {one.strategy: one for one in result.rows()}[result.recommended]
    words = f"{row.words[0].upper()}{row.words[1:]}"
    against = ""
    if row.kind != "frozen" and "frozen" in result.comparison.scores:
        against = f", {_gain(result, row.strategy, 'frozen', digits)} over frozen features of all stages"
    cost = f"about {seconds(row.seconds)} s to fit on all images"
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
            Column("difference", [_or_empty(row.difference, digits) for row in shown]),
            Column("95 % interval", ["" if row.low is None else interval(row.low, row.high, digits) for row in shown]),
            Column("fit s", [seconds(row.seconds) for row in shown]),
            Column("folds s, predicted", ["" if one is None else seconds(one) for one, _ in folds], leaves=2),
            Column("measured", ["" if one is None else seconds(one) for _, one in folds], leaves=1),
            Column("", ["not tried" if row.not_tried else "" for row in shown], "words", leaves=3),
        ]
    )


def _or_empty(value, digits):
    return "" if value is None else number(value, sign=True, digits=digits)


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
    notes = [_level(result, digits), _chosen(result, digits), _place(result), _labels_or_tuning(result, digits)]
    notes += [f"{name!r} was not tried: {why}." for name, why in result.untried.items()]
    notes += [_textbook(result, digits)]
    notes += [comparison.settings.get("photographs"), comparison.settings.get("near_duplicates")]
    notes += [f"{run.candidate!r} failed and is left out: {run.error}" for run in comparison.failures]
    if bad := comparison.bad_images:
        notes.append(f"{len(bad):,} images could not be read and are left out: {first_of(bad)}.")
    return [str(note) for note in notes if note]


def _level(result, digits):
    """Say which strategies the data do not tell from the best one."""
    if len(result.level) < 2:
        return None
    best = max(result.level, key=lambda name: result.comparison.scores[name].mean())
    others = [name for name in result.level if name != best]
    text = f"The interval of the difference to the best, {best!r}, includes zero for {enumerated(others, most=9)}"
    cheapest = result.level[0]
    if cheapest != result.recommended:
        much = f"{seconds(result.costs[cheapest].fit)} s instead of {seconds(result.costs[result.recommended].fit)} s"
        return f"{text}: where cost matters, take {cheapest!r} ({much}). More images or n_repeats would tell them apart."
    return f"{text}. More images or n_repeats would tell them apart."


def _chosen(result, digits):
    """Say what the best score is worth once it is known to have been chosen."""
    found = result.corrected
    if found is None:
        return "The best score was chosen among several on the same folds, so that it is rather too high."
    before, after = (number(value, digits=digits) for value in (found.uncorrected, found.score))
    return (
        f"The best of {len(found.chosen)} scores was chosen on the folds that it was measured on: {before}, and {after} "
        f"(95 % interval {number(found.low, digits=digits)} to {number(found.high, digits=digits)}) once corrected for "
        "that (BBC-CV)."
    )


def _place(result):
    """Say where the information sits."""
    every = next(one.stages for one in result.strategies if one.kind == "frozen")
    if len(every) == 1:
        return None
    if result.peak == every[-1]:
        return f"Of single stages the top one, {result.peak!r}, has the best features: the images suit the network."
    below = every.index(result.peak)
    return (
        f"Of single stages {result.peak!r} has the best features, below the top {len(every) - 1 - below}: the upper ones "
        "are made for other images, so that training is worth a try only where it reaches down to it."
    )


def _labels_or_tuning(result, digits):
    """Say whether more labels would help more than training does."""
    curve, comparison = result.labels, result.comparison
    if len(curve.n_labels) < 2:
        return None
    known = "" if curve.low != curve.low else f" (95 % interval {interval(curve.low, curve.high, digits)})"
    first, last = (f"{n:,.0f}" for n in curve.n_labels[-2:])
    text = f"Labels: from {first} to {last} of them the frozen network gained {_or_empty(curve.gain, digits)}{known}"
    trained = [one.name for one in result.strategies if one.kind == "fine-tuned" and one.name in comparison.scores]
    if not trained:
        return f"{text}."
    best = max(trained, key=lambda name: comparison.scores[name].mean())
    tuning, rope = result.against("frozen")[best].difference, comparison.rope
    text += f"; fine-tuning ({best!r}) gained {_gain(result, best, 'frozen', digits)}"
    if max(tuning, curve.gain) <= rope:
        return f"{text}. Neither more labels nor training is likely to change much."
    more = "labels" if curve.gain > tuning else "training"
    return f"{text}. Here {'more ' if more == 'labels' else ''}{more} {'are' if more == 'labels' else 'is'} worth more."


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
        f"{result.recommended!r} on the same folds. Recommended (←) is the cheapest strategy that scores within "
        f"{comparison.rope:g} of the best.",
        "fit s: predicted seconds to fit on all images once, as if nothing were stored. folds s: of all fits and "
        "predictions here, predicted before any of them, and measured.",
        f"features of: a linear model on frozen features; 'frozen' is that of all stages with avg+std. "
        f"{seconds(result.spent)} s of a budget of {seconds(result.budget)} s were spent.",
    ]
