"""A comparison as text and as HTML: the sentence on top, the table, what the columns mean."""

from html import escape
from textwrap import wrap

__all__ = ["as_html", "as_text", "caption", "number", "seconds", "sentence", "table"]


def number(value, sign=False):
    """Write a score with three decimals; a large one, as of an error in pixels, with one.

    Parameters
    ----------
    value : float or None
        The score; None and NaN become a dash.
    sign : bool, default=False
        Whether positive numbers carry a plus, as differences should.

    Returns
    -------
    str
        The number.
    """
    if value is None or value != value:
        return "–"
    text = f"{value:+,.3f}" if abs(value) < 100 else f"{value:+,.1f}"
    return text if sign or value < 0 else text[1:]


def seconds(value):
    """Write a time in seconds with about two meaningful digits.

    Parameters
    ----------
    value : float
        Seconds.

    Returns
    -------
    str
        The number, without unit.
    """
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def sentence(comparison):
    """Say the verdict in one sentence.

    Parameters
    ----------
    comparison : TransferComparison
        What to speak about.

    Returns
    -------
    str
        The sentence.
    """
    row, baseline = comparison.headline, comparison.baseline
    if comparison.n_splits > 1 and row.low != row.low:
        return _sentence_without_spread(row, comparison)
    word = "higher" if row.difference >= 0 else "lower"
    measured = f"scores {number(abs(row.difference))} {word} in {comparison.scoring} than {baseline!r}"
    if row.low == row.low:
        measured += f" (95 % interval {number(row.low, sign=True)} to {number(row.high, sign=True)})"
    ends = {
        "undecided": f"{measured}, which may be chance.",
        "practically equal": f"{measured}, which is within ±{comparison.rope:g} and makes no difference in practice.",
    }
    even = "even " if row.verdict == "negative transfer" and sum(comparison.transfer.values()) > 1 else ""
    return f"{row.verdict.capitalize()}: {even}{row.candidate!r} {ends.get(row.verdict, measured + '.')}"


def _sentence_without_spread(row, comparison):
    much = "the same" if number(abs(row.difference)) == number(0.0) else number(row.difference, sign=True)
    word = "as" if much == "the same" else "against"
    return (
        f"{row.verdict.capitalize()}: {row.candidate!r} scores {much} in {comparison.scoring} {word} "
        f"{comparison.baseline!r} on every split, which does not tell how far chance could move it."
    )


def table(comparison):
    """Make the table of strings.

    Parameters
    ----------
    comparison : TransferComparison
        What to tabulate.

    Returns
    -------
    header : list of str
        Names of the columns.
    lines : list of list of str
        One list of cells per candidate.
    """
    header = ["candidate", comparison.scoring, "SD", "fit s", "predict s", "trained", "difference", "95 % interval"]
    header += ["worse / equal / better", "verdict"]
    return header, [_cells(row) for row in comparison.rows()]


def _cells(row):
    trained = "" if row.n_trained_parameters is None else f"{row.n_trained_parameters:,}"
    cells = [row.candidate, number(row.mean), number(row.sd), seconds(row.fit_seconds), seconds(row.predict_seconds)]
    if row.difference is None:
        return [*cells, trained, "", "", "", row.verdict]
    if row.low != row.low:
        return [*cells, trained, number(row.difference, sign=True), "–", "–", row.verdict]
    interval = f"{number(row.low, sign=True)} to {number(row.high, sign=True)}"
    odds = " / ".join(f"{100 * p:.0f} %" for p in (row.worse, row.equal, row.better))
    return [*cells, trained, number(row.difference, sign=True), interval, odds, row.verdict]


def caption(comparison):
    """Say what the columns mean, and how far the result reaches.

    Parameters
    ----------
    comparison : TransferComparison
        What the table shows.

    Returns
    -------
    list of str
        Sentences.
    """
    n, rope = comparison.n_splits, comparison.rope
    return [
        f"{comparison.scoring}: mean over {n} test folds (greater is better). SD: standard deviation over the folds, "
        "not a standard error. Seconds: mean per fold.",
        f"difference: to {comparison.baseline!r} on the same folds. The interval allows for training images that the "
        "folds share (Nadeau and Bengio): where the true difference may well lie.",
        f"worse / equal / better: probability that the true difference is below -{rope:g}, within ±{rope:g}, above "
        f"{rope:g}. A verdict needs 97.5 %, that of being equal 95 %.",
        "This is about this data set and this recipe; it is not a statement about other data.",
    ]


def as_text(comparison):
    """Write a comparison as plain text.

    Parameters
    ----------
    comparison : TransferComparison
        What to show.

    Returns
    -------
    str
        Several lines.
    """
    header, lines = table(comparison)
    last = len(header) - 1
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    aligned = [
        "  ".join(
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *lines]
    ]
    rule = "-" * max(map(len, aligned))
    notes = [f"Note: {note}" for note in comparison.notes()]
    small = [line for text in [*notes, *caption(comparison)] for line in wrap(text, max(80, len(rule)))]
    return "\n".join([sentence(comparison), "", aligned[0], rule, *aligned[1:], "", *small])


def as_html(comparison):
    """Write a comparison as HTML, with every name escaped.

    Parameters
    ----------
    comparison : TransferComparison
        What to show.

    Returns
    -------
    str
        One ``div``.
    """
    header, lines = table(comparison)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes())
    small = " ".join(escape(line) for line in caption(comparison))
    return (
        f"<div class='sktl-comparison'><p><strong>{escape(sentence(comparison))}</strong></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        + (f"<ul>{notes}</ul>" if notes else "")
        + f"<p><small>{small}</small></p></div>"
    )
