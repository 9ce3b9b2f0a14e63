"""The cluster that joblib's backend "dask" works on, where there is one. Whoever has one has imported dask already."""

import sys
from contextlib import nullcontext

__all__ = ["cluster_client", "end_with_errors", "is_on_cluster", "off_cluster", "on_workers"]


def cluster_client():
    """Return the client of the cluster that fits go to from here; None without one, and inside its tasks."""
    client = _client()
    is_task = client is not None and hasattr(sys.modules["distributed"].utils.thread_state, "execution_state")
    return None if is_task else client


def is_on_cluster():
    """Whether joblib's active backend is a cluster, as it is for its client and inside its tasks."""
    return _client() is not None


def off_cluster():
    """Have joblib count and use the threads of this machine inside the block, wherever it works otherwise."""
    if not is_on_cluster():
        return nullcontext()
    from joblib import parallel_config

    return parallel_config(backend="threading")


def end_with_errors():
    """Have joblib raise what dask says of a task that cannot be done, since its workers die or lack a module, say.

    joblib's backend takes note of such an error and tells nobody, so that whoever called it would wait for ever.
    """
    if not is_on_cluster():
        return
    from joblib.parallel import get_active_backend

    backend = get_active_backend()[0]
    name = "submit" if hasattr(backend, "submit") else "apply_async"  # as joblib before 1.5 calls it
    if name in vars(backend):
        return
    submit = getattr(backend, name)

    def submit_and_tell(function, callback=None):
        future = submit(function, callback)
        if callback is not None:
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
        return future

    setattr(backend, name, submit_and_tell)


def on_workers(*values):
    """Return values for tasks to take: on a cluster, references to copies that each worker has from now on.

    One that joblib makes by itself goes into every task, or to one worker, and is lost with it.
    """
    client = cluster_client()
    return values if client is None else client.scatter(list(values), broadcast=True, hash=False)


def _client():
    kind = getattr(sys.modules.get("distributed"), "Client", None)
    if kind is None:
        return None
    from joblib.parallel import get_active_backend

    client = getattr(get_active_backend()[0], "client", None)
    return client if isinstance(client, kind) else None
