"""One HTML page about a ranking of networks: self-contained, for people who were not there when it ran."""

from __future__ import annotations

from datetime import date
from html import escape
from typing import Any

from sktl._atomic_files import replacing
from sktl._text import number
from sktl.displays import BackboneRankingDisplay
from sktl.displays.verdicts import about
from sktl.reports._figures import figure_of
from sktl.reports._html_page import figure, note_list, page, paragraph, scrolling, section
from sktl.reports._pictures import WIDTH, _drawn
from sktl.reports._ranking_summary import milliseconds, summarize
from sktl.reports._report import _as_it_ran, _bad_images, _checked, _every_score, _networks
from sktl.reports._reproduce import code_to_run_again

__all__ = ["write_report"]


def write_report(ranking: Any, path: Any) -> Any:
    """Write one self-contained HTML page about a ranking, which loads nothing and runs no script."""
    path, summary, comparison = _checked(path, None), summarize(ranking), ranking.comparison
    first, controls, facts, *finalists = summary.tables
    text, needed = code_to_run_again(comparison, f"ranking.report({path.name!r})", result="ranking")
    body = [
        *_top(ranking, summary),
        section("The networks", scrolling("Scores of all networks", first), _plot(ranking)),
        section("Without a network, and without pretraining", scrolling("Scores of the controls", controls)),
        section("Fine-tuned", *(scrolling("Scores of the finalists", table) for table in finalists)),
        section("More about the networks", scrolling("Facts about all networks", facts)),
        section("How to read it", *(paragraph(line, small=True) for line in summary.small_print(summary.tables))),
        section("What was run", _networks(comparison), _bad_images(comparison), _every_score(comparison)),
        _as_it_ran(text, needed),
        f"<footer>{paragraph(f'Written by sktl, {date.today().isoformat()}. This page loads nothing.', True)}</footer>",
    ]
    with replacing(path) as unfinished:
        unfinished.write_bytes(page("Which network?", body).encode("utf-8", "backslashreplace"))
    return path


def _top(ranking, summary):
    yield "<header>\n<h1>Which network?</h1>"
    said = f"{paragraph(summary.sentence)}{paragraph(about(ranking.comparison), small=True)}"
    word = "Look at the controls first" if ranking.level_controls else ranking.recommended
    yield f'<div class="verdict {summary.tone}"><strong>{escape(word)}</strong>{said}</div>'
    yield f"{note_list('Before you rely on it', summary.notes)}\n</header>"


def _plot(ranking):
    sheet, ax = figure_of(WIDTH, 3.8)
    BackboneRankingDisplay.from_ranking(ranking).plot(ax)
    places = ", ".join(
        f"{row.name} {number(row.mean)} with {milliseconds(row.seconds_per_image)} ms" for row in ranking.rows()
    )
    shown = figure(
        _drawn(sheet),
        f"Mean {ranking.scoring} against milliseconds per image: {places}.",
        "Blue: the leading group; a diamond: recommended. Bars: 95 % intervals of the mean score, which are "
        "wider than those of the differences. Dotted lines: controls.",
    )
    return f'<div class="figures">{shown}</div>'
