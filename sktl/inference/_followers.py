"""What follows a packed convolution, a sum or ReLU, is computed with it: found by watching a stage, not by names.

The modules stay as they are. A convolution with such followers gives something `Pending` when it is called, and runs
when the last of them comes. Whatever else comes before that is given the output of the convolution as it is. Nothing is
written into the other operand of a sum, which somebody may hold.
"""

from functools import partial

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from sktl.inference._packing import packed_convolutions

_SUMS = (torch.add, torch.Tensor.add, torch.Tensor.add_)  # the methods are what "+" and "+=" call
# What turns a tensor into numbers, by which a stage may go another way for other images than those of the check.
_READS = {"__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy"}
_IN_PLACE = (torch.Tensor.add_, torch.relu_, torch.Tensor.relu_)
_RELUS = (F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_)

_NOTHING = torch.empty(0)


def fuse_followers(stage, check):
    """Let the packed convolutions of a stage compute what follows each of them while the stage runs."""
    layers = packed_convolutions(stage)
    with _Watch(layers) as watch:
        watch.output = stage(check.clone())
    taken: set = set()
    for layer in layers:
        sum_, relu = watch.followers(layer)
        if sum_ in taken:  # by a convolution that gives the other operand
            continue
        if sum_ is not None:
            taken.add(sum_)
        if sum_ is not None or relu is not None:
            layer.deferred = partial(Pending, sum_ is not None, relu is not None)


class Pending(torch.Tensor):
    """The output of a packed convolution that has not run yet.

    An operation in place changes this object, so that all who hold it see the same. Any other operation gives an object
    of its own, and this one can be used again.
    """

    @staticmethod
    def __new__(cls, *_):
        return _NOTHING.as_subclass(cls)

    def __init__(self, awaits_sum, awaits_relu, layer, images, addend=None):
        self.awaits_sum, self.awaits_relu = awaits_sum, awaits_relu
        self.layer, self.given, self.addend, self.computed = layer, images, addend, None

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        options = options or {}
        if function in _RELUS and len(arguments) == 1 and options.keys() <= {"inplace"}:
            (own,) = arguments
            if own.awaits_relu and not own.awaits_sum:
                return own._activated(function in _IN_PLACE or options.get("inplace", False))
        elif function in _SUMS and len(arguments) == 2 and not options:
            in_place = function in _IN_PLACE
            own, other = arguments if in_place or isinstance(arguments[0], cls) else reversed(arguments)
            if isinstance(own, cls) and own.awaits_sum and own is not other and own.layer.can_add(_tensor(other)):
                return own._added(_tensor(other), in_place)
        arguments, options = tree_map_only(cls, _tensor, (tuple(arguments), options))
        return function(*arguments, **options)

    def _added(self, other, in_place):
        if not in_place:
            sum_ = Pending(False, self.awaits_relu, self.layer, self.given, other)
        else:
            sum_, self.awaits_sum, self.addend = self, False, other
        return sum_ if sum_.awaits_relu else _tensor(sum_)

    def _activated(self, in_place):
        output = self.layer.run(self.given, self.addend, relu=True)
        return self._finished(output) if in_place else output

    def _finished(self, output):
        self.computed, self.awaits_sum, self.awaits_relu, self.given, self.addend = output, False, False, None, None
        return output


def _tensor(value):
    """Return the output of a convolution, with what was added to it so far; other tensors as they are."""
    if not isinstance(value, Pending):
        return value
    return value._finished(value.layer.run(value.given, value.addend)) if value.computed is None else value.computed


class _Watch(TorchFunctionMode):
    """Notes who takes what in which order while a stage runs."""

    def __init__(self, layers):
        super().__init__()
        self._layers = {id(layer.weight): layer for layer in layers}
        self._calls: list = []  # kept with what they took and gave, or ids might be given away again
        self._users: dict = {}  # positions of the calls that take a tensor
        self._runs: dict = {}  # positions of the runs of a layer
        self._given: dict = {}  # by the output of a layer: the layer, its input, and how often that was changed before
        self._unfit: set = set()  # layers whose input is another one by the time that the output is used
        self.output = None

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        position = len(self._calls)
        for leaf in tree_leaves((arguments, options)):
            if isinstance(leaf, torch.Tensor):
                self._users.setdefault(id(leaf), []).append(position)
                layer, images, version = self._given.get(id(leaf), (None, leaf, leaf._version))
                if images._version != version:
                    self._unfit.add(layer)
        layer = self._layers.get(id(arguments[1])) if len(arguments) > 1 else None
        version = arguments[0]._version if layer is not None else None
        output = function(*arguments, **options)
        if layer is not None:
            self._runs.setdefault(layer, []).append(position)
            self._given[id(output)] = (layer, arguments[0], version)
        if getattr(function, "__name__", "") in _READS:
            self._unfit.update(self._layers.values())
        self._calls.append((function, arguments, options, output))
        return output

    def followers(self, layer):
        """Return the positions of the sum and of ReLU that may be computed with a layer, or None."""
        runs = self._runs.get(layer, [])
        if len(runs) != 1 or layer in self._unfit or layer.has_activation:
            return None, None
        output = self._calls[runs[0]][-1]
        first = self._next(runs[0], output)
        if first is None or not self._is_sum(first, output, layer):
            return None, self._relu_at(first)
        second = self._next(first, self._calls[first][-1])
        return first, self._relu_at(second) if second == first + 1 else None

    def _next(self, position, tensor):
        """Return the position of the call that is given a tensor next: in place, or as the only one."""
        users = [user for user in self._users.get(id(tensor), ()) if user > position]
        if not users or (self._calls[users[0]][-1] is not tensor and (len(users) > 1 or tensor is self.output)):
            return None
        return users[0]

    def _relu_at(self, position):
        function, arguments, options, _ = self._calls[position] if position is not None else (None, (), {}, None)
        return position if function in _RELUS and len(arguments) == 1 and options.keys() <= {"inplace"} else None

    def _is_sum(self, position, output, layer):
        function, arguments, options, result = self._calls[position]
        if function not in _SUMS or len(arguments) != 2 or options:
            return False
        others = [each for each in arguments if each is not output]
        return (
            len(others) == 1
            and result is not others[0]
            and isinstance(others[0], torch.Tensor)
            and others[0].shape == output.shape
            and layer.can_add(others[0])
        )
