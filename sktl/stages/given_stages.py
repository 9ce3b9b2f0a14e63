"""The stages of a network as the user names them, from the stem to the top."""

from collections import OrderedDict
from warnings import warn

from torch import nn

from sktl._validation import did_you_mean
from sktl.stages._functional_modules import MeanToken
from sktl.stages.chain import Chain, as_stage
from sktl.stages.pooling import pool

__all__ = ["ADVICE", "chain_of_given_stages", "named_stages"]

# Features of chain and network may differ by this much of the largest, for the order of sums.
_TOLERANCE = 1e-4
ADVICE = (
    "Pass stages=, from the stem to the top, for instance "
    "load_backbone(module, stages=['conv1', ('body', ['layer1', torch.nn.ReLU(), 'layer2'])])."
)


def named_stages(module, stages):
    """Find the parts of the network that the user passed as ``stages=``."""
    paths = {id(part): path for path, part in module.named_modules()}
    resolved = []
    for entry in stages:
        stage_name, parts = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, entry)
        if not isinstance(stage_name, str):
            raise ValueError(
                f"a stage must be a name, or a pair of a name and modules. Got {entry!r} instead. {ADVICE}"
            )
        parts = parts if isinstance(parts, list | tuple) else [parts]
        resolved.append((stage_name.replace(".", "_"), [_resolve(part, paths) for part in parts]))
    names = [stage_name for stage_name, _ in resolved]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"stages must have at least one stage, and different names. Got {names} instead.")
    return resolved


def _resolve(part, paths):
    if isinstance(part, str):
        if part in paths.values():
            return part
        raise ValueError(
            f"a stage must name parts of the network. Got {part!r} instead.{did_you_mean(part, paths.values())}"
        )
    if isinstance(part, nn.Module):
        if id(part) in paths:
            return paths[id(part)]
        if next(part.parameters(), None) is None:
            return part
    raise ValueError(
        "a stage must be made of the network's own modules, or of ones without parameters. "
        f"Got {type(part).__name__} instead: name the part by its dotted name, such as 'features.0'."
    )


def chain_of_given_stages(module, name, stages, probe):
    """Run the user's stages one after the other, and the last linear layer outside of them as head if it fits."""
    used = {id(part) for _, parts in stages for whole in parts for part in whole.modules()}
    outside = [child for child in module.children() if id(child) not in used]
    head = outside[-1] if outside and _ends_in_linear(outside[-1]) else None
    chain = _chain(OrderedDict(stages), head)
    checked = _adapt(chain, module, probe)
    if checked is not None:
        return checked
    held = [each for part in (chain.stages, head) if part is not None for each in part.parameters()]
    if len(held) == len(list(module.parameters())):
        warn(
            f"the stages of {name} hold all of its parameters, but do not give its output: an activation may be "
            "missing between them. Its features are those of the stages as passed.",
            stacklevel=2,
        )
    try:
        features = pool(chain.stages(probe))
    except Exception as error:
        raise ValueError(f"stages must run one after the other. They raised {error!r} instead. {ADVICE}") from error
    return Chain(chain.stages, None, "module", n_features=features.shape[1])


def _chain(stages, head):
    chain = nn.Sequential(OrderedDict((name, as_stage(*parts)) for name, parts in stages.items()))
    return Chain(chain, head, "module")


def _is_layer(part):
    """Whether there is a weight in it that mixes channels; norms have vectors only."""
    return any(parameter.ndim >= 2 for parameter in part.parameters())


def _ends_in_linear(part):
    while isinstance(part, nn.Sequential):
        layers = [child for child in part if _is_layer(child)]
        if not layers:
            return False
        part = layers[-1]
    return isinstance(part, nn.Linear)


def _adapt(chain, module, probe):
    """Return the chain with the pooling that makes it reproduce the network; None if there is none."""
    try:
        output = chain.stages(probe)
    except Exception:  # children that do not follow each other fail in any way they like
        return None
    layer = _first_layer(chain.head)
    expected = _run_watched(module, probe, layer)
    for ending, own_pooling in _possible_poolings(output):
        features = pool(output if ending is None else ending(output), "auto", own_pooling)
        if any(_agree(result, expected) for result in _results(chain.head, features, output, layer)):
            stages = chain.stages if ending is None else _with_ending(chain.stages, ending)
            return Chain(stages, chain.head, chain.family, own_pooling, n_features=features.shape[1])
    return None


def _first_layer(head):
    parts = () if head is None else head.modules()
    return next((part for part in parts if next(part.parameters(recurse=False), None) is not None), None)


def _run_watched(module, argument, layer):
    """Run a module and return its output and the input of one layer inside.

    The input tells more: a head that starts from zero gives the same output whatever it is given.
    """
    if layer is None:
        return (module(argument),)
    seen = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    try:
        return (module(argument), *seen)
    finally:
        hook.remove()


def _possible_poolings(output):
    """List what networks do between maps or tokens and their head, the most usual first."""
    if output.ndim == 3:
        return [(None, "token"), (MeanToken(), "avg"), (nn.Flatten(1), "avg")]
    if output.ndim == 4:
        return [(None, "avg"), (nn.AdaptiveMaxPool2d(1), "avg"), (nn.Flatten(1), "avg")]
    return [(None, "avg")] if output.ndim == 2 else []


def _results(head, features, output, layer):
    if head is None:
        return [(features,), (output,)]
    results = []
    for argument in (features, output):
        try:
            results.append(_run_watched(head, argument, layer))
        except (RuntimeError, ValueError, IndexError):
            continue  # of a width that this pooling does not give
    return results


def _agree(results, expected):
    if [result.shape for result in results] != [each.shape for each in expected]:
        return False
    return all(
        bool((result - each).abs().max() <= _TOLERANCE * each.abs().max())
        for result, each in zip(results, expected, strict=True)
    )


def _with_ending(stages, ending):
    named = OrderedDict(stages.named_children())
    last = next(reversed(named))
    named[last] = nn.Sequential(named[last], ending)
    return nn.Sequential(named)
