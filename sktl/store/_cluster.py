"""A client and the workers of its cluster: settings of the cache reach them, and separate stores are told of.

A worker reads its own environment, on its own machine. What it has not set there, it takes from the client.
"""

import os
import socket
import warnings
from contextlib import suppress
from weakref import WeakKeyDictionary

from sktl._clusters import cluster_client, end_with_errors
from sktl.store._opening import open_store

__all__ = ["share_settings"]

SETTINGS = ("SKTL_CACHE_DIR", "SKTL_CACHE_SIZE", "SKTL_CACHE_SEGMENTS")
PLUGIN = "sktl-cache-settings"
_shared: WeakKeyDictionary = WeakKeyDictionary()  # client → its settings as they were passed on
_asked: WeakKeyDictionary = WeakKeyDictionary()  # client → parameters `cache` that its workers were asked about


def share_settings(cache=True, *, embeds_first=False):
    """Pass the settings on to the cluster that joblib works on, if any, and warn once where its workers share no store.

    To be called wherever fits may be about to go there, which end with an error then where workers are lost;
    `embeds_first` says that segments are written before that.
    """
    end_with_errors()
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
        _warn_of_separate_stores(client, cache, embeds_first)


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


def _warn_of_separate_stores(client, cache, embeds_first):
    places = list(client.run(_place, cache, on_error="ignore").values())
    if len(places) < 2 or _is_common(places):
        return
    read_segments = all(place[2] for place in places)
    if read_segments and (embeds_first or _holds_segments(cache)):
        return
    stores, hosts = {place[:2] for place in places if place[1] is not None}, {place[0] for place in places}
    where = f"{len(stores)} folder{'s' * (len(stores) != 1)} on {len(hosts)} host{'s' * (len(hosts) > 1)}"
    where += ", and segments with nothing in them" * read_segments
    warnings.warn(
        f"The {len(places)} workers of this cluster have no embedding store in common, but {where}: each computes what "
        "others have computed. Results are not affected; it only takes longer. Embed the images first, "
        "embed_images(X, extractor, executor=client.get_executor(), out='/shared/segments'), and name that folder in "
        "cache=[True, '/shared/segments'] or SKTL_CACHE_SEGMENTS. Workers on one machine share a store where "
        "SKTL_CACHE_DIR names one folder.",
        stacklevel=3,
    )


def _is_common(places):
    """Whether all workers have one folder on one host: a path on two hosts is two folders, or no place for a store."""
    return len({place[:2] for place in places}) == 1 and places[0][1] is not None


def _place(cache):
    """Tell, in a worker, its host, the folder of its store, and whether segments are named."""
    store = open_store(cache)
    folder = store and store.folder
    return socket.gethostname(), folder and str(folder), bool(getattr(store, "segments", ()))


def _holds_segments(cache):
    places = [segments.place for segments in getattr(open_store(cache), "segments", ())]
    with suppress(OSError):  # who reads there says so
        return not places or any(place.exists() and place.folders() for place in places)
    return True
