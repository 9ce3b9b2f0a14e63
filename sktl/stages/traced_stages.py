"""The stages of any network, found by recording what it does: a stage may end wherever a single tensor crosses."""

import warnings
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from sktl.stages._calls import RecordingError
from sktl.stages._functional_modules import ChannelsFirst, ChannelsLast, FixedImageSize, MapsOfTokens, TokensOfMaps
from sktl.stages._recording import Recorder
from sktl.stages._segments import Calls, n_layers_in
from sktl.stages._stage_groups import MAX_SHARE, MIN_STAGES, grouped, name_groups
from sktl.stages.chain import Chain, as_stage
from sktl.stages.pooling import pool

__all__ = ["WholeNetwork", "agree", "chain_of_features", "divided", "joined_stages", "probe_of"]

# Features of stages and network may differ by this much of the largest, for the order of sums.
_TOLERANCE = 1e-5
_LARGE = 128  # pixels, from which on one image is enough to compare, as it takes long
_POSSIBLE_POOLINGS = {2: ("avg",), 3: ("token", "avg"), 4: ("avg",)}
_MAX_TRIALS = 12  # modules to open in search of better stages; each takes a run or three on shapes alone
_LEAST_WORTH = 0.05  # share of all weights below which opening a module changes nothing


def chain_of_features(network, run, *, head, family, image_size):
    """Cut a network whose penultimate features are known into stages.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode on the CPU; its modules become those of the stages.
    run : callable
        Takes the network and normalised images; returns the network's own features, (n_images, n_features).
    head : torch.nn.Module or None
        Takes the features and gives the scores of the network's own classes.
    family : str
        Of the architecture.
    image_size : int
        Side of the images that the network was made for.

    Returns
    -------
    Chain
        Its pooled output equals the features; one whole stage, with a warning, where the network cannot be cut.
    """
    probe = probe_of(image_size)
    with torch.no_grad():
        expected = run(network, probe)
        try:
            stages, own_pooling = _found_stages(network, run, image_size, head, probe, expected)
        except RecordingError as error:
            _warn_about_whole(type(network).__name__, error)
            stages, own_pooling = nn.Sequential(OrderedDict(whole=WholeNetwork(network, run))), "avg"
    return Chain(stages, head, family, own_pooling, n_features=expected.shape[1])


def _found_stages(network, run, image_size, head, probe, expected):
    """Return stages that take any image size, or else this one: a stage may need a size that no tensor in it has."""
    opened = opened_around(network, head)
    try:
        calls, groups = divided(network, run, image_size, opened)
        return joined_stages(calls, groups, probe, expected, image_size)
    except RecordingError:
        calls, groups = divided(network, run, image_size, opened, follows_image_size=False)
        return joined_stages(calls, groups, probe, expected, image_size)


class WholeNetwork(nn.Module):
    """A network that is one stage, up to its features."""

    def __init__(self, network, run):
        super().__init__()
        self.network = network
        self._run = run

    def forward(self, images):
        """Return the features."""
        return self._run(self.network, images)


def opened_around(network, part):
    """Return the modules to open so that a module in them, or else nothing, can stand apart."""
    layers = () if part is None else part.modules()
    paths = {path for layer in layers for path, module in network.named_modules() if module is layer}
    return {"", *(path[:dot] for path in paths for dot, letter in enumerate(path) if letter == ".")}


def probe_of(image_size):
    """Return a few normalised images that no layer can take for constant."""
    n_images = 2 if image_size <= _LARGE else 1
    return torch.rand((n_images, 3, image_size, image_size), generator=torch.Generator().manual_seed(0)) * 2 - 1


def divided(network, run, image_size, opened=("",), end_of=lambda calls: None, *, follows_image_size=True):
    """Record a network, opening modules while that makes better stages; return its Calls and groups of segments.

    Parameters
    ----------
    network, run, image_size
        See `chain_of_features`.
    opened : iterable of str, default=("",)
        Modules to open in any case, by dotted name.
    end_of : callable, default=one that returns None
        Says, for Calls, before which call the stages end.
    follows_image_size : bool, default=True
        Whether the stages are to take other image sizes, too, where the network does.
    """
    recorder = Recorder(network, run, image_size, follows_image_size=follows_image_size)
    opened, closed = frozenset(opened), set()
    calls = Calls(network, recorder.record(opened))
    while True:
        segments = calls.segments(end_of(calls))
        groups = grouped(segments, calls) if segments else []
        candidates = [path for path in _worth_opening(calls, groups) if path not in closed]
        if not candidates or len(closed) == _MAX_TRIALS:
            return calls, groups
        closed.add(candidates[0])
        better = _opened(network, recorder, opened, candidates[0], calls, end_of)
        if better is not None:
            opened, calls = better


