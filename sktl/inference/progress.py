"""How far a piece of work is, and what of it need not be done again: told to whoever waits, as a comparison does."""

import warnings
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # in a notebook without ipywidgets the bar is made of text
    from tqdm.auto import tqdm

__all__ = ["counted", "keep", "kept_work", "tell", "told_to", "tqdm"]

_listener: ContextVar = ContextVar("listener", default=None)
_kept: ContextVar = ContextVar("kept", default=None)


@contextmanager
def told_to(listener):
    """Have the work inside the block tell a function of unit, number done and total, in the thread that runs it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(unit, n_done, total):
    """Tell how much of the work is done; what tells last is what goes on at the moment."""
    listener = _listener.get()
    if listener is not None:
        listener(unit, n_done, total)


@contextmanager
def counted(total, *, unit="image", verbose=0):
    """Give a function to be called with how many more are done, behind a bar of its own if that is wanted.

    What else the bar is to show is passed by name.
    """
    n_done = 0

    def advance(n_more, **shown):
        nonlocal n_done
        n_done += n_more
        if shown:
            bar.set_postfix(shown)
        bar.update(n_more)
        tell(unit, n_done, total)

    with tqdm(total=total, unit=unit, disable=not verbose, leave=False) as bar:
        yield advance


@contextmanager
def kept_work():
    """Gather the seconds of work inside the block whose outcome is kept: next time it costs nearly nothing."""
    seconds: list = []
    token = _kept.set(seconds)
    try:
        yield seconds
    finally:
        _kept.reset(token)


def keep(seconds):
    """Take note that the outcome of so many seconds of work is kept."""
    kept = _kept.get()
    if kept is not None:
        kept.append(seconds)
