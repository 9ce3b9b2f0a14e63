"""A stage made of recorded calls: the network's own modules, and what its forward function does between them."""

import operator
from itertools import combinations_with_replacement
from math import isqrt

import torch
from torch import nn

from sktl.stages._calls import Attribute, Device, RecordingError, Size, Value, is_in_place, leaves_of, map_leaves
from sktl.stages.chain import as_stage

__all__ = ["TracedStage", "part_at", "stage_of_calls"]

_MAX_LEFT_OUT = 16  # tokens that stand for no place: of the class, of a teacher, registers


class TracedStage(nn.Module):
    """Runs recorded calls one after the other.

    The modules that it calls, and the parameters that it takes, are the network's own, under their own names.
    """

    def __init__(self, steps, result):
        super().__init__()
        self.parts = nn.Module()
        self._steps = steps
        self._result = result
        self._last_use = _last_uses(steps, result)
        self._changes_in_place = any(is_in_place(step) for step in steps)

    def forward(self, images):
        """Return the output of the last call."""
        # What it takes belongs to the caller, who may use it again.
        values = {0: images.clone() if self._changes_in_place else images}
        for step, unused in zip(self._steps, self._last_use, strict=True):
            args, kwargs = map_leaves(lambda leaf: self._found(leaf, values), step.arguments)
            result = self._call(step, args, kwargs)
            if step.is_tensor:
                values[step.outputs[0]] = result
            else:
                tensors = [leaf for leaf in leaves_of(result) if isinstance(leaf, torch.Tensor)]
                values.update(zip(step.outputs, tensors, strict=True))
            for number in unused:
                values.pop(number, None)
        return values[self._result]

    def _call(self, step, args, kwargs):
        if step.kind == "module":
            return self.parts.get_submodule(step.target)(*args, **kwargs)
        if step.kind == "function":
            return step.target(*args, **kwargs)
        if step.kind == "property":
            return getattr(args[0], step.target)
        result = getattr(args[0], step.target)(*args[1:], **kwargs)
        return args[0] if result is None else result  # it was changed in place

    def _found(self, leaf, values):
        if isinstance(leaf, Value):
            return values[leaf.number]
        if isinstance(leaf, Attribute):
            return operator.attrgetter(leaf.path)(self.parts)
        if isinstance(leaf, Device):
            return next(iter(values.values())).device
        return leaf.of(values) if isinstance(leaf, Length) else leaf

    def extra_repr(self):
        """Write the calls down, which tell two stages with the same modules apart."""
        return "\n".join(f"{step.kind} {_name(step.target)} {step.arguments} -> {step.outputs}" for step in self._steps)


class Length:
    """A size, read from a tensor that is at hand: ``factor * product of some of its sides // divisor``.

    Or the side of the square that so many tokens fill, the first of them left out.
    """

    def __init__(self, number, sides, factor, divisor, n_left_out=None):
        self.number, self.sides, self.factor, self.divisor = number, sides, factor, divisor
        self.n_left_out = n_left_out

    def of(self, values):
        """Return the size."""
        shape = values[self.number].shape
        product = self.factor
        for side in self.sides:
            product *= shape[side]
        size = product // self.divisor
        return size if self.n_left_out is None else isqrt(size - self.n_left_out)

    def __repr__(self):
        root = "" if self.n_left_out is None else f", {self.n_left_out}"
        return f"Length({self.number}, {self.sides}, {self.factor}, {self.divisor}{root})"


def stage_of_calls(network, recording, calls, given, result):
    """Make the stage that computes one value from another by some calls.

    Parameters
    ----------
    network : torch.nn.Module
        Whose modules are taken.
    recording : Recording
        Of the network.
    calls : list of Call
        What to run, in order.
    given, result : int
        Numbers of the value that the stage takes and of the one that it returns.

    Raises
    ------
    RecordingError
        If a size cannot be read from the tensors that the stage has.
    """
    numbers = {given: 0}
    for call in calls:
        numbers.update((number, len(numbers)) for number in call.outputs if number not in numbers)
    shapes = {number: tuple(run[number] for run in recording.shapes) for number in numbers}
    known, steps = [given], []
    for call in calls:
        arguments = map_leaves(lambda leaf: _as_written(leaf, numbers, known, shapes), call.arguments)
        steps.append(_renumbered(call, arguments, numbers))
        known.extend(call.outputs)
    if all(_is_plain(step, i) for i, step in enumerate(steps)) and numbers[result] == len(steps):
        return as_stage(*(part_at(network, recording, step.target) for step in steps))
    stage = TracedStage(tuple(steps), numbers[result])
    for step in steps:
        if step.kind == "module":
            _put(stage.parts, step.target, part_at(network, recording, step.target))
        for leaf in leaves_of(step.arguments):
            if isinstance(leaf, Attribute):
                _put(stage.parts, leaf.path, part_at(network, recording, leaf.path))
    return stage.train(network.training)


