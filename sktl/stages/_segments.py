"""Where a recorded network can be cut: wherever a single tensor crosses from the calls before to the calls after."""

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt, prod

import torch
from torch import nn

from sktl.stages._calls import Attribute, RecordingError, Value, is_in_place, leaves_of
from sktl.stages._traced_stage import part_at, stage_of_calls

__all__ = ["Calls", "Segment", "n_layers_in"]


@dataclass(frozen=True)
class Segment:
    """The calls between two places where a network can be cut, with the weights that they use first."""

    start: int  # position of the first call, and of the one after the last
    end: int
    given: int  # number of the value that it takes, and of the one that it gives
    result: int
    paths: tuple  # of the modules and parameters with weights, in order
    n_weights: int
    n_layers: int  # modules with a matrix or kernels among its modules, at any depth


class Calls:
    """The calls of a recording in the order in which the images go through them.

    What is computed from parameters alone belongs to whoever takes it.
    """

    def __init__(self, network, recording):
        self.network, self.recording = network, recording
        self._producer = {number: call for call in recording.calls for number in call.outputs}
        depends, needed = {0}, _needed_calls(recording)
        self.of_images = []
        for call in recording.calls:
            if id(call) in needed and any(leaf.number in depends for leaf in _values(call.arguments)):
                depends.update(call.outputs)
                self.of_images.append(call)
        self._depends = depends
        self.places = self._find_places()
        if 0 not in self.places or len(self.of_images) not in self.places:
            raise RecordingError("its output does not follow from its images in calls that can be written down")

    def _find_places(self):
        """Return {position: value}: before the call at this position, this value is all that the rest needs."""
        last_use, weights_from, weights_to = {}, {}, {}
        n_calls = len(self.of_images)
        for position, call in enumerate(self.of_images):
            last_use.update((number, position) for number in self._needed(call))
            for weight in self._weights_of(call):
                weights_from.setdefault(weight, position)
                weights_to[weight] = position
        last_use.update(
            (leaf.number, n_calls) for leaf in _values(self.recording.output) if leaf.number in self._depends
        )
        # Weights that are used in several places cannot be frozen in one of them alone.
        tied = [(first, weights_to[weight]) for weight, first in weights_from.items() if weights_to[weight] > first]
        places, alive = {}, {0}
        for position in range(n_calls + 1):
            alive = {number for number in alive if last_use.get(number, -1) >= position}
            if (
                len(alive) == 1
                and self._is_output(next(iter(alive)))
                and not any(first < position <= last for first, last in tied)
            ):
                places[position] = next(iter(alive))
            if position < n_calls:
                alive.update(self.of_images[position].outputs)
        return places

    def _is_output(self, number):
        """Whether a value may be what a stage gives: one row for each image, of vectors, tokens or maps."""
        runs = [run[number] for run in self.recording.shapes]
        return len(runs[0]) in (2, 3, 4) and all(
            own[0] == run[0][0] for own, run in zip(runs, self.recording.shapes, strict=True)
        )

    def _needed(self, call):
        """Return the numbers of the values of images that a call takes, also by way of its parameters."""
        return [leaf.number for leaf in _values(call.arguments) if leaf.number in self._depends]

    def with_parameters(self, start, end):
        """Return some calls with those before them that make what they take from parameters alone."""
        found, seen = [], set()

        def add(call):
            for leaf in _values(call.arguments):
                if leaf.number not in self._depends and leaf.number not in seen:
                    seen.add(leaf.number)
                    producer = self._producer[leaf.number]
                    seen.update(producer.outputs)
                    add(producer)
            found.append(call)

        for call in self.of_images[start:end]:
            add(call)
        return found

    def stage(self, start, end):
        """Return the module that does the calls between two places."""
        calls = self.with_parameters(start, end)
        return stage_of_calls(self.network, self.recording, calls, self.places[start], self.places[end])

    def segments(self, end=None):
        """Return the segments between all places, up to a position."""
        positions = [position for position in self.places if end is None or position <= end]
        seen: set = set()
        return [self._segment(start, stop, seen) for start, stop in pairwise(positions)]

    def _segment(self, start, end, seen):
        paths, n_weights, n_layers = [], 0, 0
        for call in self.with_parameters(start, end):
            for path, part in self.parts_of(call):
                tensors = [part] if isinstance(part, nn.Parameter) else list(getattr(part, "parameters", tuple)())
                new = [each for each in tensors if id(each) not in seen]
                seen.update(map(id, new))
                if new:
                    paths.append(path)
                n_weights += sum(each.numel() for each in new)
                n_layers += n_layers_in(part)
        return Segment(start, end, self.places[start], self.places[end], tuple(paths), n_weights, n_layers)

    def parts_of(self, call):
        """Return (path, module or parameter) for all that a call takes of the network."""
        parts = [(leaf.path, self.part(leaf.path)) for leaf in leaves_of(call.arguments) if isinstance(leaf, Attribute)]
        if call.kind == "module":
            parts.insert(0, (call.target, self.part(call.target)))
        return parts

    def part(self, path):
        """Return the module or tensor of a path."""
        return part_at(self.network, self.recording, path)

    def _weights_of(self, call):
        for _, part in self.parts_of(call):
            tensors = [part] if isinstance(part, nn.Parameter) else getattr(part, "parameters", tuple)()
            yield from map(id, tensors)

    def shape(self, number):
        """Return the shape that a value had in the first run."""
        return self.recording.shapes[0][number]

    def n_places_of(self, number):
        """Return at how many places of the images a value has channels: pixels of maps, or tokens."""
        shape = self.shape(number)
        channels = self.channel_axis(number)
        return 1 if channels is None else prod(shape[1:]) // shape[channels]

    def channel_axis(self, number):
        """Return which axis of a value holds the channels; None where that cannot be told."""
        shape = self.shape(number)
        if len(shape) == 3:
            return 2
        if len(shape) != 4:
            return 1 if len(shape) == 2 else None
        if self.recording.follows_image_size:
            other = self.recording.shapes[-1][number]
            fixed = [axis for axis in (1, 2, 3) if shape[axis] == other[axis]]
            if len(fixed) == 1:
                return fixed[0]
        return 3 if shape[1] == shape[2] != shape[3] else 1

    def has_class_token(self, number):
        """Whether tokens are one more than fill a square."""
        n_tokens = self.shape(number)[1]
        return isqrt(n_tokens) ** 2 != n_tokens


def n_layers_in(part):
    """Return how many modules in a part have a matrix or kernels; norms have vectors only."""
    if isinstance(part, torch.Tensor):
        return int(part.ndim >= 2)
    return sum(any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False)) for module in part.modules())


def _values(structure):
    return [leaf for leaf in leaves_of(structure) if isinstance(leaf, Value)]


def _needed_calls(recording):
    """Return the identities of the calls that the output follows from, and of those that change a tensor in place."""
    numbers, found = {leaf.number for leaf in _values(recording.output)}, set()
    for call in reversed(recording.calls):
        if is_in_place(call) or not numbers.isdisjoint(call.outputs):
            found.add(id(call))
            numbers.update(leaf.number for leaf in _values(call.arguments))
    return found
