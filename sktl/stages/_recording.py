"""What a network does to its images, written down call by call while it runs on shapes alone.

Values are real, or at least have real shapes, so that control flow in Python runs as ever. Modules run as a whole, and
by themselves, unless they were opened; sizes that differ between runs are told apart from constants by comparing them.
"""

import copy
import dataclasses
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sktl.stages._calls import Attribute, Call, Device, RecordingError, Size, Value, leaves_of, like, map_leaves

__all__ = ["Recorder", "Recording"]

_DROPOUTS = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout,
    F.feature_alpha_dropout: nn.FeatureAlphaDropout,
}
# What turns a tensor into numbers of Python, which may decide what is done next.
_READS = {"__bool__", "__float__", "__int__", "__index__", "__complex__", "__contains__", "__array__"} | {
    *("item", "tolist", "numpy", "equal", "allclose")
}
_CHECKS = {"isnan", "isfinite", "isinf"}  # and what sums them up; to read these only stops a network
_SUMS_OF_CHECKS = {"any", "all", "logical_not", "__invert__", "__or__", "__and__"}


@dataclass(frozen=True)
class Recording:
    """The calls of some runs of one network that differ in sizes alone."""

    calls: tuple
    shapes: tuple  # for each run: shapes of the values, by number
    output: object  # of the whole, in the form of an argument
    opened: frozenset  # the modules whose insides it tells
    own: dict  # tensors and dropouts that belong to no module of the network, by a path of their own
    follows_image_size: bool  # whether one of the runs had another image size


