"""Liveness of workers: each holds a file lock, which the operating system releases when its process ends."""

import os
import re
import sys
import time
from contextlib import suppress
from uuid import uuid4

from sktl._forking import after_fork

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Seconds after which a lock file that nobody holds belongs to nobody, not to one who is about to lock it.
_MAX_AGE = 60
_held: dict = {}  # path of a lock file → descriptor, of all that this process holds


class Leases:
    """The leases of all who compute for one store, in this process and in others."""

    def __init__(self, folder):
        self._folder = folder
        self._swept = False

    def acquire(self):
        """Return the name of a new lease, which counts as alive until `release`, or until the process ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._sweep()
        name = uuid4().hex
        path = self._path(name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor):
                raise OSError(f"{path} is locked, though it is new")
        except BaseException:
            os.close(descriptor)
            raise
        _held[path] = descriptor
        return name

    def release(self, name):
        """Give a lease back."""
        path = self._path(name)
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)
            with suppress(OSError):  # without its lock the file says nothing
                path.unlink()

    def is_alive(self, name):
        """Whether somebody, in whichever process, holds a lease."""
        if not isinstance(name, str) or not re.fullmatch("[0-9a-f]{32}", name):
            return False  # a damaged entry
        path = self._path(name)
        if path in _held:
            return True
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not _lock(descriptor):
                return True
        finally:
            os.close(descriptor)
        with suppress(OSError):
            path.unlink()
        return False

    def _path(self, name):
        return self._folder / f"{name}.lock"

    def _sweep(self):
        """Remove what killed processes have left."""
        for path in self._folder.glob("*.lock"):
            with suppress(OSError):  # somebody else has removed it, or owns it
                if time.time() - path.stat().st_mtime > _MAX_AGE:
                    self.is_alive(path.stem)
        self._swept = True


def _lock(descriptor):
    """Lock a file for as long as it is open; return whether it was free."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            # Belongs to the open file, not to the process: threads, and links to the folder, are told apart too.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _let_go_after_fork():
    """Close the parent's locks, which does not open them: else the child would keep the parent alive beyond its end."""
    while _held:
        os.close(_held.popitem()[1])


after_fork(_let_go_after_fork)
