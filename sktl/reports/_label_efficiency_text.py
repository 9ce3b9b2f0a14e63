"""A label-efficiency curve as text and as HTML: the sentence on top, the table, what it means."""

from html import escape
from textwrap import wrap

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL
from sktl._text import digits_for, number

__all__ = ["as_html", "as_text", "labels_in_words", "sentence"]


def labels_in_words(value, saved):
    """Write a number of labels, or the bound that it stands for."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return f"more than {saved.most:,.0f}"
    return f"{value:,.0f}" if value else f"fewer than {saved.fewest:,.0f}"


def sentence(saved, digits=3):
    """Say in one sentence what transfer saves at one size."""
    needs = labels_in_words(saved.needed, saved)
    already = f" (it has that from {saved.own_needed:,.0f} on)" if saved.is_on_plateau else ""
    text = (
        f"with {saved.n_labels:,.0f} labels {saved.candidate!r} scores {number(saved.score, digits=digits)}{already}; "
        f"for that {saved.baseline!r} needs {needs}"
    )
    if not np.isnan(saved.low):
        text += f" (95 % interval {_interval(saved)})"
    if round(saved.saved) == 0:
        return f"{_verdict(saved)}: {text}."
    word = "saved" if saved.saved > 0 else "fewer"
    least = "at least " if saved.is_bound else ""
    return f"{_verdict(saved)}: {text}: {least}{abs(saved.saved):,.0f} {word}."


def _verdict(saved):
    texts = {"saves labels": "Transfer saves labels", "costs labels": "Transfer costs labels"}
    return texts.get(saved.verdict, "Undecided")


def _interval(saved):
    if saved.low == saved.high:
        return "the same"
    return f"{labels_in_words(saved.low, saved)} to {labels_in_words(saved.high, saved)}"


def _compared(result):
    return [name for name in result.candidates if result.transfer[name] and name != result.baseline]


def _table(result):
    compared, digits = _compared(result), _digits(result)
    header = ["labels", *result.candidates]
    header += [f"{result.baseline} needs for {name}" for name in compared]
    intervals = {name: result.interval(name) for name in result.candidates}
    saved = {name: result.labels_saved(name) for name in compared}
    lines = []
    for i, n_labels in enumerate(result.n_labels):
        cells = [f"{n_labels:,.0f}"]
        for name in result.candidates:
            low, high = intervals[name][i]
            cells.append(number(result.scores[name][i].mean(), digits=digits))
            if not np.isnan(low):
                cells[-1] += f" ± {number((high - low) / 2, digits=digits)}"
        for name in compared:
            one = saved[name][i]
            cells.append(labels_in_words(one.needed, one))
            if one.low != one.high and not np.isnan(one.low):
                cells[-1] += f" ({_interval(one)})"
        lines.append(cells)
    return header, lines


def _digits(result):
    return digits_for(result.scores.values())


def _caption(result):
    texts = [
        f"{result.scoring}: mean over {result.n_splits} splits (greater is better), ± half of its 95 % interval, which "
        "allows for training images that the splits share. Each subset of labels is part of the next; the test images "
        "are the same for all.",
        f"needs: labels at which the curve of {result.baseline!r} reaches the score of the same row, both curves made "
        "to rise and read between the sizes on a logarithmic scale, never beyond them; in brackets the 95 % interval. "
        "The verdict compares them with the labels at which the candidate itself has that score.",
        "This is about this data set and these recipes; it is not a statement about other data.",
    ]
    return texts if _compared(result) else [texts[0], texts[2]]


def _notes(result):
    notes = [f"{name!r} failed and is left out: {message}" for name, message in result.failures.items()]
    if result.settings.get("fewer_labels_than_classes"):
        notes.append(
            "the smallest subset has fewer labels than there are classes: what is not in it no candidate can name."
        )
    if _is_guessing(result):
        notes.append(
            f"{result.baseline!r} is not clearly better than guessing, even with all labels: how many it needs is then "
            "no measure of what transfer saves. More epochs or more labels would tell."
        )
    if warning := result.settings.get("near_duplicates"):
        notes.append(str(warning))
    return notes


def _is_guessing(result):
    """Whether the interval of the baseline, at the largest size, holds the score of the candidate that guesses."""
    if (
        CHANCE_LEVEL not in result.scores
        or result.baseline == CHANCE_LEVEL
        or np.isnan(low := result.interval(result.baseline)[-1, 0])
    ):
        return False
    return bool(low <= result.scores[CHANCE_LEVEL][-1].mean())


def as_text(result):
    """Write a label-efficiency curve as plain text."""
    header, lines = _table(result)
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *lines]]
    rule = "-" * max(map(len, rows))
    small = [f"Note: {note}" for note in _notes(result)] + _caption(result)
    top = [] if result.headline is None else [sentence(result.headline, _digits(result)), ""]
    below = [line for text in small for line in wrap(text, max(80, len(rule)))]
    return "\n".join([*top, rows[0], rule, *rows[1:], "", *below])


def as_html(result):
    """Write a label-efficiency curve as HTML, with every name escaped."""
    header, lines = _table(result)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    top = (
        ""
        if result.headline is None
        else f"<p><strong>{escape(sentence(result.headline, _digits(result)))}</strong></p>"
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in _notes(result))
    small = " ".join(escape(line) for line in _caption(result))
    return (
        f"<div class='sktl-label-efficiency'>{top}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        + (f"<ul>{notes}</ul>" if notes else "")
        + f"<p><small>{small}</small></p></div>"
    )
