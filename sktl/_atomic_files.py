"""Files that take the place of former ones in one step, or not at all."""

import os
import secrets
import stat
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]

_LONGEST_ENDING = 16  # characters: names of files are bounded, and endings that choose a format are short


@contextmanager
def replacing(path):
    """Give the name of a file to write, which takes the place of another one once it is complete."""
    path = Path(os.path.realpath(path))  # a link stays a link
    ending = path.suffix if len(path.suffix) <= _LONGEST_ENDING else ""
    unfinished = path.with_name(f".{secrets.token_hex(8)}{ending}")
    try:
        unfinished.touch(exist_ok=False)
        # As the former file, or as the user wants new ones to be; safetensors would have them private.
        mode = stat.S_IMODE((path if path.exists() else unfinished).stat().st_mode)
        unfinished.chmod(mode | stat.S_IWUSR)  # before there is anything in it that others may not read
        yield unfinished
        unfinished.chmod(mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