class Recorder:
    """Records a function of a network and images, in as much detail as modules are opened."""

    def __init__(self, network, run, image_size, *, follows_image_size=True):
        self._network, self._run, self._image_size = network, run, image_size
        self._follows_image_size = follows_image_size
        self._copy = None

    def record(self, opened):
        """Return the Recording with the modules of some dotted names opened; the network itself is ``""``.

        Raises
        ------
        RecordingError
            If it cannot be written down in this detail.
        """
        recording = self._record(opened)
        while True:
            # They make something from the size of the images alone, position embeddings say: no image crosses there.
            of_sizes = _modules_of_sizes(recording) - set(opened)
            if not of_sizes:
                return recording
            opened = {*opened, *of_sizes}
            try:
                recording = self._record(opened)
            except RecordingError:
                return recording

    def trains_otherwise(self, opened):
        """Whether what the opened modules do themselves is something else in training mode, where that can be run."""
        try:
            evaluated = self._one_run(opened, 2, self._image_size)
            with self._copy.in_training():
                trained = self._one_run(opened, 2, self._image_size)
        except RecordingError:
            return False
        try:
            _merged([evaluated, trained], opened)
        except RecordingError:
            return True
        return False

    def _record(self, opened):
        size = self._image_size
        runs = [self._one_run(opened, n_images, size) for n_images in (2, 3)]
        bigger = size + 32 * max(1, size // 128)
        # What is rounded shows at a size that nothing divides.
        others = [self._other_run(opened, other) for other in (bigger, bigger + 13)] if self._follows_image_size else []
        if others and others[0] is not None:
            try:
                return _merged([*runs, *(run for run in others if run is not None)], opened)
            except RecordingError:
                pass  # it does other things for other sizes, so it is recorded for this one
        return _merged(runs, opened)

    def _other_run(self, opened, size):
        try:
            return self._one_run(opened, 2, size)
        except RecordingError:
            return None

    def _one_run(self, opened, n_images, size):
        if self._copy is None:
            try:
                self._copy = _MeasuredCopy(self._network, "meta")
                return self._copy.run(self._run, opened, n_images, size)
            except RecordingError:  # a network may make tensors of its own, or look at numbers
                self._copy = _MeasuredCopy(self._network, "cpu")
        return self._copy.run(self._run, opened, n_images, size)


class _MeasuredCopy:
    """A copy of a network whose modules tell when they are called; on the meta device it has no numbers."""

    def __init__(self, network, device):
        self._device = device
        memo = {}
        if device == "meta":
            for tensor in (*network.parameters(), *network.buffers()):
                empty = torch.empty_like(tensor, device="meta")
                memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
        try:
            self._network = copy.deepcopy(network, memo)
        except Exception as error:
            raise RecordingError(f"it cannot be copied ({error})") from error
        self._paths = {id(module): path for path, module in self._network.named_modules()}
        for module in list(self._network.modules()):
            _tell_calls(module, self)
        self._log = None
        self._opened = frozenset()

    @contextmanager
    def in_training(self):
        """Run in training mode, in which functions may drop values."""
        self._network.train()
        try:
            yield
        finally:
            self._network.eval()

    def run(self, function, opened, n_images, size):
        self._opened = opened
        generator = torch.Generator().manual_seed(0)
        images = torch.rand((n_images, 3, size, size), generator=generator).to(self._device) * 2 - 1
        self._log = _Log(images, _by_id(self._network), self._device, self._network.training)
        try:
            with torch.no_grad(), self._log:
                output = function(self._network, images)
            return self._log.finished(output)
        except RecordingError:
            raise
        except Exception as error:  # of the network's own, which may be any
            raise RecordingError(f"it raises {error!r}") from error
        finally:
            self._log = None

    def called(self, module, call, args, kwargs):
        """Run a module that was called: written down as a whole, or step by step where it was opened."""
        # Forward functions make modules, too: a slice of a Sequential is one, of modules that have a path.
        log, path = self._log, self._paths.get(id(module))
        if log is None or log.is_paused or path is None or path in self._opened:
            return call(*args, **kwargs)
        arguments = log.arguments(args, kwargs)  # before the call, which may change a list that it is given
        with log.paused():
            result = call(*args, **kwargs)
        log.note("module", path, arguments, result)
        return result


def _tell_calls(module, copy_):
    kind = type(module)

    def __call__(self, *args, **kwargs):
        return copy_.called(self, super(watched, self).__call__, args, kwargs)

    try:
        watched = type(kind.__name__, (kind,), {"__call__": __call__, "__module__": kind.__module__})
        module.__class__ = watched
    except TypeError as error:  # a class with a layout of its own, such as a scripted one
        raise RecordingError(f"{kind.__name__} cannot be watched") from error


class _Log(TorchFunctionMode):
    """Notes the calls of torch that have tensors in their result."""

    def __init__(self, images, attributes, device, is_training):
        super().__init__()
        self._is_training = is_training
        self._attributes, self._device = attributes, torch.device(device)
        # All tensors are kept, or their ids might be given away again.
        self._kept = [images]
        self._numbers = {id(images): 0}
        self._shapes = [tuple(images.shape)]
        self._calls: list = []
        self._own: dict = {}
        self._of_images, self._of_checks = {0}, set()
        self.is_paused = False

    def paused(self):
        return _Paused(self)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.is_paused:
            return function(*args, **kwargs)
        name = getattr(function, "__name__", "")
        if name in _READS:
            self._refuse_numbers_of_images(args)
        result = function(*args, **kwargs)
        if name == "__get__":
            if isinstance(result, torch.Tensor) and not self._is_known(result):
                self.note("property", function.__self__.__name__, self.arguments(args[:1], {}), result)
        elif result is None and name == "__setitem__":
            self.note("method", name, self.arguments(args, kwargs), args[0])
        elif any(isinstance(leaf, torch.Tensor) for leaf in leaves_of(result)):
            self._note_function(function, name, args, kwargs, result)
        return result

    def _refuse_numbers_of_images(self, args):
        numbers = {self._numbers.get(id(leaf)) for leaf in leaves_of(args)} & self._of_images
        if numbers - self._of_checks:
            raise RecordingError("it reads numbers off its images, which may decide what it does")

    def _note_function(self, function, name, args, kwargs, result):
        if isinstance(function, torch._ops.OpOverload) and function.namespace == "prims":
            raise RecordingError("a part of it is compiled")
        if name in ("to", "type_as") and len(args) > 1 and isinstance(args[1], torch.Tensor):
            # It takes device and type of the other tensor, and no numbers.
            function, name, args = torch.Tensor.to, "to", (args[0], self._device, args[1].dtype, *args[2:])
        if function in _DROPOUTS:
            self._note_dropout(_DROPOUTS[function], args, kwargs, result)
            return
        if kwargs.get("out") is not None:
            raise RecordingError(f"{name} writes into a tensor that it is given")
        is_method = getattr(torch.Tensor, name, None) is function
        kind, target = ("method", name) if is_method else ("function", function)
        self.note(kind, target, self.arguments(args, kwargs), result)

    def _note_dropout(self, kind, args, kwargs, result):
        """Note a module instead of the function, which was told the mode that the network is in now."""
        arguments = dict(zip(("input", "p", "training", "inplace"), args, strict=False)) | kwargs
        if arguments.get("training", True) and not self._is_training:
            raise RecordingError("it drops values in eval mode")
        path = f"dropout_{len(self._own)}"
        self._own[path] = kind(arguments.get("p", 0.5)).eval()
        self.note("module", path, self.arguments((arguments["input"],), {}), result)

    def arguments(self, args, kwargs):
        return map_leaves(self._as_argument, (tuple(args), dict(kwargs)))

    def note(self, kind, target, arguments, result):
        outputs = tuple(self._new(leaf) for leaf in leaves_of(result) if isinstance(leaf, torch.Tensor))
        self._calls.append(Call(kind, target, arguments, outputs, isinstance(result, torch.Tensor)))
        taken = {leaf.number for leaf in leaves_of(arguments) if isinstance(leaf, Value)}
        if taken & self._of_images:
            self._of_images.update(outputs)
        name = getattr(target, "__name__", target)
        if name in _CHECKS or (name in _SUMS_OF_CHECKS and taken <= self._of_checks):
            self._of_checks.update(outputs)

    def finished(self, output):
        return self._calls, self._shapes, map_leaves(self._as_argument, output), self._own

    def _is_known(self, tensor):
        return id(tensor) in self._numbers or id(tensor) in self._attributes

    def _new(self, tensor):
        """Give a number to a tensor; one that was changed in place gets a new number as well."""
        self._kept.append(tensor)
        self._numbers[id(tensor)] = len(self._shapes)
        self._shapes.append(tuple(tensor.shape))
        return len(self._shapes) - 1

    def _as_argument(self, leaf):
        if isinstance(leaf, torch.Tensor):
            if id(leaf) in self._numbers:
                return Value(self._numbers[id(leaf)])
            if id(leaf) in self._attributes:
                return Attribute(self._attributes[id(leaf)])
            if leaf.device.type == "meta":
                raise RecordingError("a tensor comes from nowhere")
            if isinstance(leaf, nn.Parameter):
                raise RecordingError("it uses weights that belong to none of its modules, so that nothing trains them")
            path = f"constant_{len(self._own)}"
            self._own[path] = leaf.detach()
            self._kept.append(leaf)
            self._attributes[id(leaf)] = path
            return Attribute(path)
        if isinstance(leaf, torch.device) or (isinstance(leaf, str) and leaf == self._device.type):
            return Device()
        if isinstance(leaf, nn.Module):
            raise RecordingError("a module is passed as an argument")
        return leaf


class _Paused:
    def __init__(self, log):
        self._log = log

    def __enter__(self):
        self._log.is_paused = True

    def __exit__(self, *_):
        self._log.is_paused = False


def _by_id(network):
    return {id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())}


