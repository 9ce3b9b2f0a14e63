"""A label-efficiency curve summed up: the labels saved in one sentence, the table, notes, and how to read it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktl._candidate_names import CHANCE_LEVEL
from sktl._text import digits_for, number
from sktl.reports._summary import Summary
from sktl.reports._table import Column, Table

__all__ = ["sentence", "summarize"]

LIMITS = "This is about this data set and these recipes; it is not a statement about other data."


def summarize(result: Any) -> Any:
    """Put everything that is said of a label-efficiency curve into words and a table."""
    digits = digits_for(result.scores.values())
    first = "" if result.headline is None else sentence(result.headline, digits)
    table = _table(result, digits)
    return Summary(first, [table], _notes(result), _captions(result), LIMITS, widest=np.inf)


def sentence(saved, digits=3):
    """Say in one sentence what transfer saves at one size."""
    needs = _labels(saved.needed, saved)
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
    return f"{_labels(saved.low, saved)} to {_labels(saved.high, saved)}"


def _labels(value, saved):
    """Write a number of labels, or the bound that it stands for."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return f"more than {saved.most:,.0f}"
    return f"{value:,.0f}" if value else f"fewer than {saved.fewest:,.0f}"


def _compared(result):
    return [name for name in result.candidates if result.transfer[name] and name != result.baseline]


def _table(result, digits):
    columns = [Column("labels", [f"{n_labels:,.0f}" for n_labels in result.n_labels])]
    for name in result.candidates:
        means, intervals = result.scores[name].mean(axis=1), result.interval(name)
        columns.append(Column(name, [_score(*cell, digits) for cell in zip(means, intervals, strict=True)]))
    for name in _compared(result):
        columns.append(Column(f"{result.baseline} needs for {name}", list(map(_needs, result.labels_saved(name)))))
    return Table(columns)


def _score(mean, interval, digits):
    low, high = interval
    cell = number(mean, digits=digits)
    return cell if np.isnan(low) else f"{cell} ({number(low, digits=digits)} to {number(high, digits=digits)})"


def _needs(saved):
    cell = _labels(saved.needed, saved)
    return cell if saved.low == saved.high or np.isnan(saved.low) else f"{cell} ({_interval(saved)})"


def _captions(result):
    texts = [
        f"{result.scoring}: mean over {result.n_splits} splits (greater is better), in brackets its 95 % interval, "
        "which allows for training images that the splits share. Each subset of labels is part of the next; the test "
        "images are the same for all.",
        f"needs: labels at which the curve of {result.baseline!r} reaches the score of the same row, both curves made "
        "to rise and read between the sizes on a logarithmic scale, never beyond them; in brackets the 95 % interval. "
        "The verdict compares them with the labels at which the candidate itself has that score.",
    ]
    return texts if _compared(result) else texts[:1]


def _notes(result):
    notes = [f"{name!r} failed and is left out: {message}" for name, message in result.failures.items()]
    if warning := result.settings.get("photographs"):
        notes.insert(0, str(warning))
    if result.settings.get("fewer_labels_than_classes"):
        notes.append(
            "the smallest subset has fewer labels than there are classes: what is not in it no candidate can name."
        )
    if _is_at_chance_level(result):
        notes.append(
            f"{result.baseline!r} is not clearly better than chance level, even with all labels: how many it needs is "
            "then no measure of what transfer saves. More epochs or more labels would tell."
        )
    if warning := result.settings.get("near_duplicates"):
        notes.append(str(warning))
    return notes


def _is_at_chance_level(result):
    """Whether the interval of the baseline, at the largest size, reaches down to chance level."""
    if (
        CHANCE_LEVEL not in result.scores
        or result.baseline == CHANCE_LEVEL
        or np.isnan(low := result.interval(result.baseline)[-1, 0])
    ):
        return False
    return bool(low <= result.scores[CHANCE_LEVEL][-1].mean())
