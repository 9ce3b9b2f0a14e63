"""Where results are written: checked before the work."""

import os
import sys
from contextlib import suppress

__all__ = ["check_place", "with_ending"]


def check_place(option, path):
    """Refuse a place that nothing can be written to."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must be a file to write. Got the folder {str(path)!r} instead: add a name to it.")
    if path.exists() and (not path.is_file() or _is_own_output(path)):
        raise ValueError(
            f"{option} must be a regular file. Got {str(path)!r} instead: a device, a pipe, or where the output of "
            "this command goes, which a file would take the place of."
        )
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"The folder to write {path} to must exist. Got {folder} instead.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder to write {path} to must be yours to write to. Got {folder} instead.")
    with suppress(FileNotFoundError):
        path.lstat()


def _is_own_output(path):
    """Whether stdout or stderr leads to a file: /dev/stdout does, when a shell has sent it to one."""
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None and os.path.samestat(path.stat(), os.fstat(stream.fileno())):
                return True
        except (OSError, ValueError):  # closed
            continue
    return False


def with_ending(option, path, endings):
    """Return a path with one of some endings: the first of them where it has none."""
    check_place(option, path)
    if not path.suffix:
        path = path.with_name(f"{path.name}{endings[0]}")
        check_place(option, path)
    if path.suffix.lower() not in endings:
        raise ValueError(f"{option} must end in {', '.join(endings)}. Got {str(path)!r} instead.")
    return path