def _modules_of_sizes(recording):
    """Return the modules that take values and give ones that are the same for any number of images."""
    few, more = recording.shapes[:2]
    return {
        call.target
        for call in recording.calls
        if call.kind == "module"
        and any(isinstance(leaf, Value) for leaf in leaves_of(call.arguments))
        and all(few[number] == more[number] for number in call.outputs)
    }


def _merged(runs, opened):
    """Compare runs call by call: whole numbers that differ are sizes, and anything else that differs is too much."""
    calls, shapes, outputs, own = zip(*runs, strict=True)
    if len({len(each) for each in calls}) > 1:
        raise RecordingError("it does something else for other sizes")
    if any(len(each) != len(own[0]) or not _is_same_own(each, own[0]) for each in own):
        raise RecordingError("it does something else for other sizes")
    merged = []
    for same in zip(*calls, strict=True):
        first = same[0]
        if any((each.kind, each.target, each.outputs) != (first.kind, first.target, first.outputs) for each in same):
            raise RecordingError("it does something else for other sizes")
        arguments = _merged_arguments([each.arguments for each in same])
        merged.append(dataclasses.replace(first, arguments=arguments))
    return Recording(
        calls=tuple(merged),
        shapes=tuple(tuple(each) for each in shapes),
        output=_merged_arguments(outputs),
        opened=frozenset(opened),
        own=own[0],
        follows_image_size=len({each[0][2] for each in shapes}) > 1,
    )


def _merged_arguments(found):
    first = found[0]
    if isinstance(first, Mapping):
        if any(not isinstance(each, Mapping) or each.keys() != first.keys() for each in found):
            raise RecordingError("it does something else for other sizes")
        return {key: _merged_arguments([each[key] for each in found]) for key in first}
    if isinstance(first, tuple | list):
        if any(type(each) is not type(first) or len(each) != len(first) for each in found):
            raise RecordingError("it does something else for other sizes")
        return like(first, (_merged_arguments(each) for each in zip(*found, strict=True)))
    if isinstance(first, slice):
        return slice(*(_merged_arguments([getattr(each, end) for each in found]) for end in ("start", "stop", "step")))
    if all(type(each) is int for each in found) and len(set(found)) > 1:
        return Size(tuple(found))
    if any(type(each) is not type(first) or not _is_same(each, first) for each in found):
        raise RecordingError("it does something else for other sizes")
    return first


def _is_same_own(one, other):
    """Return whether two runs took the same tensors from outside."""
    pairs = [(one.get(path), part) for path, part in other.items()]
    return all(type(a) is type(b) and (not isinstance(b, torch.Tensor) or torch.equal(a, b)) for a, b in pairs)


def _is_same(one, other):
    if one is other:
        return True
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other) or (one != one and other != other)
