"""A forked process has the memory of its parent and none of its threads: what they held, they would hold for ever."""

import os

__all__ = ["after_fork", "free_after_fork"]


def after_fork(function):
    """Call a function in every process that is forked off from now on, where the system can fork at all."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def free_after_fork(lock):
    """Return a lock that nobody holds in a forked process."""
    after_fork(lock._at_fork_reinit)
    return lock
