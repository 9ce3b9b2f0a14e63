"""A comparison as text and as HTML: the sentence on top, the tables, what the columns mean."""

from html import escape
from textwrap import wrap

from sktl._text import digits_for, number, seconds

__all__ = [
    "as_html",
    "as_text",
    "caption",
    "sentence",
    "small_print",
    "table",
    "tables",
]

WIDEST = 130  # characters of a line of text


def sentence(comparison):
    """Say the verdict in one sentence."""
    row, baseline = comparison.headline, comparison.baseline
    if comparison.n_splits > 1 and row.low != row.low:
        return _sentence_without_spread(row, comparison)
    word, digits = "higher" if row.difference >= 0 else "lower", _digits(comparison)
    measured = f"scores {number(abs(row.difference), digits=digits)} {word} in {comparison.scoring} than {baseline!r}"
    if row.low == row.low:
        measured += f" (95 % interval {_interval(row.low, row.high, digits)})"
    ends = {
        "undecided": f"{measured}, which may be chance.",
        "practically equal": f"{measured}, which is within ±{comparison.rope:g} and makes no difference in practice.",
    }
    even = "even " if row.verdict == "negative transfer" and sum(comparison.transfer.values()) > 1 else ""
    return f"{row.verdict.capitalize()}: {even}{row.candidate!r} {ends.get(row.verdict, measured + '.')}"


def _digits(comparison, metric=None):
    return digits_for(comparison.scores_of(metric or comparison.scoring).values())


def _sentence_without_spread(row, comparison):
    much, zero = (number(value, sign=True, digits=_digits(comparison)) for value in (row.difference, 0.0))
    much = "the same" if much == zero else much
    word = "as" if much == "the same" else "against"
    return (
        f"{row.verdict.capitalize()}: {row.candidate!r} scores {much} in {comparison.scoring} {word} "
        f"{comparison.baseline!r} on every split, which does not tell how far chance could move it."
    )


def table(comparison):
    """Make the table of strings."""
    header = ["candidate", comparison.scoring, "SD", "fit s", "predict s", "trained", "difference", "95 % interval"]
    header += ["worse / equal / better", "verdict"]
    digits = _digits(comparison)
    return header, [_cells(row, digits) for row in comparison.rows()]


def _cells(row, digits):
    cells = [row.candidate, *(number(value, digits=digits) for value in (row.mean, row.sd))]
    cells += [seconds(row.fit_seconds), seconds(row.predict_seconds), _count(row.n_trained_parameters)]
    if row.difference is None:
        return [*cells, "", "", "", row.verdict]
    cells.append(number(row.difference, sign=True, digits=digits))
    if row.low != row.low:
        return [*cells, "–", "–", row.verdict]
    odds = " / ".join(f"{100 * p:.0f} %" for p in (row.worse, row.equal, row.better))
    return [*cells, _interval(row.low, row.high, digits), odds, row.verdict]


def _interval(low, high, digits=3):
    low, high = (number(end, sign=True, digits=digits) for end in (low, high))
    return "–" if low == "–" else f"{low} to {high}"


def _p_value(value):
    return "" if value is None else "<0.001" if value < 0.0005 else number(value)


def _count(value):
    return "" if value is None else f"{value:,.0f}"


def tables(comparison):
    """Make all tables that a comparison shows: the main one, costs and images, other scores."""
    return [table(comparison), *_costs(comparison), *_other_scores(comparison)]


