"""The stages of a network of the user's own, and where its classifier begins."""

import copy
import warnings
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from sktl.stages._calls import RecordingError
from sktl.stages._classifier_place import classifier_position, opened_to_last_layer
from sktl.stages._recording import Recorder
from sktl.stages._segments import Calls, n_layers_in
from sktl.stages.chain import Chain
from sktl.stages.given_stages import ADVICE, chain_of_given_stages
from sktl.stages.pooling import pool
from sktl.stages.torchvision_stages import chain_of_known_family, is_known_family
from sktl.stages.traced_stages import agree, divided, joined_stages, probe_of

__all__ = ["chain_of_own_module", "copy_for_inference", "forget_weights"]

# The scores of stages and head may differ by this much of the network's largest, for the order of sums.
_TOLERANCE = 1e-4


def copy_for_inference(module):
    """Return a copy of a module on the CPU in float32, in eval mode and without gradients."""
    name = type(module).__name__
    if any(is_lazy(each) for each in (*module.parameters(), *module.buffers())):
        raise ValueError(
            f"{name} must have all of its weights. Got a lazy module that has seen no image instead: run it once first."
        )
    try:
        copied = copy.deepcopy(module, _computed_tensors(module))
    except Exception as error:  # of the network's own, which may be any
        raise ValueError(
            f"{name} must be a module that copy.deepcopy copies. It raised {error!r} instead: pass a function that "
            "makes it, or clear what it keeps from training."
        ) from error
    if {id(part) for part in module.modules()} & {id(part) for part in copied.modules()}:
        raise ValueError(f"{name} must be a module that copy.deepcopy copies. Some of it is the same object instead.")
    return copied.to("cpu").float().eval().requires_grad_(False)


def _computed_tensors(module):
    """Return copies, by id, of the tensors that a training has left in modules: torch copies none with a history."""
    kept = [each for part in module.modules() for each in (*vars(part).values(), *part._buffers.values())]
    tensors = [each for each in kept if isinstance(each, torch.Tensor) and not each.is_leaf]
    return {id(each): each.detach().clone() for each in tensors}


def forget_weights(module, name):
    """Draw the weights of a module anew from torch's global generator, in place.

    Every parameter is filled with NaN first: one in which NaN is left afterwards has kept, or was made from, what it
    held before. Constants that are written, such as the ones of batch norm, count as drawn. Buffers are not looked at.
    """
    stuck = [
        path or name
        for path, part in module.named_modules()
        if next(part.parameters(recurse=False), None) is not None and _drawing(part) is None
    ]
    if stuck:
        raise ValueError(
            f"weights=None needs modules that can draw their weights anew (reset_parameters). {stuck[0]!r} of {name} "
            "cannot: pass a function that makes the network instead of the network."
        )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(torch.nan)
    for part in module.modules():
        draw = _drawing(part)
        if draw is not None:
            draw()
    kept = [path for path, parameter in module.named_parameters() if parameter.isnan().any()]
    if kept:
        owner = type(module.get_submodule(kept[0].rpartition(".")[0])).__name__
        raise ValueError(
            f"weights=None needs modules whose reset_parameters sets every parameter. That of {owner} leaves "
            f"{kept[0]!r} of {name} as it was: set it there, or pass a function that makes the network instead "
            "of the network."
        )


def _drawing(part):
    # Attention in torch has it under the second name.
    return getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)


def chain_of_own_module(module, name, image_size, stages=None):
    """Cut a network of the user's own into stages that reproduce it, and find its classifier."""
    probe = probe_of(image_size)
    with torch.no_grad():
        run, output = _output(module, name, probe)
        _check_repeats(module, name, run, probe, output)
        if stages is not None:
            chain = _named_ends(module, run, image_size, stages, output)
            return chain or chain_of_given_stages(module, name, _in_copy(module, stages), probe)
        chain = _known_family(module)
        if chain is not None and _gives(chain, probe, output):
            return replace(chain, n_features=_features(chain, probe).shape[1])
        return _recorded(module, name, run, image_size, output)


