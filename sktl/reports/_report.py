"""One HTML page about a comparison: self-contained, for people who were not there when it ran."""

from datetime import date
from html import escape
from pathlib import Path

import numpy as np

from sktl._atomic_files import replacing
from sktl._costs import MB
from sktl._targets import class_names
from sktl._text import digits_for, number, seconds
from sktl.reports._page import code, definitions, details, note_list, page, paragraph, section, table
from sktl.reports._pictures import comparison_plot, confusion, cost_plots, curves, mistakes
from sktl.reports._reproduce import code_to_run_again
from sktl.reports._text_report import caption, sentence, tables
from sktl.reports._text_report import table as table_of

__all__ = ["write_report"]

MEANINGS = {
    "transfer helps": ("good", "On these images the pretrained network earned its keep."),
    "better": ("good", "On these images it beats the baseline."),
    "negative transfer": ("bad", "On these images pretraining does harm: train from scratch, or try other weights."),
    "worse": ("bad", "On these images the baseline is the better choice."),
    "practically equal": ("even", "On these images the difference does not matter: take the cheaper one."),
    "undecided": ("open", "These images cannot tell. That is not the same as no difference."),
}
# Columns that have a table of their own.
IN_COSTS = {"fit s", "predict s", "trained", "images through network", "parameters kept", "peak memory MB"}
MORE_TO_READ = {
    "p Holm": "p: two-sided, by the corrected t-test of no difference. p Holm: the same, corrected for the number of "
    "candidates.",
    "image by image": "image by image: descriptive only. Difference in the share of images predicted correctly, with "
    "its interval over the images; it leaves out that other training images would have given other models.",
}
FIRST = ["candidate", "verdict"]  # what is seen on a phone without scrolling
MOST_LINES = 200  # of a table; the rest is counted


def write_report(comparison, path, *, X=None, target_names=None):
    """Write one self-contained HTML page about a comparison.

    The page loads nothing and runs no script. It holds the verdict, the table, plots, what each candidate cost, which
    classes are taken for which, what was run and the Python to run it again. It grows with candidates and splits, and
    not with the number of images: at most 12 thumbnails of 160 pixels are in it.
    """
    path = _checked(path)
    body = [
        *_top(comparison),
        _result(comparison),
        *_predictions(comparison, X, target_names),
        section("How training went", *curves(comparison)),
        _costs(comparison),
        _what_was_run(comparison, target_names),
        _again(comparison, path.name, X, target_names),
        f"<footer>{paragraph(f'Written by sktl, {date.today().isoformat()}. This page loads nothing.', True)}</footer>",
    ]
    content = page(f"{comparison.verdict.capitalize()}: was transfer worth it?", body)
    with replacing(path) as unfinished:
        unfinished.write_bytes(content.encode("utf-8", "replace"))  # names of files may hold bytes that are no letters
    return path


def _checked(path):
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
    return path


def _top(comparison):
    word, _, rest = sentence(comparison).partition(": ")
    kind, meaning = MEANINGS.get(comparison.verdict, ("even", ""))
    yield "<header>\n<h1>Was transfer worth it?</h1>"
    said = f"{paragraph(_capital(rest))}{paragraph(meaning, small=True)}"
    yield f'<div class="verdict {kind}"><strong>{escape(word)}</strong>{said}</div>'
    yield f"{note_list('Before you rely on it', comparison.notes())}\n</header>"


def _capital(text):
    return text if text.startswith("'") else text[:1].upper() + text[1:]


def _result(comparison):
    header, lines = table_of(comparison)
    kept = [column for column, name in enumerate(header) if name not in IN_COSTS]
    kept.sort(key=lambda column: (FIRST.index(header[column]) if header[column] in FIRST else len(FIRST), column))
    header, lines = [header[column] for column in kept], [[line[column] for column in kept] for line in lines]
    return section(
        "The result",
        table("Scores and differences of all candidates", header, lines, words={header.index("verdict")}),
        comparison_plot(comparison),
        *_more_numbers(comparison),
        "<h3>How to read it</h3>",
        *(paragraph(line, small=True) for line in _how_to_read(comparison)),
    )


def _how_to_read(comparison):
    *lines, limits = caption(comparison)
    shown = {name for header, _ in tables(comparison) for name in header}
    return [*lines, *(text for name, text in MORE_TO_READ.items() if name in shown), limits]


