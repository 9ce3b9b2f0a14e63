"""The cluster that joblib's backend "dask" works on, where there is one. Whoever has one has imported dask already."""

import sys

__all__ = ["cluster_client", "is_on_cluster"]


def cluster_client():
    """Return the client of the cluster that fits go to from here; None without one, and inside its tasks."""
    client = _client()
    is_task = client is not None and hasattr(sys.modules["distributed"].utils.thread_state, "execution_state")
    return None if is_task else client


def is_on_cluster():
    """Whether joblib's active backend is a cluster, as it is for its client and inside its tasks."""
    return _client() is not None


def _client():
    kind = getattr(sys.modules.get("distributed"), "Client", None)
    if kind is None:
        return None
    from joblib.parallel import get_active_backend

    client = getattr(get_active_backend()[0], "client", None)
    return client if isinstance(client, kind) else None