def _worth_opening(calls, groups):
    """Return the modules whose insides may make better stages, the heaviest first."""
    weights = [sum(segment.n_weights for segment in group) for group in groups]
    total = sum(weights) or 1
    heavy = [weight > MAX_SHARE * total for weight in weights]
    if len(groups) >= MIN_STAGES and not any(heavy):
        return []
    found = {}
    for group, is_heavy in zip(groups, heavy, strict=True):
        if is_heavy or len(groups) < MIN_STAGES:
            for segment in group:
                found.update(_openable(calls, calls.of_images[segment.start : segment.end]))
    return sorted((path for path in found if found[path] >= _LEAST_WORTH * total), key=found.get, reverse=True)


def _openable(calls, some):
    """Return {path: number of weights} of the modules of some calls that have several layers in them."""
    modules = {call.target: calls.part(call.target) for call in some if call.kind == "module"}
    return {
        path: sum(parameter.numel() for parameter in module.parameters())
        for path, module in modules.items()
        if n_layers_in(module) > 1
    }


def _opened(network, recorder, opened, path, calls, end_of):
    """Open a module, and one that holds most of it where that alone brings no place to cut; None where nothing does."""
    n_places = len(calls.segments(end_of(calls)))
    while path is not None:
        opened = opened | {path}
        try:
            trial = Calls(network, recorder.record(opened))
            if len(trial.segments(end_of(trial))) > n_places:
                return opened, trial
        except RecordingError:
            return None
        whole = sum(parameter.numel() for parameter in network.get_submodule(path).parameters())
        inside = _openable(trial, [call for call in trial.of_images if str(call.target).startswith(f"{path}.")])
        path = next((inner for inner, weight in inside.items() if weight > whole / 2), None)
    return None


def joined_stages(calls, groups, probe, expected, image_size, *, keeps_end=False):
    """Make the stages of groups of segments, and check them; return them and how the network pools their output.

    Unless `keeps_end`, the last stage ends in maps or tokens where `pool` does what the network does with them.
    """
    bounds = [groups[0][0].start, *(group[-1].end for group in groups)]
    stages = [[calls.stage(start, end)] for start, end in pairwise(bounds)]
    for below, above, position in zip(stages, stages[1:], bounds[1:], strict=False):
        leaving, entering = _adapters(calls, calls.places[position])
        below.extend(leaving)
        above[:0] = entering
    if not calls.recording.follows_image_size:
        stages[0].insert(0, FixedImageSize(image_size))
    names = name_groups(groups)
    output = probe
    for modules in stages[:-1]:
        output = nn.Sequential(*modules)(output)
    last, own_pooling = _last_stage(calls, groups[-1], stages[-1], output, expected, keeps_end)
    stages[-1] = last
    chain = nn.Sequential(OrderedDict((name, as_stage(*modules)) for name, modules in zip(names, stages, strict=True)))
    return chain, own_pooling


def _last_stage(calls, group, modules, given, expected, keeps_end):
    """Return the modules of the last stage, ending before the network's own pooling if possible, and that pooling."""
    last_weight = max((i for i, segment in enumerate(group) if segment.n_weights), default=len(group) - 1)
    earliest = len(group) - 1 if keeps_end else last_weight
    entering, output, start = modules[:-1], given, group[0].start
    for module in entering:
        output = module(output)
    for segment in group[earliest:]:
        output = calls.stage(start, segment.end)(output)
        start = segment.end
        for leaving in ([], _adapters(calls, segment.result)[0]):
            left = nn.Sequential(*leaving)(output)
            for own_pooling in _POSSIBLE_POOLINGS[left.ndim]:
                if agree(pool(left, "auto", own_pooling), expected):
                    return [*entering, calls.stage(group[0].start, segment.end), *leaving], own_pooling
    raise RecordingError("its recorded calls do not give its features")


def agree(found, expected, tolerance=_TOLERANCE):
    """Whether two tensors have the same shape, and differ by no more than a share of the largest value expected."""
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


def _adapters(calls, number):
    """Return what lets a value leave a stage as maps with channels first, or tokens, and what takes that back."""
    shape = calls.shape(number)
    if len(shape) == 4 and calls.channel_axis(number) == 3:
        return [ChannelsFirst()], [ChannelsLast()]
    if len(shape) == 3 and not calls.has_class_token(number) and shape[1] > 1:
        return [MapsOfTokens()], [TokensOfMaps()]
    return [], []


def _warn_about_whole(name, error):
    warnings.warn(
        f"{name} is taken as one whole stage, since {error}: unfreeze_depth is then 0 or 'all'. To name its stages, "
        "load the module with load_backbone(module, stages=[...]), from the stem to the top.",
        stacklevel=2,
    )
