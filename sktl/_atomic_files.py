"""Files that take the place of former ones in one step, or not at all, and never of what is read."""

import os
import platform
import re
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

__all__ = ["check_not_read", "replacing"]

_LONGEST_ENDING = 16  # characters: names of files are bounded, and endings that choose a format are short
_OURS = re.compile(r"\.sktl-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{16}(\.[^.]*)?")
_MAX_AGE = 24 * 3600  # seconds after which an unfinished file counts as given up, whoever began it


def check_not_read(what, path, read):
    """Refuse to write onto one of the files that are read, whichever name or link leads there."""
    here = _status(path)
    if here is None:
        return  # what is not there cannot be lost
    for other in read:
        status = _status(other)
        if status is not None and os.path.samestat(here, status):
            raise ValueError(
                f"{what} must be a file of its own. Got {os.fspath(path)!r} instead, which is in use as "
                f"{os.fspath(other)!r} and would be lost. Write to a file of another name."
            )


def _status(path):
    try:
        return os.stat(path)
    except (OSError, ValueError):  # a name that no file can have
        return None


@contextmanager
def replacing(path):
    """Give the name of a file to write, which takes the place of another one once it is complete."""
    path = Path(os.path.realpath(path))  # a link stays a link
    _sweep(path.parent)
    ending = path.suffix if len(path.suffix) <= _LONGEST_ENDING else ""
    unfinished = path.with_name(f".sktl-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}{ending}")
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


def _sweep(folder):
    """Remove what killed processes have left unfinished in a folder."""
    machine = _machine()
    for file in folder.glob(".sktl-*"):
        match = _OURS.fullmatch(file.name)
        if match is None:
            continue
        with suppress(OSError):  # gone by now, or somebody else's to remove
            is_dead = match["machine"] == machine and not _is_alive(int(match["process"]))
            if is_dead or time.time() - file.lstat().st_mtime > _MAX_AGE:
                file.unlink()


def _machine():
    """Tell apart where numbers of processes count: a folder may be shared by computers and by containers."""
    try:
        parts = Path("/proc/sys/kernel/random/boot_id").read_text(), os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        parts = platform.node(), 0
    return sha256(repr(parts).encode()).hexdigest()[:8]


def _is_alive(process):
    if os.name != "posix":
        return True  # asking would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # another user's
    return True