def _as_written(leaf, numbers, known, shapes):
    if isinstance(leaf, Value):
        if leaf.number not in numbers:
            raise RecordingError("a stage needs a value that another stage has")
        return Value(numbers[leaf.number])
    return _length(leaf, numbers, known, shapes) if isinstance(leaf, Size) else leaf


def _renumbered(call, arguments, numbers):
    return type(call)(call.kind, call.target, arguments, tuple(numbers[each] for each in call.outputs), call.is_tensor)


def _length(size, numbers, known, shapes):
    """Find the side of a known tensor, or a multiple, part or product of sides, that a size was in all runs."""
    for number in reversed(known):
        runs = shapes[number]
        for sides in _possible_sides(len(runs[0])):
            products = [_product(run, sides) for run in runs]
            if all(product and found % product == 0 for found, product in zip(size.found, products, strict=True)):
                factors = {found // product for found, product in zip(size.found, products, strict=True)}
                if len(factors) == 1:
                    return Length(numbers[number], sides, factors.pop(), 1)
            divisor = products[0] // max(size.found[0], 1)
            if divisor and all(
                product // divisor == found for found, product in zip(size.found, products, strict=True)
            ):
                return Length(numbers[number], sides, 1, divisor)
    return _root(size, numbers, known, shapes)


def _root(size, numbers, known, shapes):
    """Find known tokens, or places of maps, that fill a square of which a size was the side in all runs."""
    for number in reversed(known):
        for side in range(1, len(shapes[number][0])):
            beyond = {run[side] - found**2 for run, found in zip(shapes[number], size.found, strict=True)}
            if len(beyond) == 1 and len(set(size.found)) > 1 and 0 <= min(beyond) <= _MAX_LEFT_OUT:
                return Length(numbers[number], (side,), 1, 1, beyond.pop())
    raise RecordingError(f"a size that was {size.found} is none of the sides of a tensor at hand")


def _possible_sides(n_sides):
    yield from ((side,) for side in range(n_sides))
    yield from (pair for pair in combinations_with_replacement(range(n_sides), 2))
    if n_sides > 2:
        yield tuple(range(n_sides - 1))


def _product(shape, sides):
    product = 1
    for side in sides:
        product *= shape[side]
    return product


def _is_plain(step, position):
    """Whether a step is a module that takes what came before, and nothing else."""
    args, kwargs = step.arguments
    return step.kind == "module" and step.is_tensor and args == (Value(position),) and not kwargs


def part_at(network, recording, path):
    """Return the module or tensor of a path in a recorded network."""
    if path in recording.own:
        return recording.own[path]
    owner, _, name = path.rpartition(".")
    return getattr(network.get_submodule(owner), name)


def _put(owner, path, part):
    *owners, name = path.split(".")
    for each in owners:
        if not hasattr(owner, each):
            owner.add_module(each, nn.Module())
        owner = getattr(owner, each)
    if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
        if name not in owner._buffers:
            owner.register_buffer(name, part)
    else:
        setattr(owner, name, part)


def _last_uses(steps, result):
    """Return, for each step, the numbers of the values that nothing needs after it."""
    last = {}
    for i, step in enumerate(steps):
        used = [leaf.number for leaf in leaves_of(step.arguments) if isinstance(leaf, Value | Length)]
        last.update(dict.fromkeys((*used, *step.outputs), i))
    unused = [[] for _ in steps]
    for number, i in last.items():
        if number != result:
            unused[i].append(number)
    return unused


def _name(target):
    return target if isinstance(target, str) else getattr(target, "__qualname__", None) or target.__name__
