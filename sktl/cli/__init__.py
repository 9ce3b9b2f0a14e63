"""The command line. typer and rich come with the extra ``cli``, so they are imported when the command runs."""

import io
import sys

from sktl._optional import import_optional

__all__ = ["main"]


def main():
    """Run the command ``sktl`` with the arguments of the process."""
    try:
        import_optional("typer", extra="cli", caller="The command sktl")
        import_optional("rich", extra="cli", caller="The command sktl")
    except ImportError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    from sktl.cli._app import app

    for stream in (sys.stdout, sys.stderr):
        # Names of files may have letters that the encoding of a terminal or pipe lacks.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="sktl")
