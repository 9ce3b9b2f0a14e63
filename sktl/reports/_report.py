"""One HTML page about a comparison: self-contained, for people who were not there when it ran."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sktl._atomic_files import check_not_read, replacing
from sktl._candidate_names import RECIPES
from sktl._targets import class_names
from sktl._text import digits_for, number, shortened
from sktl.displays.verdicts import about
from sktl.images.files import files_in
from sktl.reports._comparison_summary import summarize
from sktl.reports._html_page import code, definitions, details, note_list, page, paragraph, scrolling, section
from sktl.reports._near_copies import shown_copies
from sktl.reports._pictures import comparison_plot, confusion, cost_plots, curves, mistakes
from sktl.reports._reproduce import code_to_run_again
from sktl.reports._table import Column, Table

__all__ = ["write_report"]

MEANINGS = {
    "transfer helps": "On these images the pretrained weights raise the score.",
    "better": "On these images it beats the baseline.",
    "negative transfer": "On these images pretraining does harm: train from scratch, or try other weights.",
    "worse": "On these images the baseline is the better choice.",
    "practically equal": "On these images the difference does not matter: take the cheaper one.",
    "undecided": "These images cannot tell. That is not the same as no difference.",
}
AT_CHANCE = "Nothing shows that the baseline learned anything, so the difference to it tells little about transfer."
SHOWN_ELSEWHERE = {
    *("n_images", "cv", "n_repeats", "random_state", "versions", "data", "recipes", "score_bounds"),
    *("call", "estimators", "networks", "near_copies", "near_duplicates", "photographs", "suggested_groups"),
}
LONGEST = 200  # letters of an estimator on top
MOST_LINES = 200  # of a table; the rest is counted


def write_report(comparison: Any, path: Any, *, X: Any = None, target_names: Any = None, maps_of: Any = None) -> Any:
    """Write one self-contained HTML page about a comparison.

    The page loads nothing and runs no script. It holds the verdict, the table, plots, what each candidate cost, which
    classes are taken for which, what was run and the Python to run it again. It grows with candidates and splits, and
    not with the number of images: at most 12 thumbnails of 160 pixels are in it.
    """
    path, summary = _checked(path, X), summarize(comparison)
    word, _, rest = summary.sentence.partition(": ")
    body = [
        *_top(word, rest, summary, comparison),
        section("What was compared", *_what_was_compared(comparison)),
        _result(summary, comparison),
        section("Near copies of one picture", *shown_copies(comparison, X, target_names)),
        *_predictions(comparison, X, target_names, maps_of),
        section("How training went", *curves(comparison)),
        _costs(summary, comparison),
        _what_was_run(comparison, target_names),
        _again(comparison, path.name, X, target_names),
        f"<footer>{paragraph(f'Written by sktl, {date.today().isoformat()}. This page loads nothing.', True)}</footer>",
    ]
    content = page(f"{word}: was transfer worth it?", body)
    with replacing(path) as unfinished:
        unfinished.write_bytes(
            content.encode("utf-8", "backslashreplace")
        )  # names of files may hold bytes that are no text
    return path


def _checked(path, X):
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"path must be a file to write. Got the folder {str(path)!r} instead: add a name to it, such as "
            f"{str(path / 'report.html')!r}."
        )
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"The folder of the report must exist. Got {str(path.absolute().parent)!r} instead. Make it first."
        )
    check_not_read("path", path, files_in(X))
    return path


def _top(word, rest, summary, comparison):
    meaning = AT_CHANCE if comparison.baseline_at_chance else MEANINGS[comparison.verdict]
    yield "<header>\n<h1>Was transfer worth it?</h1>"
    said = f"{paragraph(_capital(rest))}{paragraph(meaning, small=True)}{paragraph(about(comparison), small=True)}"
    yield f'<div class="verdict {summary.tone}"><strong>{escape(word)}</strong>{said}</div>'
    yield f"{note_list('Before you rely on it', summary.notes)}\n</header>"


def _what_was_compared(comparison):
    """Say in a line what each candidate is; nothing of one that the record does not tell."""
    recipes, estimators = (comparison.settings.get(name, {}) for name in ("recipes", "estimators"))
    told = {
        name: RECIPES.get(recipes.get(name)) or f"your own: {shortened(estimators[name], LONGEST)}"
        for name in comparison.candidates
        if name in estimators or RECIPES.get(recipes.get(name))
    }
    marks = {comparison.baseline: " (baseline)"}
    if told:
        yield definitions((f"{name}{marks.get(name, '')}", text) for name, text in told.items())


def _capital(text):
    return text if text.startswith("'") else text[:1].upper() + text[1:]


def _result(summary, comparison):
    """Show scores and differences; what they cost has a section of its own."""
    first, *others = (Table([one for one in table.columns if not one.is_cost]) for table in summary.tables)
    names, *columns, verdict = first.columns
    first = Table([names, verdict, *columns])  # the verdict is seen on a phone without scrolling
    more = [table for table in others if len(table.columns) > 1]
    return section(
        "The result",
        scrolling("Scores and differences of all candidates", first),
        comparison_plot(comparison),
        *(scrolling("More numbers for all candidates", table) for table in more),
        "<h3>How to read it</h3>",
        *(paragraph(line, small=True) for line in summary.small_print([first, *more])),
    )


def _predictions(comparison, X, target_names, maps_of):
    if comparison.settings.get("task") == "regression":
        return
    yield section("Which classes are taken for which", *confusion(comparison, target_names))
    if X is not None:
        yield section("The most confident mistakes", *mistakes(comparison, X, target_names, maps_of))


def _costs(summary, comparison):
    costs = [column for table in summary.tables for column in table.columns if column.is_cost]
    shown = [replace(column, cells=[cell or "–" for cell in column.cells]) for column in costs]
    return section(
        "What it costs",
        scrolling("Costs of all candidates", Table([summary.tables[0].columns[0], *shown])),
        paragraph(
            "Seconds and images: mean per split, on the machine that ran this. An image that was embedded before is "
            "found in the store and costs next to nothing. Peak: of the whole process.",
            small=True,
        ),
        cost_plots(comparison),
    )


def _what_was_run(comparison, target_names):
    settings = comparison.settings
    sizes = [f"{_span(comparison.n_train)} to train", f"{_span(comparison.n_test)} to test"]
    facts = {
        "images": f"{settings.get('n_images', len(comparison.y)):,}",
        "splits": f"{comparison.n_splits}, with {' and '.join(sizes)}",
        "cv": f"{settings.get('cv', '')}, drawn {settings.get('n_repeats', 1)} ×",
        "random_state": str(settings.get("random_state")),
        "seeds of the splits": ", ".join(map(str, comparison.seeds[:MOST_LINES])),
        "versions": ", ".join(f"{name} {version}" for name, version in settings.get("versions", {}).items()),
    }
    others = {name: value for name, value in settings.items() if name not in SHOWN_ELSEWHERE and value is not None}
    facts |= {name: value if isinstance(value, str) else repr(value) for name, value in others.items()}
    return section(
        "What was run",
        definitions(facts.items()),
        _classes(comparison, target_names),
        _bad_images(comparison),
        _networks(comparison),
        _estimators(settings),
        _every_score(comparison),
    )


def _span(counts):
    low, high = int(np.min(counts)), int(np.max(counts))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _classes(comparison, target_names):
    if comparison.settings.get("task") == "regression":
        return ""
    names = class_names(comparison.y, target_names)
    labels, counts = np.unique(comparison.y, return_counts=True)
    called = Column("class", [names[label] for label in labels[:MOST_LINES].tolist()], "words")
    numbers = Column("images", [f"{count:,}" for count in counts[:MOST_LINES]])
    return details(f"The {len(labels)} classes", scrolling("Images of every class", Table([called, numbers])))


def _bad_images(comparison):
    bad = comparison.bad_images[:MOST_LINES]
    if not bad:
        return ""
    where = Column("image", [f"X[{one.index}]" if one.path is None else str(one.path) for one in bad], "long")
    table = Table([where, Column("reason", [one.reason for one in bad], "long")])
    title = f"{len(comparison.bad_images):,} images that could not be read"
    return details(title, scrolling(title, table))


def _networks(comparison):
    first = {run.candidate: run.network for run in reversed(comparison.runs) if run.network is not None}
    names = [name for name in dict.fromkeys(run.candidate for run in comparison.runs) if name in first]
    if not names:
        return ""
    fields = {"name": "network", "weights": "weights", "source": "pretrained on", "license": "licence"}
    fields |= {"image_size": "pixels", "digest": "SHA-256 of the weights"}
    columns = [Column("candidate", names, "words")]
    for field, title in fields.items():
        cells = [_field(first[name], field) for name in names]
        kind = {"name": "words", "image_size": "number"}.get(field, "long")
        columns.append(Column(title, cells, kind))
    return "<h3>Networks</h3>" + scrolling("Networks of the candidates", Table(columns))


def _field(network, field):
    value = network.get(field)
    return ("random" if field == "weights" else "–") if value is None else str(value)


def _estimators(settings):
    estimators = settings.get("estimators", {})
    if not estimators:
        return ""
    texts = Column("estimator", [" ".join(text.split()) for text in estimators.values()], "long")
    table = Table([Column("candidate", list(estimators), "words"), texts])
    return details("The candidates in full", scrolling("Candidates", table))


def _every_score(comparison):
    scores, n_lines = comparison.scores, min(comparison.n_splits, MOST_LINES)
    digits = digits_for(scores.values())
    columns = [
        Column("split", [f"{split + 1}" for split in range(n_lines)]),
        Column("seed", [str(seed) for seed in comparison.seeds[:n_lines]]),
        *(Column(name, [number(score, digits=digits) for score in scores[name][:n_lines]]) for name in scores),
    ]
    title = f"{comparison.scoring} on every split"
    return details(title, scrolling(title, Table(columns)))


def _again(comparison, name, X, target_names):
    options = "" if X is None else ", X=X"
    if target_names is not None:
        options += f", target_names={[str(one) for one in target_names]!r}"
    return _as_it_ran(*code_to_run_again(comparison, f"comparison.report({name!r}{options})"))


def _as_it_ran(text, needed):
    """Show the code that does it again, what to put into it, and how far the same will come out."""
    parts = [paragraph("With the same images as X and the same labels as y:"), code(text)]
    if needed:
        listed = ", ".join(dict.fromkeys(needed))
        parts.append(paragraph(f"Put in your own objects for: {listed}. They cannot be written down here."))
    parts.append(
        paragraph(
            "The scores come out the same with the same versions on the same machine; seconds do not.", small=True
        )
    )
    return section("Run it again", *parts)
