"""The embedding store: vectors by content, kept on disk for whoever asks next.

Everything that can go wrong with files ends here. A vector that cannot be had is a vector to compute, so the worst that
a fault does to a user is one warning and the time it takes to compute again.
"""

import os
import re
import sqlite3
import stat
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock

import numpy as np

from sktl.store._database import Database, StoredKey, is_of_this_format, number_in
from sktl.store._leases import Leases

__all__ = ["EmbeddingStore", "StoreUsage"]

_VERSION = 1  # of the tables; another one goes into another file
_ATTEMPTS = 3
# Errors are told apart by what SQLite and the system call them.
_TRANSIENT = ("locked", "busy", "protocol")
_NO_SPACE = ("disk is full", "no space", "quota", "too large")
_NO_WRITING = (*_NO_SPACE, "readonly", "read-only", "disk i/o")
_NO_ACCESS = ("unable to open", "authorization")
# What sqlite3 raises besides: at a name in the file that is no text, which its own message would repeat.
_DAMAGED = (UnicodeError,)
_inherited: list = []  # connections of the parent process: kept, since SQLite demands that a child leaves them alone


@dataclass(frozen=True)
class StoreUsage:
    """What a store holds."""

    path: str  # of its folder
    n_vectors: int
    n_bytes: int  # on disk
    max_bytes: int
    by_key: list  # per key: description, vectors stored, bytes of these, images computed so far, seconds spent on these


