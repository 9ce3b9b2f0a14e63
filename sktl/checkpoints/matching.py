"""Which tensors of a checkpoint are those of a network, whatever dictionaries and prefixes a training put around them.

Training scripts keep tensors next to epochs and optimizers, and wrappers of modules put prefixes in front of names.
There is no end to what either may be called, but the network's own names are known: a dictionary and a prefix are
right where most of these names are found. What of several such networks is taken is said, and another can be asked for.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from warnings import warn

import torch

from sktl.exceptions import WeightsError

__all__ = ["PART_MARK", "network_tensors"]

PART_MARK = "::"  # between the path of a file and what to take of it
_MAX_NESTING = 4  # dictionaries, one inside the other; a dictionary may hold itself
_MAX_PREFIX = 8  # parts of a prefix
_MAX_PREFIXES = 16  # of one dictionary that are looked at, those with most names first
# What torch puts into names wherever it wraps a part of a network: torch.compile, sharding, activation checkpoints.
_TORCH_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Where the weights that a training has just made lie most often; where several fit, these are meant.
_USUAL = ("state_dict", "model_state_dict", "model", "net", "params", "student", "encoder_q", "online")
# Means over the steps of a training, which lie beside the weights that it has just made.
_AVERAGE = re.compile(r"(^|[._])(ema|avg|averaged?|swa|teacher|momentum|shadow|target|encoder_k)($|[._])", re.I)
_SHARE_OF_NETWORK = 0.5  # of the names of a network, from which a dictionary with a prefix counts as one
_SHARE_OF_BEST = 0.9  # of what fits best, from which another network of a file is worth a word


@dataclass(frozen=True, eq=False)
class _Reading:
    """One dictionary of a checkpoint, read with a prefix in the file taken for one of the network's own names."""

    place: tuple[str, ...]  # the keys of the dictionaries on the way
    prefix: str  # with its closing dot
    own_prefix: str
    tensors: dict  # as in the file, under the names there
    n_equal: int = 0  # names of the network that have the same shape here
    n_found: int = 0

    @property
    def label(self):
        """What a user names it by."""
        return ".".join((*self.place, *filter(None, [self.prefix.removesuffix(".")])))

    @property
    def rank(self):
        """How far this is from what is usually meant: 0 for the usual places, 1 for others, 2 for averages."""
        if _AVERAGE.search(self.label):
            return 2
        return 0 if not self.label or any(part in _USUAL for part in self.label.split(".")) else 1

    def named(self, others):
        """Return the tensors by the names of the network, without those of other networks in the same dictionary."""
        alien = tuple(
            each.prefix for each in others if each.place == self.place and each.prefix not in ("", self.prefix)
        )
        inner = tuple(prefix for prefix in alien if prefix.startswith(self.prefix))
        rest = {name: each for name, each in self.tensors.items() if not name.startswith((self.prefix, *alien))}
        return rest | {
            self.own_prefix + name.removeprefix(self.prefix): each
            for name, each in self.tensors.items()
            if name.startswith(self.prefix) and not name.startswith(inner)
        }


def network_tensors(content, path, own=(), part=None):
    """Return the tensors of a network among what a file of weights held.

    Parameters
    ----------
    content : object
        What was read.
    path : Path
        The file, for messages.
    own : mapping of str to torch.Tensor, or iterable of str
        Names of the network's tensors, and their shapes; empty where they are unknown, and prefixes stay.
    part : str or None
        The dictionary or prefix that the user asks for.
    """
    shapes = _shapes(own)
    readings = [
        reading
        for place, tensors in _dictionaries(content)
        for reading in _readings(place, _without_wrappers(tensors, shapes), shapes)
    ]
    if not readings:
        raise WeightsError(
            f"{str(path)!r} must hold a dictionary of named tensors. Got {_kind(content)} instead: save it with "
            "torch.save(model.state_dict(), path)."
        )
    asked_for = readings if part is None else _asked_for(readings, part, path)
    chosen, others = _best(asked_for, path, shapes)
    if part is None and any(other.label for other in others):
        warn(_what_was_taken(chosen, others, path), stacklevel=2)
    return chosen.named(_rivals(readings, chosen, shapes))


def _enough(own):
    """Return how many names of a network count as the network."""
    return max(_SHARE_OF_NETWORK * len(own), 1)


def _rivals(readings, chosen, own):
    """Return the readings that fit nearly as well as one that fits."""
    if chosen.n_found < _enough(own):
        return []
    return [each for each in readings if each is not chosen and each.n_equal >= _SHARE_OF_BEST * chosen.n_equal > 0]


def _shapes(own):
    if isinstance(own, Mapping):
        return {name: tuple(tensor.shape) for name, tensor in own.items()}
    return dict.fromkeys(own)


def _kind(content):
    if not isinstance(content, dict):
        return type(content).__name__
    return "no tensors under names of their own" if content else "an empty dictionary"


