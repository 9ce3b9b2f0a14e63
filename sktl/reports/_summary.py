"""A result in words and tables, and its three forms: plain text, HTML for notebooks, and colours in a terminal."""

from dataclasses import dataclass
from html import escape
from textwrap import wrap

from sktl._optional import import_optional
from sktl.reports._table import Table

__all__ = ["WIDEST", "Summary"]

WIDEST = 130  # letters of a line of text
STYLES = {"good": "bold green", "bad": "bold red", "open": "bold yellow"}


@dataclass(frozen=True)
class Summary:
    """Everything that is said of a result, computed once."""

    sentence: str  # "" where there is no answer
    tables: list[Table]
    notes: list[str]
    captions: list[str]  # how to read the tables
    limits: str  # how far the result reaches
    widest: float = WIDEST  # letters of a line below the tables
    tone: str = "even"  # colour of the sentence: "good", "bad", "even" or "open"

    def small_print(self, tables):
        """Say what the columns of some tables mean, and how far the result reaches."""
        explained = [column.explained for table in tables for column in table.columns if column.explained]
        return [*self.captions, *dict.fromkeys(explained), self.limits]

    def as_text(self):
        """Write plain text."""
        blocks = [table.as_text() for table in self.tables]
        width = min(self.widest, max(80, len(blocks[0][1])))
        small = [*(f"Note: {note}" for note in self.notes), *self.small_print(self.tables)]
        lines = [line for block in blocks for line in [*block, ""]]
        lines += [line for text in small for line in wrap(text, width)]
        return "\n".join([self.sentence, "", *lines] if self.sentence else lines)

    def as_html(self, name):
        """Write HTML in a box of that class, with every text escaped."""
        top = f"<p><strong>{escape(self.sentence)}</strong></p>" if self.sentence else ""
        tables = "".join(table.as_html() for table in self.tables)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        small = escape(" ".join(self.small_print(self.tables)))
        below = f"<ul>{notes}</ul>" if notes else ""
        return f"<div class='{name}'>{top}{tables}{below}<p><small>{small}</small></p></div>"

    def as_rich(self, width):
        """Make what a terminal of that width shows, without the columns for which there is no room."""
        console = import_optional("rich.console", extra="cli", caller="A summary in colours")
        text = import_optional("rich.text", extra="cli", caller="A summary in colours")
        tables = [table.fitting(width) for table in self.tables]
        parts = [text.Text(self.sentence, style=STYLES.get(self.tone, "bold")), text.Text("")]
        parts += [part for table in tables for part in (table.as_rich(width), text.Text(""))]
        parts += [text.Text(f"Note: {note}") for note in self.notes]
        return console.Group(*parts, *(text.Text(line, style="dim") for line in self.small_print(tables)))
