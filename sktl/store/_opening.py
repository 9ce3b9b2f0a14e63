"""Which store a parameter `cache` means: its folder, its size, and one object for each in a process."""

import atexit
import os
import re
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Lock

from sktl._forking import after_fork
from sktl._text import shortened
from sktl.store._segment_places import is_url
from sktl.store._segments import SegmentFolder
from sktl.store._store import EmbeddingStore
from sktl.store._tiers import TieredStore

__all__ = ["looked_up_only", "open_store", "store_folder"]

_DEFAULT_SIZE = "5GB"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MAX_OPEN = 4
_stores: OrderedDict = OrderedDict()  # by folder; never forgotten, so that each warns once
_segments: dict = {}  # by path or URL; never forgotten either
_lock = Lock()
_look_up_only: ContextVar = ContextVar("look_up_only", default=False)


@contextmanager
def looked_up_only():
    """Have the stores that are opened inside the block answer as ever, and keep nothing."""
    token = _look_up_only.set(True)
    try:
        yield
    finally:
        _look_up_only.reset(token)


class _LookUpOnly:
    """A store in which nothing is claimed or kept."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def begin(self):
        """Return no lease, without which nothing is claimed."""
        return None

    def write(self, key, vectors, lease, seconds):
        """Keep nothing."""


def open_store(cache=True):
    """Return the store that a parameter `cache` means: of several tiers where folders of segments are looked up too."""
    if isinstance(cache, list | tuple):
        _check_tiers(cache)
        local, *named = cache
    else:
        local, named = cache, []
    if not (named or _is_path(local) or local):
        return None
    named += [name.strip() for name in os.environ.get("SKTL_CACHE_SEGMENTS", "").split(",") if name.strip()]
    store = _open_local(local)
    if not named:
        return store
    segments = [_open_segments(name) for name in dict.fromkeys(map(str, named))]
    return TieredStore(store, segments)


def _check_tiers(cache):
    rule = "cache must be True, False, the path of a folder, or a list of one of these and folders of segments."
    if not cache or not (_is_path(cache[0]) or isinstance(cache[0], bool)):
        raise ValueError(f"{rule} Got a list that begins otherwise instead. Begin it with True, as in [True, folder].")
    for name in cache[1:]:
        if not _is_path(name) or not str(name):
            raise ValueError(f"{rule} Got {name!r:.60} in its place instead. Name a path or URL.")


def _is_path(cache):
    return isinstance(cache, str | os.PathLike)


def _open_segments(name):
    place = name if is_url(name) else os.path.abspath(Path(name).expanduser())
    with _lock:
        folder = _segments.get(place)
    if folder is None:
        folder = SegmentFolder(place)
        with _lock:
            folder = _segments.setdefault(place, folder)
    folder.look_again()
    return folder


def _open_local(cache):
    """Return the store in a folder of this machine."""
    max_bytes = _max_bytes()
    is_path = _is_path(cache)
    if is_path and not str(cache):
        raise ValueError("cache must be True, False or the path of a folder. Got an empty path instead.")
    if is_url(cache):
        raise ValueError(
            f"cache must be True, False or the path of a folder. Got the URL {shortened(cache, 80)!r} instead. Where "
            "there are segments, write cache=[True, URL]."
        )
    if not (is_path or cache) or max_bytes == 0:
        return None
    try:
        folder = Path(os.path.abspath(Path(cache).expanduser() if is_path else store_folder()))
    except RuntimeError as error:  # a user without a home, as in some containers
        warnings.warn(
            f"there is no folder for the embedding store ({error}), so embeddings are not kept. Results are not "
            "affected; it only takes longer. Set SKTL_CACHE_DIR to a folder, or cache=False to do without.",
            stacklevel=2,
        )
        return None
    with _lock:
        store = _stores.setdefault(folder, EmbeddingStore(folder, max_bytes))
        store.max_bytes = max_bytes
        _stores.move_to_end(folder)
        others = [other for other in _stores.values() if other.is_open and other is not store]
        for other in others[: max(len(others) - _MAX_OPEN + 1, 0)]:
            other.close()
    return _LookUpOnly(store) if _look_up_only.get() else store


def store_folder():
    """Return the folder of the store: SKTL_CACHE_DIR, else ``sktl`` in the user's folder for caches."""
    if os.environ.get("SKTL_CACHE_DIR"):
        return Path(os.environ["SKTL_CACHE_DIR"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sktl"


def _max_bytes():
    text = os.environ.get("SKTL_CACHE_SIZE") or _DEFAULT_SIZE
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text, re.IGNORECASE)
    if match is None:
        raise ValueError(
            f"SKTL_CACHE_SIZE must be a number of bytes such as '500MB' or '20GB', or 0 for no store. "
            f"Got {text!r} instead."
        )
    return int(float(match[1]) * _UNITS[match[2].upper().rstrip("B")])


def _close_all():
    for store in _stores.values():
        store.close()


def _forget_after_fork():
    global _lock
    for store in _stores.values():
        store.forget_after_fork()
    _lock = Lock()


atexit.register(_close_all)
after_fork(_forget_after_fork)
