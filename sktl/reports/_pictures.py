"""The pictures of a report: what each of them shows, drawn, captioned and described for those who cannot see it."""

import os

import numpy as np

from sktl._costs import COSTS
from sktl._targets import class_names
from sktl._text import digits_for, number, written_apart
from sktl.displays import ComparisonDisplay, CostDisplay, MistakesDisplay, TrainingCurveDisplay, confusion_display
from sktl.reports._figures import as_data_uri, drawn, figure_of
from sktl.reports._html_page import figure, paragraph, scrolling, tiles
from sktl.reports._table import Column, Table

__all__ = ["comparison_plot", "confusion", "cost_plots", "curves", "mistakes"]

WIDTH = 4.6  # inches: letters of 10 points can be read on a phone
MOST_CLASSES = 15  # more do not fit a matrix that can be read
MOST_PAIRS = 10
MOST_MISTAKES = 12
LONGEST = 16  # letters of a class beside the matrix
WORTH_A_PLOT = 1.2  # the greatest cost over the least
COSTS_SHOWN = ("fit_seconds", "n_images_through_network", "n_parameters")


def _drawn(sheet):
    """Draw without titles: on a page the caption says what they say, and it wraps."""
    for ax in sheet.axes:
        ax.set_title("", loc="left")
    return drawn(sheet)


def comparison_plot(comparison):
    """Show the differences to the baseline, and the scores."""
    rows, digits = comparison.rows(), digits_for(comparison.scores.values())
    height = 1.0 + 0.6 * len(rows)
    sheets = [figure_of(WIDTH, height) for _ in range(2)]
    ComparisonDisplay.from_comparison(comparison).plot([ax for _, ax in sheets])
    means = ", ".join(f"{row.candidate} {number(row.mean, digits=digits)}" for row in rows)
    differences = ", ".join(
        f"{row.candidate} {number(row.difference, sign=True, digits=digits)} ({row.verdict})"
        for row in rows
        if row.difference is not None
    )
    left = figure(
        _drawn(sheets[0][0]),
        f"Differences in {comparison.scoring} to {comparison.baseline}: {differences}.",
        "Mean differences with their 95 % intervals, grey while undecided. Within the band of "
        f"±{comparison.rope:g} they make no difference in practice.",
    )
    right = figure(
        _drawn(sheets[1][0]),
        f"Mean {comparison.scoring}: {means}.",
        f"Each of the {comparison.n_splits} splits is a point, joined across candidates by a line; equal ones are "
        "stacked. Bars: means.",
    )
    return f'<div class="figures">{left}{right}</div>'


def confusion(comparison, target_names):
    """Show the matrix of the best candidate; of many classes those that are confused most, and a list of pairs."""
    best = comparison.best_candidate
    if not _has_predictions(comparison, best):
        return []
    whole = confusion_display(comparison, best, target_names=target_names, most=None)
    names = list(class_names(comparison.y, target_names).values())
    pairs = _pairs(whole.confusion_matrix, names)
    said = paragraph(f"Predictions of {best!r} for the test images of all splits, by fits that did not train on them.")
    if len(names) <= MOST_CLASSES:
        return [said, _matrix(whole, whole, best, pairs)]
    shown = confusion_display(comparison, best, target_names=target_names, most=MOST_CLASSES - 1)
    pairs = pairs[:MOST_PAIRS]
    columns = [
        Column("class", [true for true, _, _ in pairs], "words"),
        Column("is taken for", [predicted for _, predicted, _ in pairs], "long"),
        Column("times", [times for _, _, times in pairs]),
    ]
    table = [scrolling("Most frequent confusions", Table(columns))] if pairs else []
    return [said, _matrix(shown, whole, best, pairs), *table]


def _has_predictions(comparison, candidate):
    return all(run.predicted is not None for run in comparison.runs_of(candidate))


def _pairs(counts, names):
    """Pairs of classes that are confused, the most frequent first."""
    wrong = [(counts[i, j], i, j) for i in range(len(names)) for j in range(len(names)) if i != j and counts[i, j]]
    return [[names[i], names[j], f"{n:,}"] for n, i, j in sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))]


def _matrix(matrix, whole, best, pairs):
    n_shown = len(matrix.display_labels)
    side = 3.6 if n_shown <= 5 else WIDTH if n_shown <= 10 else 1.3 * WIDTH
    sheet, ax = figure_of(side, side * 0.92)
    matrix.display_labels = written_apart((name.replace(r"\$", "$") for name in matrix.display_labels), most=LONGEST)
    long = max(map(len, matrix.display_labels)) > 6 or n_shown > 8
    rotation = "vertical" if long else "horizontal"
    small = {"fontsize": "small"} if n_shown > 8 else None
    matrix.plot(ax=ax, cmap="Blues", colorbar=False, xticks_rotation=rotation, text_kw=small)
    if matrix is not whole:
        _without_the_others(matrix)
    worst = f" Most often {pairs[0][0]} is taken for {pairs[0][1]} ({pairs[0][2]} ×)." if pairs else " No mistakes."
    share = np.trace(whole.confusion_matrix) / max(1, whole.confusion_matrix.sum())
    few = f"The {n_shown - 1} classes that are confused most, and all others as one. " if matrix is not whole else ""
    return figure(
        _drawn(sheet),
        f"Confusion matrix of {best}: {100 * share:.0f} % on the diagonal.{worst}",
        f"{few}Rows: what it is. Columns: what it was taken for.{worst}",
    )


