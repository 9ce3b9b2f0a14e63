"""Where results are written: checked before the work, so that nothing is lost by it."""

import os
import sys
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps

from sktl._atomic_files import check_not_read

__all__ = ["aware_of_places", "check_folder", "check_place", "keep_from_outputs", "with_ending"]

_running: ContextVar = ContextVar("running", default=None)  # what a command was given, and its outputs by option


def aware_of_places(command):
    """Let the checks of places know what else a command was given."""

    @wraps(command)
    def run(**values):
        token = _running.set((values, {}))
        try:
            return command(**values)
        finally:
            _running.reset(token)

    return run


def check_folder(option, path):
    """Refuse a folder that cannot be made, or written to, and one that the same command reads as well."""
    if path.exists() and not path.is_dir():
        raise ValueError(
            f"{option} must be a folder where a slash is behind it. Got the file {str(path)!r} instead: leave the "
            "slash out, or name another folder."
        )
    _check_writable(path, path if path.exists() else path.absolute().parent)
    _take_note(option, path)


def check_place(option, path, *, is_picture=False):
    """Refuse a place that nothing can be written to, and one that the same command reads or writes to as well."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must be a file to write. Got the folder {str(path)!r} instead: add a name to it.")
    if path.exists() and (not path.is_file() or _is_own_output(path)):
        raise ValueError(
            f"{option} must be a regular file. Got {str(path)!r} instead: a device, a pipe, or where the output of "
            "this command goes, which a file would take the place of."
        )
    if not is_picture and path.exists() and _is_named_as_a_picture(path):
        raise ValueError(
            f"{option} must not take the place of a picture. Got {str(path)!r} instead, which is there already: was it "
            "meant to be read? Name the file to write right behind the option."
        )
    _check_writable(path, path.absolute().parent)
    with suppress(FileNotFoundError):
        path.lstat()
    _take_note(option, path)


def _check_writable(path, folder):
    if not folder.is_dir():
        raise ValueError(f"The folder to write {path} to must exist. Got {folder} instead.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder to write {path} to must be yours to write to. Got {folder} instead.")


def _take_note(option, path):
    """Remember where a command is going to write, and keep that apart from its other files."""
    if _running.get() is None:
        return
    values, outputs = _running.get()
    own = option.lstrip("-").replace("-", "_")
    check_not_read(option, path, _named({name: value for name, value in values.items() if name != own}))
    for other, place in outputs.items():
        if other != option and os.path.realpath(place) == os.path.realpath(path):
            raise ValueError(
                f"{option} must be a file of its own. Got {str(path)!r} instead, as for {other}. Name another one."
            )
    outputs[option] = path


def _named(values):
    """Yield what the other options and arguments name, and the files of the embedding store."""
    from sktl.store import store_folder

    for value in values.values():
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str | os.PathLike):
                yield one
    with suppress(RuntimeError):  # a user without a home has no store
        yield from store_folder().glob("embeddings-*")


def keep_from_outputs(files):
    """Refuse to write onto files that a command is going to read, such as the images that it has found in a folder."""
    _, outputs = _running.get() or ({}, {})
    for option, path in outputs.items():
        check_not_read(option, path, files)


def _is_named_as_a_picture(path):
    from sktl.images.formats import EXTENSIONS

    return path.suffix.lower() in EXTENSIONS


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
