"""How commands speak: results on stdout, everything else on stderr, errors as one message and an exit code."""

import sys
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["errors_as_messages", "print_comparison", "say"]

# Columns that a narrow terminal goes without, the first ones first; --csv and --json have everything.
DISPENSABLE = ("predict s", "trained", "worse / equal / better", "SD", "fit s")


def say(message):
    """Print a line for people, on stderr.

    Parameters
    ----------
    message : str
        What to say.
    """
    print(message, file=sys.stderr)


@contextmanager
def errors_as_messages():
    """Turn errors in data or weights into a message and exit code 1, and Ctrl-C into exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("Interrupted.")
        raise typer.Exit(130) from None
    except BrokenPipeError:  # the reader of our output has gone, as `head` does: nothing to complain about
        raise
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        say(f"Error: {error}")
        raise typer.Exit(1) from None


def print_comparison(comparison):
    """Print the verdict, the table and what it means, on stdout.

    Parameters
    ----------
    comparison : TransferComparison
        What to print.
    """
    from sktl.comparison._rendering import caption, sentence, table

    console = Console(highlight=False)
    if not console.is_terminal:
        print(comparison)
        return
    grid = _grid(*table(comparison), width=console.width)
    console.print(Text(sentence(comparison), style="bold"), "", grid, "", sep="\n")
    for note in comparison.notes():
        console.print(Text(f"Note: {note}"))
    for text in caption(comparison):
        console.print(Text(text, style="dim"))


def _grid(header, lines, width):
    """Make a table without the columns for which there is no room."""
    columns = dict(zip(header, zip(*lines, strict=True), strict=True))
    for title in DISPENSABLE:
        if sum(2 + max(map(len, [title, *cells])) for title, cells in columns.items()) <= width:
            break
        del columns[title]
    grid = Table(box=None, padding=(0, 1), header_style="bold")
    for title in columns:
        grid.add_column(title, justify="left" if title in (header[0], header[-1]) else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        grid.add_row(*map(Text, cells))
    return grid