def _without_the_others(matrix):
    """Colour the classes by their own counts, which those of all others would drown, and leave out zeros."""
    counts = matrix.confusion_matrix
    most = max(1, counts[:-1].max())
    matrix.im_.set_clim(0, most)
    for text, count in zip(matrix.text_.ravel(), counts.ravel(), strict=True):
        text.set_text(text.get_text() if count else "")
        text.set_color("white" if count > most / 2 else "black")


def mistakes(comparison, X, target_names, maps_of=None):
    """Show the pictures that the best candidate was most sure and wrong about."""
    best = comparison.best_candidate
    if not _has_predictions(comparison, best):
        return []
    options = {"n": MOST_MISTAKES, "target_names": target_names, "maps_of": maps_of}
    display = MistakesDisplay.from_comparison(comparison, X, best, **options)
    said = f"{best!r} took {display.n_mistakes:,} of {display.n_images:,} images for something else."
    if not display.mistakes:
        return [paragraph(said)]
    said += (
        " Those that it was most sure about come first. Some may be wrong labels: look before you blame the network."
    )
    if maps_of is not None:
        said += (
            " Orange: where the classifier given as maps_of finds what speaks for the class that they were taken for."
        )
    pictures = []
    for mistake, picture in zip(display.mistakes, display.shown, strict=True):
        uri, small = as_data_uri(picture)
        alt = f"Image {mistake.index}: {mistake.true}, taken for {mistake.predicted}"
        pictures.append((uri, small, alt, _below(mistake)))
    return [paragraph(said), tiles(pictures)]


def _below(mistake):
    sure = "" if mistake.confidence is None else f", {100 * mistake.confidence:.0f} % sure"
    often = "" if mistake.times_tested == 1 else f", wrong {mistake.times_wrong} of {mistake.times_tested} times"
    where = f"X[{mistake.index}]{often}"
    file = [] if mistake.file is None else [os.path.join(*mistake.file.replace("\\", "/").split("/")[-2:])]
    return [f"Taken for {mistake.predicted}{sure}", f"is {mistake.true}", where, *file]


def curves(comparison):
    """Show losses by epoch for every candidate that trained by epochs."""
    names = [name for name in comparison.candidates if any(comparison.histories(name))]
    displays = [TrainingCurveDisplay.from_comparison(comparison, name) for name in names]
    sheets = [figure_of(WIDTH, 3.1) for _ in names]
    axes = [display.plot(ax).ax_ for display, (_, ax) in zip(displays, sheets, strict=True)]
    for ax in axes:  # on one scale: side by side they are compared
        ax.set_ylim(min(one.get_ylim()[0] for one in axes), max(one.get_ylim()[1] for one in axes))
        ax.set_xlim(min(one.get_xlim()[0] for one in axes), max(one.get_xlim()[1] for one in axes))
    shown = []
    for name, display, (sheet, _) in zip(names, displays, sheets, strict=True):
        losses = display.mean("train_loss")
        shown.append(
            figure(
                _drawn(sheet),
                f"Training loss of {name}: from {losses[0]:.2f} to {losses[-1]:.2f} in {len(losses)} epochs.",
                f"{name}. Faint: every split. Bold: mean, as far as all of them trained.",
            )
        )
    return [f'<div class="figures">{"".join(shown)}</div>'] if shown else []


def cost_plots(comparison):
    """Show score against the costs that differ."""
    shown = []
    for cost in COSTS_SHOWN:
        try:
            display = CostDisplay.from_comparison(comparison, cost=cost)
        except ValueError:
            continue
        if max(display.costs) < WORTH_A_PLOT * min(display.costs):
            continue
        sheet, ax = figure_of(WIDTH, 3.4)
        display.plot(ax)
        front = [name for name, best in zip(display.candidates, display.front, strict=True) if best]
        shown.append(
            figure(
                _drawn(sheet),
                f"{comparison.scoring} against {COSTS[cost].label}. On the Pareto front: {', '.join(front)}.",
                f"Blue: nobody beats {' and '.join(front)} in both score and {COSTS[cost].label.partition(',')[0]}. "
                "Bars: 95 % intervals of the mean score.",
            )
        )
    return f'<div class="figures">{"".join(shown)}</div>' if shown else ""
