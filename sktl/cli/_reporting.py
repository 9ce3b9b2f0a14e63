"""How commands speak: results on stdout, everything else on stderr, errors as one message and an exit code."""

import sys
import warnings
from contextlib import contextmanager

import typer
from rich.console import Console

from sktl._text import printable
from sktl.cli._words import in_words_of_command

__all__ = ["bars_wanted", "errors_as_messages", "print_comparison", "say", "say_near_copies", "size", "unreadable"]

_MOST = 10  # pictures with near copies that are listed, and copies of each
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


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
        say(in_words_of_command(f"Error: {error}{advice}"))
        raise typer.Exit(1) from None


def _say_warning(message, category, filename, lineno, file=None, line=None):
    """Say what a warning says, without the place in the code, which is none of the user's."""
    say(in_words_of_command(f"Warning: {message}"))


def print_comparison(comparison):
    """Print the verdict, the tables and what they mean, on stdout."""
    from sktl.reports import summarize_comparison

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(summarize_comparison(comparison).as_rich(console.width))
    else:
        print(comparison)


def say_near_copies(comparison, target_names):
    """List the near copies of one picture by their paths, on stderr."""
    from sktl.reports import near_copies, said_of_copies, where

    if not (groups := near_copies(comparison, target_names)):
        return
    say(said_of_copies(groups))
    for group in groups[:_MOST]:
        for place, file in enumerate(group.files[:_MOST]):
            say(f"{'    ' if place else '  - '}{printable(file)} ({printable(where(group, place))})")
    if len(groups) > _MOST:
        say(f"  and {len(groups) - _MOST:,} more.")
    if any(group.across for group in groups):
        say("Run it again with --near-duplicates group: near copies then stay on one side of every split.")
