"""Where segments lie: a folder of this machine's file systems, or one behind a URL."""

import os
import re
import stat
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from sktl._atomic_files import replacing
from sktl._optional import import_optional
from sktl._text import shortened

__all__ = ["folder_of", "is_url", "place_at"]

_URL = re.compile(r"([a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_NAME = re.compile(r"[0-9a-f]{32}\.parquet")  # whatever else lies in a folder is no segment
_READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_NEARBY = 1 << 16  # bytes between two ranges that are fetched along: a request costs more


def is_url(place):
    """Whether a place is named by a URL, as fsspec understands it."""
    return isinstance(place, str) and _URL.match(place) is not None


def place_at(url):
    """Return what lists, reads and writes in a folder, given by its path or URL."""
    if is_url(url) and not url.startswith("file://"):
        return _Remote(url)
    return _Local(Path(os.path.abspath(Path(str(url).removeprefix("file://")).expanduser())))


class _Local:
    """A folder that the system knows by a path, on a disk or shared."""

    is_remote = False

    def __init__(self, folder):
        self._folder = folder
        self.url = str(folder)

    def exists(self):
        """Whether there is such a folder."""
        return self._folder.is_dir()

    def make(self):
        """Make the folder where it is not there."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def folders(self):
        """Return the names of the folders in it."""
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_dir())

    def sizes(self, folder, known=()):
        """Return {name: bytes} of the segments in one of its folders, without asking for the size of known ones."""
        found = {}
        try:
            names = os.listdir(self._folder / folder)
        except (FileNotFoundError, NotADirectoryError):
            return found
        for name in filter(_NAME.fullmatch, names):
            with suppress(OSError):  # removed in between, or a link that leads nowhere
                if name in known:
                    found[name] = None
                elif stat.S_ISREG((status := os.stat(self._folder / folder / name)).st_mode):
                    found[name] = status.st_size
        return found

    def read(self, folder, ranges):
        """Return the bytes of each range (name, start, stop); None of files that are gone or not to be read."""
        found = []
        for name, own in groupby(ranges, key=lambda one: one[0]):
            own = list(own)
            try:
                descriptor = os.open(f"{self.url}{os.sep}{folder}{os.sep}{name}", _READING)
                try:
                    found += [_read(descriptor, start, stop - start) for _, start, stop in own]
                finally:
                    os.close(descriptor)
            except OSError:
                found += [None] * len(own)
        return found

    def put(self, folder, name, content):
        """Write a file in one step; unfinished ones of killed processes are removed."""
        (self._folder / folder).mkdir(parents=True, exist_ok=True)
        with replacing(self._folder / folder / name) as unfinished:
            unfinished.write_bytes(content)


class _Remote:
    """A folder behind a URL, by fsspec."""

    is_remote = True

    def __init__(self, url):
        self.url = url.rstrip("/")
        self._system()  # an unknown protocol, or one whose package is missing, is an error at once

    def exists(self):
        """Whether there can be such a folder: in many systems there are files alone."""
        return True

    def make(self):
        """Make nothing: what writes a file makes its folder."""

    def folders(self):
        """Return the names of the folders in it."""
        found = self._ask(lambda system, path: system.ls(path, detail=True)) or []
        return sorted(_last(entry["name"]) for entry in found if entry["type"] == "directory")

    def sizes(self, folder, known=()):
        """Return {name: bytes} of the segments in one of its folders."""

        def sizes(system, path):
            system.invalidate_cache()
            entries = {_last(entry["name"]): entry for entry in system.ls(f"{path}/{folder}", detail=True)}
            entries = {name: entry for name, entry in entries.items() if _NAME.fullmatch(name)}
            # A server of plain http lists no sizes.
            return {
                name: entry["size"] if entry["size"] is not None else system.size(entry["name"])
                for name, entry in entries.items()
            }

        return self._ask(sizes) or {}

    def read(self, folder, ranges):
        """Return the bytes of each range (name, start, stop); None of files that are gone or not to be read."""
        wide = _joined(ranges)
        names, starts, stops = zip(*wide, strict=True) if wide else ((), (), ())

        def fetch(system, path):
            paths = [f"{path}/{folder}/{name}" for name in names]
            return system.cat_ranges(paths, list(starts), list(stops), on_error="return")

        fetched = (self._ask(fetch) if wide else None) or [None] * len(wide)
        found, i = [], 0
        for name, start, stop in ranges:
            while not (names[i] == name and starts[i] <= start and stop <= stops[i]):
                i += 1
            content = fetched[i]
            whole = isinstance(content, bytes) and len(content) == stops[i] - starts[i]
            found.append(content[start - starts[i] : stop - starts[i]] if whole else None)
        return found

    def put(self, folder, name, content):
        """Write a file in one step."""
        system, path = self._system()
        system.makedirs(f"{path}/{folder}", exist_ok=True)
        system.pipe_file(f"{path}/{folder}/{name}", bytes(content))

    def _system(self):
        """Return the file system and the path in it; fsspec keeps one for each process."""
        caller = f"Segments in {shortened(self.url, 80)!r}"
        fsspec = import_optional("fsspec", extra="remote", caller=caller)
        try:
            return fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise ImportError(
                f"{caller} need a package that is not installed, fsspec says: {error}. s3 comes with s3fs, gs "
                "with gcsfs."
            ) from error

    def _ask(self, question):
        """Ask the file system, whose errors are of any kind; None where there is nothing."""
        try:
            return question(*self._system())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise OSError(shortened(error, 200) or type(error).__name__) from error


def _read(descriptor, start, n_bytes):
    """Return a range of a file, None where it ends before."""
    os.lseek(descriptor, start, os.SEEK_SET)
    content = os.read(descriptor, n_bytes)
    while content and len(content) < n_bytes and (more := os.read(descriptor, n_bytes - len(content))):
        content += more
    return content if len(content) == n_bytes else None


def _joined(ranges):
    """Join ranges that overlap or lie nearby; they are sorted by file and start."""
    wide = []
    for name, start, stop in ranges:
        if wide and wide[-1][0] == name and start <= wide[-1][2] + _NEARBY:
            wide[-1] = name, wide[-1][1], max(stop, wide[-1][2])
        else:
            wide.append((name, start, stop))
    return wide


def _last(path):
    return path.rstrip("/").rpartition("/")[2]


def folder_of(digest):
    """Return the name of the folder in which the segments of a key lie."""
    return digest.hex()[:16]
