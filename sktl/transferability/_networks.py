"""The networks that are ranked, by name: those that were given, or all on this machine."""

from collections.abc import Mapping

from sktl._candidate_names import CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS
from sktl._text import shortened
from sktl.backbones import load_backbone
from sktl.backbones.local import networks_here
from sktl.exceptions import WeightsError

__all__ = ["CONTROLS", "LOCAL", "control_network", "named_networks"]

LOCAL = "local"
CONTROLS = (CHANCE_LEVEL, PIXELS, RANDOM_WEIGHTS)
OWN = "its own"  # how a record calls the weights that came with a module or a function
# What loading a network may raise that is wrong with the network, and with nothing else.
FAILURES = (ValueError, TypeError, OSError, RuntimeError, ImportError, AttributeError, KeyError)


def named_networks(backbones):
    """Return networks by name, and those on this machine that cannot be loaded, each with the reason.

    What goes by a name stays a name, so that not all are in memory at once; the others become records.
    """
    if isinstance(backbones, str) and backbones == LOCAL:
        return _on_this_machine()
    pairs = backbones.items() if isinstance(backbones, Mapping) else [(None, value) for value in _listed(backbones)]
    named: dict = {}
    for name, value in pairs:
        value = _checked(value)
        name = _checked_name((value if isinstance(value, str) else value.name) if name is None else name)
        if name in named:
            raise ValueError(
                f"backbones must have different names. Got {name!r} twice instead. Give them names of your own in a "
                f"dictionary: {{'mine': ..., {name!r}: ...}}."
            )
        named[name] = value
    if not named:
        raise ValueError("backbones must name at least one network. Got none instead.")
    return named, {}


def _on_this_machine():
    networks, left_out = {}, {}
    for name, value in networks_here().items():
        try:
            load_backbone(value)
        except FAILURES as error:
            left_out[name] = f"{type(error).__name__}: {error}"
        else:
            networks[name] = value
    if not networks:
        raise ValueError(f"backbones={LOCAL!r} must find a network that can be loaded on this machine. Found none.")
    return networks, left_out


def _listed(backbones):
    if isinstance(backbones, str) or not hasattr(backbones, "__iter__"):
        raise TypeError(
            f"backbones must be a sequence of networks, a dictionary of names and networks, or {LOCAL!r}. "
            f"Got {shortened(repr(backbones), 80)} instead. Write a single one as [backbone]."
        )
    return list(backbones)


def _checked(value):
    """Raise where this is no network; where its weights are not to be had, its first fit says so."""
    try:
        record = load_backbone(value)
    except WeightsError:
        if isinstance(value, str):
            return value
        raise
    return value if isinstance(value, str) else record


def _checked_name(name):
    if not isinstance(name, str):
        raise TypeError(f"The names of backbones must be str. Got {name!r} instead.")
    if name in CONTROLS:
        raise ValueError(
            f"backbones must not be called {', '.join(CONTROLS)}, which stand for the controls. Got {name!r} "
            "instead: choose another name."
        )
    return name


def control_network(networks):
    """Return the record of the first network that can be drawn anew with random weights; None where there is none."""
    for value in networks.values():
        try:
            record = load_backbone(value)
            is_from_function = record.weights == OWN and record.reload is not None  # which may draw its weights
            if record.weights is not None and not is_from_function:
                load_backbone(record, None)
                return record
        except FAILURES:  # the fits say so
            continue
    return None
