"""A table of strings, which is written as aligned text, as HTML, or to a terminal."""

from dataclasses import dataclass
from html import escape

from sktl._optional import import_optional

__all__ = ["Column", "Table"]


@dataclass(frozen=True)
class Column:
    """A title and the cells below it."""

    title: str
    cells: list[str]
    kind: str = "number"  # these end at one place; "words" begin at one, and "long" words wrap on a page as well
    leaves: int = 0  # when it leaves a narrow terminal: the least first, 0 never
    explained: str = ""  # what it means, for the small print
    is_cost: bool = False  # a page has a table of its own for these

    @property
    def width(self):
        """Letters of the longest cell."""
        return max(map(len, [self.title, *self.cells]))


@dataclass(frozen=True)
class Table:
    """Columns of one length, of which the first names the rows."""

    columns: list[Column]

    @property
    def header(self):
        """Titles of all columns."""
        return [column.title for column in self.columns]

    @property
    def lines(self):
        """Cells row by row."""
        return [list(line) for line in zip(*(column.cells for column in self.columns), strict=True)]

    def fitting(self, width):
        """Leave out columns, as far as there are some to leave out, until the rest fits a terminal."""
        columns = list(self.columns)
        for column in sorted((one for one in columns if one.leaves), key=lambda one: one.leaves):
            if _terminal_width(columns) <= width:
                break
            columns = [one for one in columns if one is not column]
        return Table(columns)

    def as_text(self):
        """Write aligned lines, with a rule below the header."""
        header, *lines = [
            "  ".join(
                cell.rjust(column.width) if column.kind == "number" else cell.ljust(column.width)
                for cell, column in zip(line, self.columns, strict=True)
            ).rstrip()
            for line in [self.header, *self.lines]
        ]
        return [header, "-" * max(map(len, [header, *lines])), *lines]

    def as_html(self):
        """Write HTML, with every cell escaped."""
        head = "".join(f'<th scope="col" class="{one.kind}">{escape(one.title)}</th>' for one in self.columns)
        rows = []
        for first, *rest in self.lines:
            cells = zip(self.columns[1:], rest, strict=True)
            named = f'<th scope="row"><span>{escape(first)}</span></th>'
            rows.append(named + "".join(f'<td class="{column.kind}">{escape(text)}</td>' for column, text in cells))
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    def as_rich(self, width):
        """Make a table for a terminal, which wraps cells where it does not fit."""
        rich = import_optional("rich.table", extra="cli", caller="A table in colours")
        text = import_optional("rich.text", extra="cli", caller="A table in colours")
        grid = rich.Table(box=None, padding=(0, 1), header_style="bold")
        fits = _terminal_width(self.columns) <= width
        for column in self.columns:
            side = "right" if column.kind == "number" else "left"
            grid.add_column(column.title, justify=side, no_wrap=fits, overflow="fold")
        for line in self.lines:
            grid.add_row(*map(text.Text, line))
        return grid


def _terminal_width(columns):
    return sum(2 + column.width for column in columns)