def _costs(comparison):
    """Tabulate p-values, costs and the difference image by image; columns without any entry are left out."""
    columns = {
        "p": lambda row: _p_value(row.p_value),
        "p Holm": lambda row: _p_value(row.p_value_holm),
        "images through network": lambda row: _count(row.n_images_through_network),
        "parameters kept": lambda row: _count(row.n_parameters),
        "peak memory MB": lambda row: "" if row.peak_memory is None else f"{row.peak_memory / 1e6:,.0f}",
        "image by image": lambda row: "" if row.image_difference is None else number(row.image_difference, sign=True),
        "95 % of the images": lambda row: "" if row.image_low is None else _interval(row.image_low, row.image_high),
    }
    rows = comparison.rows()
    cells = {title: [cell(row) for row in rows] for title, cell in columns.items()}
    cells = {title: column for title, column in cells.items() if any(column)}
    if not cells:
        return []
    lines = zip([row.candidate for row in rows], *cells.values(), strict=True)
    return [(["candidate", *cells], [list(line) for line in lines])]


def _other_scores(comparison):
    """Means of the other scores with their differences to the baseline, as many tables as the width asks for."""
    names, made = comparison.candidates, []
    first = max(map(len, names))
    for metric in comparison.metrics[1:]:
        header = [metric, "difference"]
        digits = _digits(comparison, metric)
        columns = [[number(scores.mean(), digits=digits) for scores in comparison.scores_of(metric).values()]]
        gains = [number(comparison.differences(name, metric).mean(), sign=True, digits=digits) for name in names]
        columns.append(["" if name == comparison.baseline else gain for name, gain in zip(names, gains, strict=True)])
        wide = sum(2 + len(title) for title in (made[-1][0][1:] if made else [])) + len(metric) + 14
        if not made or first + wide > WIDEST:
            made.append((["candidate"], [[name] for name in names]))
        made[-1][0].extend(header)
        for line, *cells in zip(made[-1][1], *columns, strict=True):
            line.extend(cells)
    return made


def caption(comparison):
    """Say what the columns mean, and how far the result reaches."""
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


def small_print(comparison, shown):
    """Say what the columns of all tables mean, and how far the result reaches."""
    titles = [title for header, _ in shown[1:] for title in header]
    lines = caption(comparison)
    if "p Holm" in titles:
        lines.insert(
            -1,
            "p: two-sided, by the corrected t-test of no difference. p Holm: the same, corrected for the number of "
            "candidates (Holm).",
        )
    if "images through network" in titles or "peak memory MB" in titles:
        lines.insert(
            -1,
            "images through network: forward passes of images per fold, fit and test; what the store has is not "
            "computed again. parameters kept: of the network. peak memory: highest of the whole process.",
        )
    if "image by image" in titles:
        lines.insert(
            -1,
            "image by image: descriptive only. Difference in the share of images predicted correctly, with its 95 % "
            "interval over the images; it leaves out that other training images give other models.",
        )
    return lines


def as_text(comparison):
    """Write a comparison as plain text."""
    shown = tables(comparison)
    blocks = [_aligned(*one, last_left=number == 0) for number, one in enumerate(shown)]
    notes = [f"Note: {note}" for note in comparison.notes()]
    width = min(WIDEST, max(80, len(blocks[0][1])))
    small = [line for text in [*notes, *small_print(comparison, shown)] for line in wrap(text, width)]
    body = [line for block in blocks for line in [*block, ""]]
    return "\n".join([sentence(comparison), "", *body, *small])


def _aligned(header, lines, last_left):
    """Lines of a table, with a rule below the header; numbers end and words begin at one place."""
    left = {0, len(header) - 1} if last_left else {0}
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    aligned = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *lines]
    ]
    return [aligned[0], "-" * max(map(len, aligned)), *aligned[1:]]


def as_html(comparison):
    """Write a comparison as HTML, with every name escaped."""
    shown = tables(comparison)
    grids = "".join(_grid(*one) for one in shown)
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes())
    small = " ".join(escape(line) for line in small_print(comparison, shown))
    return (
        f"<div class='sktl-comparison'><p><strong>{escape(sentence(comparison))}</strong></p>{grids}"
        + (f"<ul>{notes}</ul>" if notes else "")
        + f"<p><small>{small}</small></p></div>"
    )


def _grid(header, lines):
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
