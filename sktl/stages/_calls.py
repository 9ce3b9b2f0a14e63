"""One call of a recorded network, and what stands in its arguments for tensors, devices and sizes."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch

__all__ = [
    "Attribute",
    "Call",
    "Device",
    "RecordingError",
    "Size",
    "Value",
    "is_in_place",
    "leaves_of",
    "like",
    "map_leaves",
]


_IN_PLACE = {"__setitem__"} | {
    f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
}


class RecordingError(Exception):
    """A network, or a module in it, does something that cannot be written down."""


@dataclass(frozen=True)
class Value:
    """A tensor that was computed, by number; the images are number 0."""

    number: int


@dataclass(frozen=True)
class Attribute:
    """A parameter or buffer of the network, by its dotted name."""

    path: str


@dataclass(frozen=True)
class Device:
    """The device that the images are on."""


@dataclass(frozen=True)
class Size:
    """A whole number that follows the size of the input: what it was in each run."""

    found: tuple


@dataclass(frozen=True)
class Call:
    """One step: a module, function, method or property, and what it was given."""

    kind: str  # "module" by its dotted name, "function", "method" by its name, or "property" by its name
    target: object
    arguments: tuple  # (args, kwargs), with the classes above in place of tensors, devices and sizes
    outputs: tuple  # numbers of the tensors in what it returned
    is_tensor: bool  # whether it returned a tensor, rather than a structure with tensors in it


def is_in_place(call):
    """Return whether a call of torch changes a tensor that it is given."""
    name = call.target if isinstance(call.target, str) else getattr(call.target, "__name__", "")
    return call.kind != "module" and (name in _IN_PLACE or (name.endswith("_") and not name.endswith("__")))


def leaves_of(structure):
    """Yield what stands in nested sequences, mappings, slices and data classes, in order."""
    if isinstance(structure, Mapping):
        for each in structure.values():
            yield from leaves_of(each)
    elif isinstance(structure, list | tuple) and not isinstance(structure, torch.Size):
        for each in structure:
            yield from leaves_of(each)
    elif isinstance(structure, slice):
        yield from (structure.start, structure.stop, structure.step)
    elif dataclasses.is_dataclass(structure) and not isinstance(structure, Value | Attribute | Size | Device | type):
        for field in dataclasses.fields(structure):
            yield from leaves_of(getattr(structure, field.name))
    else:
        yield structure


def like(sequence, items):
    """Return items in a list or tuple, under the names that it gives them; a torch.Size becomes a tuple."""
    if isinstance(sequence, list):
        return list(items)
    return type(sequence)(*items) if hasattr(sequence, "_fields") else tuple(items)


def map_leaves(function, structure):
    """Return the same structure of sequences, mappings and slices, with a function applied to what stands in it."""
    if isinstance(structure, Mapping):
        return {key: map_leaves(function, each) for key, each in structure.items()}
    if isinstance(structure, tuple | list):
        return like(structure, (map_leaves(function, each) for each in structure))
    if isinstance(structure, slice):
        return slice(*(map_leaves(function, each) for each in (structure.start, structure.stop, structure.step)))
    return function(structure)