def _output(module, name, probe):
    """Return how a network runs on images in colour, and its output."""
    size, n_channels = probe.shape[-1], n_channels_of(module)
    run = run_own
    try:
        try:
            output = run(module, probe.clone())  # which it may change in place
        except Exception:
            if n_channels != 1:
                raise
            run = run_grey
            output = run(module, probe)
    except Exception as error:
        if n_channels not in (1, 3):
            raise ValueError(
                f"{name} must take images of 1 or 3 channels. Its first convolution takes {n_channels} instead: put "
                "one of your own before it that makes as many of 3."
            ) from error
        raise ValueError(
            f"{name} must take normalised pictures of shape (n_images, 3, {size}, {size}). It raised {error!r} "
            "instead. Another size is passed as preprocessing=Preprocessing(crop_size=...)."
        ) from error
    if not isinstance(output, torch.Tensor):
        raise ValueError(
            f"{name} must return one tensor in eval mode. Got {type(output).__name__} instead: wrap it in a module "
            "that returns the tensor that counts."
        )
    return run, output


def _check_repeats(module, name, run, probe, output):
    """Check that images get the same output however often they are shown."""
    if output.isnan().any():
        raise ValueError(
            f"{name} must give finite numbers for a picture. Got NaN instead: its weights are damaged, or too large to "
            "compute with. Take other weights."
        )
    shown = run(module, probe.clone())
    if shown.shape != output.shape or not agree(shown, output, _TOLERANCE):
        raise ValueError(
            f"{name} must give an image the same output each time in eval mode. It gave others instead: it draws "
            "random numbers, or keeps something from call to call."
        )


def _known_family(module):
    if not is_known_family(module):
        return None
    try:
        return chain_of_known_family(module)
    except (AttributeError, IndexError, KeyError, TypeError):
        return None  # parts were taken out or renamed


def _recorded(module, name, run, image_size, output):
    try:
        chain = _cut(module, name, run, image_size, output, follows_image_size=True)
        # A stage may need a size that no tensor in it has; for one image size it is a constant.
        chain = chain or _cut(module, name, run, image_size, output, follows_image_size=False)
    except RecordingError as error:
        raise ValueError(
            f"the features of {name} must be told from its class scores: they are what its last layer is handed. They "
            f"cannot be found, since {error}. {ADVICE}"
        ) from error
    if chain is None:
        raise ValueError(f"the recorded calls of {name} must give its output. They give something else. {ADVICE}")
    if len(chain.stages) == 1 and n_layers_in(chain.stages) > 1:
        warnings.warn(
            f"{name} is one whole stage, since more than one tensor crosses wherever it could be cut: unfreeze_depth "
            f"is 0 or 'all'. {ADVICE}",
            stacklevel=2,
        )
    return chain


def _cut(module, name, run, image_size, output, *, follows_image_size):
    """Return the chain of a network below its classifier; None where its calls do not give its output again."""
    recorder = Recorder(module, run, image_size, follows_image_size=follows_image_size)
    calls = Calls(module, recorder.record({""}))
    opened, calls = opened_to_last_layer(recorder, calls)
    classifier_position(calls)
    options = {"follows_image_size": follows_image_size}
    try:
        calls, groups = divided(module, run, image_size, opened, classifier_position, **options)
        chain = _chain(module, calls, groups, image_size, output)
    except RecordingError:
        return None
    if recorder.trains_otherwise(calls.recording.opened):
        warnings.warn(
            f"{name} does something else in training mode than in eval mode, in a forward function that was cut: an "
            "'if self.training', say. Its stages always do what it does in eval mode, and only the modules in them "
            "follow the mode. Put what differs into a module of its own.",
            stacklevel=2,
        )
    return chain


def run_own(module, images):
    """Run a network on images in colour."""
    return module(images)