def _more_numbers(comparison):
    """Tabulate p-values, differences image by image and other scores, where there are any."""
    for header, lines in tables(comparison)[1:]:
        kept = [column for column, name in enumerate(header) if name not in IN_COSTS]
        if len(kept) > 1:
            lines = [[line[column] for column in kept] for line in lines]
            yield table("More numbers for all candidates", [header[column] for column in kept], lines)


def _predictions(comparison, X, target_names):
    if comparison.settings.get("task") == "regression":
        return
    yield section("Which classes are taken for which", *confusion(comparison, target_names))
    if X is not None:
        yield section("The most confident mistakes", *mistakes(comparison, X, target_names))


def _costs(comparison):
    header = ["candidate", "fit s", "predict s", "images through network", "parameters kept", "trained", "peak MB"]
    lines = [
        [
            row.candidate,
            seconds(row.fit_seconds),
            seconds(row.predict_seconds),
            _count(row.n_images_through_network),
            _count(row.n_parameters),
            _count(row.n_trained_parameters),
            _count(None if row.peak_memory is None else row.peak_memory / MB),
        ]
        for row in comparison.rows()
    ]
    return section(
        "What it costs",
        table("Costs of all candidates", header, lines),
        paragraph(
            "Seconds and images: mean per split, on the machine that ran this. An image that was embedded before is "
            "found in the store and costs next to nothing. Peak: of the whole process.",
            small=True,
        ),
        cost_plots(comparison),
    )


def _count(value):
    return "–" if value is None else f"{value:,.0f}"


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
    shown = {"n_images", "cv", "n_repeats", "random_state", "versions", "estimators", "networks", "near_duplicates"}
    shown.add("call")
    facts |= {name: _as_text(value) for name, value in settings.items() if name not in shown and value is not None}
    return section(
        "What was run",
        definitions(facts.items()),
        _classes(comparison, target_names),
        _networks(comparison),
        _estimators(settings),
        _every_score(comparison),
    )


def _as_text(value):
    return value if isinstance(value, str) else repr(value)


def _span(counts):
    low, high = int(np.min(counts)), int(np.max(counts))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _classes(comparison, target_names):
    if comparison.settings.get("task") == "regression":
        return ""
    names = class_names(comparison.y, target_names)
    labels, counts = np.unique(comparison.y, return_counts=True)
    lines = [[names[label], f"{count:,}"] for label, count in zip(labels.tolist(), counts, strict=True)]
    content = table("Images of every class", ["class", "images"], lines[:MOST_LINES])
    return details(f"The {len(lines)} classes", content)


def _networks(comparison):
    first = {run.candidate: run.network for run in reversed(comparison.runs) if run.network is not None}
    names = [name for name in dict.fromkeys(run.candidate for run in comparison.runs) if name in first]
    if not names:
        return ""
    fields = {"name": "network", "weights": "weights", "source": "pretrained on", "license": "licence"}
    lines = [
        [name, *(_field(first[name], field) for field in fields), str(first[name].get("digest") or "–")]
        for name in names
    ]
    header = ["candidate", *fields.values(), "SHA-256 of the weights"]
    return "<h3>Networks</h3>" + table("Networks of the candidates", header, lines, words={1}, long={2, 3, 4, 5})


def _field(network, field):
    value = network.get(field)
    return ("random" if field == "weights" else "–") if value is None else str(value)


def _estimators(settings):
    lines = [[name, " ".join(text.split())] for name, text in settings.get("estimators", {}).items()]
    if not lines:
        return ""
    return details("The candidates in full", table("Candidates", ["candidate", "estimator"], lines, long={1}))


def _every_score(comparison):
    names, digits = comparison.candidates, digits_for(comparison.scores.values())
    cells = {name: [number(score, digits=digits) for score in comparison.scores[name]] for name in names}
    lines = [
        [f"{split + 1}", str(comparison.seeds[split]), *(cells[name][split] for name in names)]
        for split in range(min(comparison.n_splits, MOST_LINES))
    ]
    content = table(f"{comparison.scoring} on every split", ["split", "seed", *names], lines)
    return details(f"{comparison.scoring} on every split", content)


def _again(comparison, name, X, target_names):
    options = "" if X is None else ", X=X"
    if target_names is not None:
        options += f", target_names={[str(one) for one in target_names]!r}"
    text, needed = code_to_run_again(comparison, f"comparison.report({name!r}{options})")
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
