"""Where results are written: checked before the work, and replaced in one step after it."""

import os
import secrets
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["check_place", "replacing", "with_ending"]

_LONGEST_ENDING = 16  # characters: names of files are bounded, and endings that choose a format are short


def check_place(option, path):
    """Refuse a place that nothing can be written to.

    Parameters
    ----------
    option : str
        Where the path was given, for the message.
    path : Path or None
        The file to be written; None when there is none.

    Raises
    ------
    ValueError
        If it is a folder, a device or a pipe, where our own output goes, or its folder does not exist.
    PermissionError
        If its folder may not be written to.
    OSError
        If there can be no file of this name.
    """
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
    """Return a path with one of some endings: the first of them where it has none.

    Parameters
    ----------
    option : str
        Where the path was given, for the message.
    path : Path
        The file to be written.
    endings : sequence of str
        Such as ``".csv"``.

    Returns
    -------
    Path
        A place that can be written to.

    Raises
    ------
    ValueError
        If it has another ending, or cannot be written.
    """
    check_place(option, path)
    if not path.suffix:
        path = path.with_name(f"{path.name}{endings[0]}")
        check_place(option, path)
    if path.suffix.lower() not in endings:
        raise ValueError(f"{option} must end in {', '.join(endings)}. Got {str(path)!r} instead.")
    return path


@contextmanager
def replacing(path):
    """Give the name of a file to write, which takes the place of another one once it is complete.

    Parameters
    ----------
    path : Path
        The file that is replaced; left as it was when the block fails or is interrupted.

    Yields
    ------
    Path
        In the same folder, with the same ending.
    """
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
