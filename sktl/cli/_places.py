"""Where results are written: checked before the work, and replaced in one step after it."""

import os
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_place", "replacing", "with_ending"]


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
        If it is a folder, or its folder does not exist.
    PermissionError
        If its folder may not be written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must be a file to write. Got the folder {str(path)!r} instead: add a name to it.")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"The folder to write {path} to must exist. Got {folder} instead.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder to write {path} to must be yours to write to. Got {folder} instead.")


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
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode  # as the user wants files to be; safetensors would have them private
        yield unfinished
        unfinished.chmod(mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
