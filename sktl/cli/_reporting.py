"""How commands speak: results on stdout, everything else on stderr, errors as one message and an exit code."""

import sys
import warnings
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sktl._text import printable

__all__ = ["bars_wanted", "errors_as_messages", "print_comparison", "say", "size", "unreadable"]

_UNITS = ("bytes", "KB", "MB", "GB", "TB")

# Columns that a narrow terminal goes without, the first ones first; --csv and --json have everything.
DISPENSABLE = (
    *("predict s", "trained", "worse / equal / better", "SD", "fit s"),
    *("95 % of the images", "image by image", "peak memory MB", "parameters kept"),
)


def say(message):
    """Print a line for people, on stderr."""
    print(message, file=sys.stderr)


def unreadable(path, reason):
    """Say of an image that it cannot be read."""
    return f"{str(path)!r} cannot be read: {printable(reason)}"


def bars_wanted(verbose):
    """Whether to draw progress bars, and colours: on a terminal, and not into a file."""
    return int(verbose and sys.stderr.isatty())


def size(n_bytes):
    """Return a number of bytes for people."""
    power = 0
    while n_bytes >= 999.5 and power < len(_UNITS) - 1:
        n_bytes, power = n_bytes / 1000, power + 1
    return f"{n_bytes:.3g} {_UNITS[power]}"


@contextmanager
def errors_as_messages(*, interrupted=""):
    """Turn errors in data or weights into a message and exit code 1, and Ctrl-C into exit code 130."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            yield
    except KeyboardInterrupt:
        say(f"Interrupted. {interrupted}".strip())
        raise typer.Exit(130) from None
    except typer.Exit:  # a RuntimeError of typer's
        raise
    except BrokenPipeError:  # the reader of our output has gone, as `head` does: nothing to complain about
        raise
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        advice = " 'sktl backbones' lists them." if "list_backbones()" in str(error) else ""
        say(f"Error: {error}{advice}")
        raise typer.Exit(1) from None


def _say_warning(message, category, filename, lineno, file=None, line=None):
    """Say what a warning says, without the place in the code, which is none of the user's."""
    say(f"Warning: {message}")


def print_comparison(comparison):
    """Print the verdict, the table and what it means, on stdout."""
    from sktl.reports import sentence, small_print, tables

    console = Console(highlight=False)
    if not console.is_terminal:
        print(comparison)
        return
    shown = [_fitting(header, lines, console.width) for header, lines in tables(comparison)]
    console.print(Text(sentence(comparison), style="bold"), "", sep="\n")
    for columns in shown:
        console.print(_grid(columns, console.width), "", sep="\n")
    for note in comparison.notes():
        console.print(Text(f"Note: {note}"))
    for text in small_print(comparison, [([title for title, _ in columns], None) for columns in shown]):
        console.print(Text(text, style="dim"))


def _fitting(header, lines, width):
    """Return pairs of title and cells, without the columns for which there is no room."""
    columns = list(zip(header, zip(*lines, strict=True), strict=True))  # titles may come twice
    for title in DISPENSABLE:
        if _width(columns) <= width:
            break
        columns = [column for column in columns if column[0] != title]
    return columns


def _grid(columns, width):
    grid = Table(box=None, padding=(0, 1), header_style="bold")
    for title, _ in columns:
        is_text = title in ("candidate", "verdict")
        grid.add_column(
            title, justify="left" if is_text else "right", no_wrap=_width(columns) <= width, overflow="fold"
        )
    for cells in zip(*(cells for _, cells in columns), strict=True):
        grid.add_row(*map(Text, cells))
    return grid


def _width(columns):
    return sum(2 + max(map(len, [title, *cells])) for title, cells in columns)
