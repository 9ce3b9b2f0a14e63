"""A client and the workers of its cluster: settings of the cache reach them, and separate stores are told of.

A worker reads its own environment, on its own machine. What it has not set there, it takes from the client.
"""

import os
import socket
import warnings
from weakref import WeakKeyDictionary

from sktl._clusters import cluster_client
from sktl.store._opening import open_store

__all__ = ["share_settings"]

SETTINGS = ("SKTL_CACHE_DIR", "SKTL_CACHE_SIZE", "SKTL_CACHE_SEGMENTS")
PLUGIN = "sktl-cache-settings"
_shared: WeakKeyDictionary = WeakKeyDictionary()  # client → its settings as they were passed on
_asked: WeakKeyDictionary = WeakKeyDictionary()  # client → parameters `cache` that its workers were asked about


def share_settings(cache=True):
    """Pass the settings on to the cluster that joblib works on, if any, and warn once where its workers share no store.

    To be called wherever fits may be about to go there.
    """
    client = cluster_client()
    if client is None or client.asynchronous or not cache:
        return
    settings = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    if _shared.get(client) != settings:
        client.register_plugin(_plugin(settings), name=PLUGIN)  # for workers that join later, too
        _shared[client] = settings
        _asked[client] = set()
    if repr(cache) not in _asked[client]:
        _asked[client].add(repr(cache))
        _warn_of_separate_stores(client, cache)


def _plugin(settings):
    """Make dask's plugin for workers; not at the top of the file, since dask is optional."""
    from distributed import WorkerPlugin

    class CacheSettings(WorkerPlugin):
        """Set what is not set, and unset it at the end."""

        def setup(self, worker):
            self.own = {name: value for name, value in settings.items() if name not in os.environ}
            os.environ.update(self.own)

        def teardown(self, worker):
            for name, value in self.own.items():
                if os.environ.get(name) == value:
                    del os.environ[name]

    return CacheSettings()


def _warn_of_separate_stores(client, cache):
    found = list(client.run(_place, cache, on_error="ignore").values())
    hosts, folders, segments = map(set, zip(*found, strict=True)) if found else ((), (), ())
    if len(found) < 2 or all(segments) or (len(hosts) == len(folders) == 1 and None not in folders):
        return
    warnings.warn(
        f"The {len(found)} workers of this cluster have no embedding store in common: they use {len(folders)} folders "
        f"on {len(hosts)} hosts, and each computes what others have computed. Results are not affected; it only takes "
        "longer. Name a folder of segments that all of them reach, as in cache=[True, '/shared/segments'] or "
        "SKTL_CACHE_SEGMENTS; on one machine, set SKTL_CACHE_DIR to one folder before the workers start.",
        stacklevel=2,
    )


def _place(cache):
    """Tell, in a worker, its host, the folder of its store, and whether segments are named."""
    local, *segments = cache if isinstance(cache, list | tuple) else [cache]
    store = open_store(local)
    segments = segments or os.environ.get("SKTL_CACHE_SEGMENTS")
    return socket.gethostname(), store and str(store.folder), bool(segments)
