"""The command line. typer and rich come with the extra ``cli``, so they are imported when the command runs."""

import sys

from sktl._optional import import_optional

__all__ = ["main"]


def main():
    """Run the command ``sktl`` with the arguments of the process."""
    from sktl.cli._streams import sound_streams

    with sound_streams():
        try:
            import_optional("typer", extra="cli", caller="The command sktl")
            import_optional("rich", extra="cli", caller="The command sktl")
        except ImportError as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(1)
        from sktl.cli._app import app

        app(prog_name="sktl")