def run_grey(module, images):
    """Run a network on the luminance of normalised images, whose channels must have one mean and std."""
    red, green, blue = images.split(1, 1)
    return module(0.299 * red + 0.587 * green + 0.114 * blue)  # ITU-R BT.601, as in Pillow


def n_channels_of(module):
    """Return how many channels the convolution that comes first in a network's list takes, 3 where there is none."""
    return next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), 3)


def _in_copy(network, stages):
    """Return the stages with modules in place of their names, and copies of those without parameters."""
    return [
        (stage, [network.get_submodule(part) if isinstance(part, str) else copy_for_inference(part) for part in parts])
        for stage, parts in stages
    ]


def _named_ends(module, run, image_size, stages, output):
    """Return the chain whose stages end where the named parts end; None where the names do not say such stages."""
    ends = [parts[-1] for _, parts in stages]
    if not all(isinstance(part, str) for _, parts in stages for part in parts):
        return None
    owners = {path[:dot] for path in ends for dot, letter in enumerate(path) if letter == "."}
    recorder = Recorder(module, run, image_size)
    try:
        calls = Calls(module, recorder.record({"", *owners}))
        _, calls = opened_to_last_layer(recorder, calls, {"", *owners})
        groups = _groups_ending(calls, ends)
        if groups is None:
            return None
        chain = _chain(module, calls, groups, image_size, output)
    except RecordingError:
        return None
    renamed = nn.Sequential()
    for (stage_name, _), stage in zip(stages, chain.stages, strict=True):
        renamed.add_module(stage_name, stage)
    return replace(chain, stages=renamed)


def _groups_ending(calls, ends):
    """Group the segments below the classifier into those that end with some modules, None where they do not."""
    groups = [[]]
    for segment in calls.segments(classifier_position(calls)):
        groups[-1].append(segment)
        called = {call.target for call in calls.of_images[segment.start : segment.end] if call.kind == "module"}
        if len(groups) <= len(ends) and ends[len(groups) - 1] in called:
            groups.append([])
    rest = groups.pop()
    if len(groups) != len(ends) or any(segment.n_layers for segment in rest):
        return None
    groups[-1].extend(rest)
    return groups


def _chain(module, calls, groups, image_size, output):
    """Return the chain of groups of segments below the classifier, which must give the output of the network."""
    probe, position = probe_of(image_size), classifier_position(calls)
    end = len(calls.of_images)
    head = None if position == end else calls.stage(position, end)
    handed = calls.stage(0, position)(probe)
    if head is not None and not agree(head(handed), output, _TOLERANCE):
        raise RecordingError("its recorded calls give something else")
    features = _vectors(calls, calls.places[position], handed)
    is_open = head is None and handed.ndim > 2  # maps that the network itself does not pool
    stages, own_pooling = joined_stages(calls, groups, probe, features, image_size, keeps_end=is_open)
    return Chain(stages, head, "module", own_pooling, n_features=features.shape[1])


def _vectors(calls, number, output):
    """Pool maps or tokens that a network gives, or hands to a convolution, as `pool` does with those of a stage."""
    axis = calls.channel_axis(number)
    if output.ndim == 3 and calls.has_class_token(number):
        return output[:, 0]
    return output if output.ndim == 2 else output.mean([each for each in range(1, output.ndim) if each != axis])


def _gives(chain, probe, output):
    """Whether the head gives the output of the network, from the features or from the maps before they are pooled."""
    maps = chain.stages(probe)
    features = pool(maps, "auto", chain.own_pooling)
    if chain.head is None:
        return agree(features, output, _TOLERANCE) or agree(maps, output, _TOLERANCE)
    for given in (features, maps):
        try:
            if agree(chain.head(given), output, _TOLERANCE):
                return True
        except (RuntimeError, ValueError, IndexError):
            continue  # of a width that this pooling does not give
    return False


def _features(chain, probe):
    return pool(chain.stages(probe), "auto", chain.own_pooling)