def _dictionaries(content):
    """Yield the dictionaries with named tensors in a checkpoint, each once, with the keys that lead there."""
    seen, waiting = set(), [((), content)] if isinstance(content, dict) else []
    while waiting:
        place, value = waiting.pop(0)
        if id(value) in seen or len(place) > _MAX_NESTING:
            continue
        seen.add(id(value))
        tensors = {
            name: each for name, each in value.items() if isinstance(name, str) and isinstance(each, torch.Tensor)
        }
        if tensors:
            yield place, tensors
        inner = {key: each for key, each in value.items() if isinstance(key, str) and isinstance(each, dict)}
        waiting += [((*place, key), each) for key, each in inner.items()]


def _without_wrappers(tensors, own):
    """Leave out of names what torch itself puts there, unless the network has it, too."""
    wrappers = _TORCH_WRAPPERS - {part for name in own for part in name.split(".")}
    renamed = {
        ".".join(part for part in name.split(".") if part not in wrappers): each for name, each in tensors.items()
    }
    return renamed if own and len(renamed) == len(tensors) else tensors


def _readings(place, tensors, own):
    """Return the readings of a dictionary under which most names of the network are found, or else the best one."""
    counts: Counter = Counter()
    for own_prefix in _common_prefixes(own):
        wanted = {name.removeprefix(own_prefix) for name in own}
        for name in tensors:
            counts.update((prefix, own_prefix) for prefix in _prefixes(name) if name[len(prefix) :] in wanted)
    # Names that go on in the same way may be told apart anywhere: the shortest pair says it all.
    counts = Counter({pair: n for pair, n in counts.items() if not _is_redundant(*pair)})
    found = [pair for pair, n in counts.most_common(_MAX_PREFIXES) if n >= _enough(own)]
    if not found:
        pair, n_found = max(counts.items(), key=lambda item: item[1], default=(("", ""), 0))
        found = [pair if n_found >= len(tensors) / 2 else ("", "")]
    return [_scored(_Reading(place, *pair, tensors), own) for pair in found]


def _prefixes(name):
    """Yield the beginnings of a name that end in a dot, the empty one first."""
    end = 0
    for _ in range(_MAX_PREFIX + 1):
        yield name[:end]
        end = name.find(".", end) + 1
        if end == 0:
            return


def _common_prefixes(own):
    names = list(own) or [""]
    return [prefix for prefix in _prefixes(names[0]) if all(name.startswith(prefix) for name in names)]


def _is_redundant(prefix, own_prefix):
    return bool(prefix and own_prefix) and prefix.split(".")[-2] == own_prefix.split(".")[-2]


def _scored(reading, own):
    pairs = [
        (own.get(reading.own_prefix + name.removeprefix(reading.prefix), ""), tensor)
        for name, tensor in reading.tensors.items()
        if name.startswith(reading.prefix)
    ]
    shapes = [(shape, tensor) for shape, tensor in pairs if shape != ""]
    n_equal = sum(shape is None or (not each.is_nested and tuple(each.shape) == shape) for shape, each in shapes)
    return _Reading(reading.place, reading.prefix, reading.own_prefix, reading.tensors, n_equal, len(shapes))


def _asked_for(readings, part, path):
    """Return the readings that go by a name: that of a dictionary, of a prefix, or of both, in full or in part."""
    found = [reading for reading in readings if f".{part}." in f".{reading.label}."]
    if found:
        return found
    raise WeightsError(
        f"what stands behind {PART_MARK!r} must be a part of {str(path)!r} that holds a network. Got {part!r} instead. "
        f"Name one of {_labels(readings)}."
    )


def _labels(readings):
    return ", ".join(repr(reading.label) for reading in readings if reading.label) or "none: leave it out"


def _best(readings, path, own):
    """Return the reading that fits best, and the others that fit nearly as well."""
    fit = max((reading.n_equal, reading.n_found) for reading in readings)
    best = sorted(
        (reading for reading in readings if (reading.n_equal, reading.n_found) == fit),
        key=lambda reading: (reading.rank, 0 if fit[1] else -len(reading.tensors)),
    )
    chosen = best[0]
    others = [
        other for other in _rivals(readings, chosen, own) if not _are_equal(other.named(best), chosen.named(best))
    ]
    rivals = [reading for reading in best if reading in others and reading.rank == chosen.rank]
    if rivals:
        labelled = [reading for reading in (chosen, *rivals) if reading.label]
        raise WeightsError(
            f"{str(path)!r} must hold one network. Got several that fit equally well instead. Write "
            f"{_with_part(path, labelled[0])} for one of {_labels(labelled)}."
        )
    return chosen, others


def _are_equal(first, second):
    """Whether two networks have the same numbers, such as a model that was saved under two keys."""
    try:
        return first.keys() == second.keys() and all(torch.equal(each, second[name]) for name, each in first.items())
    except (RuntimeError, NotImplementedError):  # of kinds that cannot be compared
        return False


def _with_part(path, reading):
    return repr(f"{path}{PART_MARK}{reading.label}")


def _what_was_taken(chosen, others, path):
    taken = f"{chosen.label!r} was taken" if chosen.label else "the outermost one was taken"
    again = f", and {_with_part(path, chosen)} to take this one without a warning" if chosen.label else ""
    left = " or ".join(_with_part(path, reading) for reading in others if reading.label)
    return f"{str(path)!r} holds more than one network that fits: {taken}. Write {left} for another one{again}."