class EmbeddingStore:
    """Vectors of images on disk, shared by all processes that use the same folder.

    Parameters
    ----------
    folder : Path
        Where to keep them.
    max_bytes : int
        Size on disk beyond which those not used for longest are deleted.
    """

    def __init__(self, folder, max_bytes):
        self.folder = folder
        self.max_bytes = max_bytes
        self._lock = RLock()
        self._database = self._in_use = None
        self._leases = Leases(folder / "processes")
        self._at_work = set()
        self._can_read = self._can_write = True
        self._warned = self._looked_at = False

    # As of a `TieredStore`, which looks up folders of segments besides.
    segments = ()

    @property
    def local(self):
        """Where vectors are kept: here."""
        return self

    @property
    def tiers(self):
        """All that is looked up: this store."""
        return (self,)

    def read(self, key, digests):
        """Return the stored vectors among those asked for, as {digest: read-only ndarray of float32}."""
        nothing = {}, [], []
        found, outdated, damaged = self._attempt(lambda database: database.read(key, digests), nothing)
        if outdated or damaged:
            self._attempt(lambda database: database.tidy(outdated, damaged), None, writes=True)
        return {digest: np.frombuffer(vector, dtype="<f4") for digest, vector in found.items()}

    def stored(self, key, digests):
        """Return the set of those digests of which there are vectors."""
        return self._attempt(lambda database: database.stored(key, digests), set())

    def stored_keys(self):
        """Return the keys of which there are vectors."""
        return [StoredKey(*row) for row in self._attempt_if_there(lambda database: database.keys(), [])]

    def digests(self, key, after=b"", n_most=100_000):
        """Return the digests of images that follow another one, in their order."""
        return self._attempt(lambda database: database.digests(key, after, n_most), [])

    def begin(self):
        """Return a lease under which to claim images, or None when nothing can be claimed; see `end`."""

        def begin(database):
            lease = self._leases.acquire()
            self._at_work.add(lease)
            return lease

        return self._attempt(begin, None, writes=True)

    def end(self, lease):
        """Give a lease back: claims under it that could not be given back count no longer."""
        if lease is not None:
            with self._lock:
                self._at_work.discard(lease)
                self._leases.release(lease)

    def claim(self, key, digests, lease):
        """Return the set of digests that the caller has to compute; the others are computed elsewhere right now."""
        if lease is None or not digests:
            return set(digests)
        return self._attempt(
            lambda database: database.claim(key, digests, lease, self._leases.is_alive), set(digests), writes=True
        )

    def write(self, key, vectors, lease, seconds):
        """Keep vectors, given as {digest: ndarray}, and give back the claims to them."""
        blobs = {digest: vector.astype("<f4", copy=False).tobytes() for digest, vector in vectors.items()}

        def write(database):
            database.write(key, blobs, lease or "", seconds)
            database.evict(self.max_bytes)

        self._attempt(write, None, writes=True)

    def release(self, key, digests, lease):
        """Give back claims without a result."""
        if lease is not None and digests:
            self._attempt(lambda database: database.release(key, digests, lease), None, writes=True)

    def seconds_per_image(self, key):
        """Return how long an image took to compute on average, 0 when that is unknown."""
        return self._attempt(lambda database: database.seconds_per_image(key), 0.0)

    def usage(self):
        """Return what the store holds.

        Returns
        -------
        StoreUsage
            Zeros when there is no store yet.
        """
        by_key, n_bytes = self._attempt_if_there(lambda database: (database.contents(), database.n_bytes()), ([], 0))
        return StoreUsage(str(self.folder), sum(row[1] for row in by_key), n_bytes, self.max_bytes, by_key)

    def clear(self):
        """Delete all vectors; processes at work go on."""
        self._attempt_if_there(lambda database: database.clear(), None, writes=True)

    @property
    def is_open(self):
        """Whether this process has the files open."""
        return self._database is not None

    def close(self):
        """Close the files, unless somebody is at work; the next call opens them again."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._at_work:
                    self._close_database()
            finally:
                self._lock.release()

    def forget_after_fork(self):
        """Start without files and leases in a process that was forked off."""
        _inherited.append(self._database)
        self._database = None
        self._lock = RLock()
        self._at_work = set()

    # faults

    def _attempt_if_there(self, operation, otherwise, *, writes=False):
        """Do the same as `_attempt`, but make no store where there is none."""
        with suppress(OSError):
            if self._files():
                return self._attempt(operation, otherwise, writes=writes)
        return otherwise

    def _attempt(self, operation, otherwise, *, writes=False):
        """Run an operation on the database, mend what can be mended, and settle for `otherwise` at last."""
        with self._lock:
            for attempt in range(_ATTEMPTS):
                if not self._can_read or (writes and not self._can_write):
                    break
                try:
                    self._open()
                    if writes and not self._can_write:
                        break
                    return operation(self._database)
                except (sqlite3.Error, OSError, NotImplementedError, *_DAMAGED) as error:
                    if not self._mend(error, attempt, writes):
                        break
            return otherwise

    def _open(self):
        if self._database is not None and not self._database.is_in_place():
            self._close_database()
        if self._database is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._look_at_folder()
            files = self._files()
            number, file = files[-1] if files else self._next_after(0)
            self._in_use = file
            try:
                # One that was listed is not made again: another process may have started anew in between.
                self._database = Database(file, "existing" if files else "new", number)
            except sqlite3.OperationalError as error:
                if not files or _is_cut_off(error) or not _means(error, _NO_WRITING + _NO_ACCESS):
                    raise
                self._database = Database(file, "frozen")
                self._give_up_writing(error)
            if self._can_write:
                self._remove(file for _, file in files[:-1])

    def _mend(self, error, attempt, writes):
        """Do what helps against an error; return whether another attempt makes sense."""
        is_last = attempt == _ATTEMPTS - 1
        if _means(error, _TRANSIENT) and isinstance(error, sqlite3.OperationalError):
            time.sleep(0.05 * (attempt + 1))
            if is_last and writes:
                self._give_up_writing(error)
            return not is_last
        if _means(error, _NO_SPACE):
            # Files stay open: without space they could not be opened again, and what they hold can still be read.
            self._give_up_writing(error)
            return False
        self._close_database()
        if attempt == 0:
            return True  # a connection of its own may be all that is wrong
        if writes and self._is_about_the_place(error):
            self._give_up_writing(error)
        elif _is_damage(error) and self._can_write and not is_last:
            self._start_anew()
            self._warn(f"was damaged ({error}) and has started anew")
            return True
        else:
            self._can_read = False
            self._warn(f"cannot be used ({error}), so embeddings are neither looked up nor kept")
        return False

    def _is_about_the_place(self, error):
        """Whether an error says that the folder or disk takes no writing, not that the file is damaged."""
        if _is_cut_off(error) or (self._in_use is not None and not is_of_this_format(self._in_use)):
            return False
        return isinstance(error, OSError) or _means(error, _NO_WRITING)

    def _give_up_writing(self, error):
        self._can_write = False
        self._warn(f"cannot be written to ({error}), so new embeddings are not kept")

    def _warn(self, what):
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"the embedding store in {str(self.folder)!r} {what}. Results are not affected; it only takes longer. "
            "Set SKTL_CACHE_DIR to another folder, or cache=False to do without.",
            stacklevel=2,
        )

    def _look_at_folder(self):
        """Warn once of others who could put vectors of their own into the store, which nobody could tell apart."""
        if self._looked_at or os.name != "posix":
            return
        self._looked_at = True
        status = os.stat(self.folder)
        if status.st_uid != os.getuid():
            what, advice = f"belongs to another user (number {status.st_uid})", "Take a folder of your own"
        elif others := _writers(status):
            what, advice = (
                f"may be written to by {others}",
                f"Run chmod go-w {str(self.folder)!r}, or take another one",
            )
        else:
            return
        warnings.warn(
            f"the embedding store in {str(self.folder)!r} {what}, who could change what is found there, and with it "
            f"results. {advice}: SKTL_CACHE_DIR names it.",
            stacklevel=2,
        )

    # files

    def _file(self, number):
        return self.folder / f"embeddings-v{_VERSION}-{number:06d}.sqlite"

    def _files(self):
        """Return numbers and files of vectors, oldest first: the last one is in use, others were damaged.

        A file that was started anew holds its own number; one of another number is a copy that somebody has put there.
        """
        numbers = [
            int(match[1])
            for name in os.listdir(self.folder)
            if (match := re.fullmatch(rf"embeddings-v{_VERSION}-(\d{{6,9}})\.sqlite", name))
        ]
        found = [(number, file) for number in sorted(numbers) if (file := self._file(number)).is_file()]
        own = [(number, file) for number, file in found if number == 1 or number_in(file) == number]
        return own or found[:1]  # files of older versions hold no number

    def _next_after(self, number):
        """Return the next number, and its file, that nobody has put anything of another number under."""
        while True:
            number, file = number + 1, self._file(number + 1)
            if not os.path.lexists(file) or (number, file) in self._files():
                return number, file

    def _start_anew(self):
        """Go on in a file of another name, as another process may hold the damaged one open."""
        with suppress(sqlite3.Error, OSError):  # the next attempt meets the same error and judges it
            files = self._files()
            if files and files[-1][1] == self._in_use:  # else another process has started anew already
                number, file = self._next_after(files[-1][0])
                Database(file, "new", number).close()
                self._remove(old for _, old in files)

    def _remove(self, files):
        for file in files:
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):  # gone already, or held open on Windows: the next process tries again
                    os.unlink(f"{file}{suffix}")

    def _close_database(self):
        if self._database is not None:
            with suppress(sqlite3.Error):  # it is given up anyway
                self._database.close()
            self._database = None


def _writers(status):
    """Say who else may write to a folder; the group that a user is alone in does not count."""
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid):
        return "its group"
    return ""


def _is_private(group):
    import grp
    import pwd

    try:
        return grp.getgrgid(group).gr_name == pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # numbers without names, as in a container
        return False


def _is_damage(error):
    return isinstance(error, _DAMAGED) or (isinstance(error, sqlite3.Error) and not _means(error, _NO_ACCESS))


def _is_cut_off(error):
    # A file that ends too early reports itself like a failing disk; Python 3.10 does not tell them apart.
    return getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_SHORT_READ"


def _means(error, words):
    message = str(error).lower()
    return any(word in message for word in words)
