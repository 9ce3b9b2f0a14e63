"""The callbacks of a user: their names, what clones and pickles hold of them, and whether they can be served."""

import pickle
from collections import Counter
from contextlib import suppress
from threading import local

from sklearn.base import clone

_HOOKS = ("initialize", "set_params", "on_train_begin", "on_epoch_end")
_trial = local()  # whether this thread is finding out if a callback can be pickled


def unnamed(callback):
    """Return a callback without the name that a user may have given it."""
    return callback[1] if _is_named(callback) else callback


def _is_named(callback):
    return isinstance(callback, (tuple, list)) and len(callback) == 2


def named(callbacks):
    """Return callbacks by name, in order: the user's names, or those that skorch gives them."""
    names = [_name(callback) for callback in callbacks or ()]
    total, seen, found = Counter(names), Counter(), {}
    for name, callback in zip(names, callbacks or (), strict=True):
        seen[name] += 1
        found[f"{name}_{seen[name]}" if total[name] > 1 else name] = unnamed(callback)
    return found


def _name(callback):
    if _is_named(callback):
        return callback[0]
    return callback.__name__ if isinstance(callback, type) else type(callback).__name__


def parameters_of(callbacks):
    """Return callbacks and their parameters under the names that `with_parameters` takes."""
    found: dict = {}
    if not isinstance(callbacks, (list, tuple)):  # none, or something that `fit` will refuse
        return found
    for name, callback in named(callbacks).items():
        found[f"callbacks__{name}"] = callback
        if hasattr(callback, "get_params") and not isinstance(callback, type):
            found |= {f"callbacks__{name}__{key}": value for key, value in callback.get_params().items()}
    return found


def with_parameters(callbacks, parameters):
    """Set parameters of callbacks, or replace callbacks, by name; return the list of them."""
    callbacks, names = list(callbacks or ()), list(named(callbacks))
    for key in sorted(parameters, key=lambda key: key.count("__")):  # a new callback comes before its parameters
        name, _, parameter = key.removeprefix("callbacks__").partition("__")
        if name not in names:
            raise ValueError(
                f"callbacks__NAME must name one of the callbacks, {names}. Got {name!r} instead. A name is given by a "
                'pair, ("name", callback).'
            )
        place = names.index(name)
        if parameter:
            unnamed(callbacks[place]).set_params(**{parameter: parameters[key]})
        else:
            callbacks[place] = (name, parameters[key])
    return callbacks


def cloned(callbacks):
    """Return scikit-learn's clones of callbacks; one that cannot be cloned, such as a logger, itself."""
    return [_cloned(callback) for callback in callbacks] if isinstance(callbacks, (list, tuple)) else _cloned(callbacks)


def _cloned(callback):
    try:
        return clone(callback, safe=False)
    except Exception:
        return callback


def that_can_be_pickled(callbacks):
    """Return the callbacks that can be pickled; others hold open files, locks or functions without a name."""
    if not callbacks:
        return callbacks
    if getattr(_trial, "runs", False):  # a callback holds the net, whose own pickle asks for its callbacks again
        return []
    _trial.runs = True
    try:
        return [callback for callback in callbacks if _can_be_pickled(callback)]
    finally:
        _trial.runs = False


def _can_be_pickled(callback):
    with suppress(Exception):
        pickle.dumps(callback)
        return True
    return False


def check_callbacks(callbacks, *, watched):
    """Raise unless callbacks have skorch's methods and find what they monitor: a validation set, if they ask for it."""
    for callback in map(unnamed, callbacks or ()):
        if not all(hasattr(callback, hook) for hook in _HOOKS):
            raise TypeError(
                f"callbacks must hold callbacks of skorch's kind. Got {type(callback).__name__} instead. Inherit from "
                "skorch.callbacks.Callback; those of scikit-learn go to set_callbacks."
            )
        if _scores_without_cache(unnamed(callback)):
            raise ValueError(
                "EpochScoring must have use_caching=True. Got use_caching=False instead: without its cache skorch "
                "looks for labels in a data set of its own kind, and finds none. Leave use_caching out: the score is "
                "that of the predictions of the epoch."
            )
    asking = [callback for callback in callbacks or () if _monitors_validation(callback, callbacks)]
    if asking and not watched:
        raise without_validation(f"{type(unnamed(asking[0])).__name__} with monitor={_monitored(asking[0])!r}")


def _scores_without_cache(callback):
    names = [kind.__name__ for kind in type(callback).__mro__]  # skorch is not imported here
    return "EpochScoring" in names and not callback.use_caching


def that_need_no_validation(callbacks):
    """Return the callbacks that do not monitor validation data."""
    return [callback for callback in callbacks or () if not _monitors_validation(callback, callbacks)]


def _monitors_validation(callback, callbacks):
    missing = {"valid_loss"} | {_score_name(other) for other in map(unnamed, callbacks)}
    monitored = _monitored(callback)
    return isinstance(monitored, str) and monitored.removesuffix("_best") in missing


def _monitored(callback):
    """Return what skorch's callbacks and Optuna's look at, if anything."""
    return getattr(unnamed(callback), "monitor", getattr(unnamed(callback), "_monitor", None))


def _score_name(callback):
    """Return under which name a score of skorch's is recorded, where it is one of validation data."""
    if getattr(callback, "on_train", True):
        return None
    name = getattr(callback, "name", None) or getattr(callback, "scoring", None)
    return name if isinstance(name, str) else None


def without_validation(asked):
    """Return the error for a callback that asks for what only validation data give."""
    return ValueError(
        f"callbacks that monitor validation data must have some. Got {asked} and no validation data instead. Set "
        "early_stopping=True, pass validation= to fit, or monitor 'train_loss'."
    )
