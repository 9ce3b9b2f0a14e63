"""Which segments of a network make a stage: cut where the resolution drops, and even in weight where it does not."""

from torch import nn

__all__ = ["MAX_SHARE", "MIN_STAGES", "grouped", "name_groups"]

MIN_STAGES, _WANTED_STAGES, _MAX_STAGES = 4, 5, 6
# Of all weights, in one stage: otherwise to unfreeze it would be to unfreeze nearly everything.
MAX_SHARE = 0.55
# In the top stage: what mixes a few vectors at the end is no stage to unfreeze.
_LEAST_AT_TOP = 0.01


def grouped(segments, calls):
    """Group segments into stages; the first group is the stem. Segments without layers join those before them."""
    groups = _split_where_resolution_drops(segments, calls)
    total = sum(map(_weight, groups))
    if len(groups) > 1 and _weight(groups[-1]) < _LEAST_AT_TOP * total:
        groups[-2:] = [groups[-2] + groups[-1]]
    while len(groups) < _WANTED_STAGES or _weight(groups[_heaviest(groups)]) > MAX_SHARE * total:
        candidates = [i for i, group in enumerate(groups) if len(_layered(group)) > 1]
        if candidates and candidates[-1] == len(groups) - 1 and _weight(_halves(groups[-1])[1]) < _LEAST_AT_TOP * total:
            candidates.pop()
        too_heavy = [i for i in candidates if _weight(groups[i]) > MAX_SHARE * total]
        if not candidates or (len(groups) >= _WANTED_STAGES and not too_heavy):
            break
        chosen = max(too_heavy or candidates, key=lambda i: (_weight(groups[i]), i))
        groups[chosen : chosen + 1] = _halves(groups[chosen])
    while len(groups) > _MAX_STAGES:
        lightest = min(range(len(groups) - 1), key=lambda i: _weight(groups[i]) + _weight(groups[i + 1]))
        groups[lightest : lightest + 2] = [groups[lightest] + groups[lightest + 1]]
    return groups


def _split_where_resolution_drops(segments, calls):
    groups, resolution, is_stem = [[]], None, True
    for segment in segments:
        if segment.n_layers:
            now = calls.n_places_of(segment.result)
            is_block = segment.n_layers > 1
            if _layered(groups[-1]) and (now < resolution or (is_stem and is_block)):
                groups.append([])
            is_stem = is_stem and not is_block
            resolution = now
        groups[-1].append(segment)
    return groups


def _halves(group):
    """Split a group where both parts are most alike in weight, between two segments with layers."""
    starts = [i for i, segment in enumerate(group) if segment.n_layers][1:]
    best = min(starts, key=lambda i: abs(_weight(group[:i]) - _weight(group[i:])))
    return group[:best], group[best:]


def _layered(group):
    return [segment for segment in group if segment.n_layers]


def _weight(group):
    return sum(segment.n_weights for segment in group)


def _heaviest(groups):
    return max(range(len(groups)), key=lambda i: _weight(groups[i]))


def name_groups(groups):
    """Name stages after the modules in them: ``layer1``, ``blocks_0_2``; the lowest one is the stem."""
    paths = [[path.split(".") for segment in group for path in segment.paths] for group in groups]
    while all(len(path) > 1 and path[0] == paths[0][0][0] for group in paths for path in group) and paths[0]:
        paths = [[path[1:] for path in group] for group in paths]  # a wrapper
    names = ["stem"] if len(groups) > 1 else []
    for group, own in list(zip(groups, paths, strict=True))[len(names) :]:
        weights = [segment.n_weights / len(segment.paths) for segment in group for _ in segment.paths]
        name = _name(own, weights)
        name = f"stage{len(names)}" if name.replace("_", "").isdigit() else name
        name = f"stage_{name}" if hasattr(nn.Sequential, name) else name  # a method's, such as append
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _name(paths, weights):
    """Name a stage after its heaviest module, and those beside it in the same container."""
    if not paths:
        return "whole"
    heaviest = paths[max(range(len(paths)), key=weights.__getitem__)]
    container = heaviest[:-1]
    beside = [
        path[len(container)] for path in paths if path[: len(container)] == container and len(path) > len(container)
    ]
    within = list(dict.fromkeys(beside)) if container else [heaviest[-1]]
    return "_".join([*container, *dict.fromkeys((within[0], within[-1]))])
