"""A function of the user's own that makes a network."""

from dataclasses import replace
from functools import partial

from torch import nn

from sktl.backbones._backbone import tensor_digest
from sktl.backbones.seeding import seeded
from sktl.backbones.sources._other_forms import in_plain_form
from sktl.backbones.sources._own_network import find_own_weights, load_own_network
from sktl.backbones.sources._source import NetworkSource, register

__all__ = ["FunctionSource"]


@register
class FunctionSource(NetworkSource):
    """A function without arguments, or a class, that makes a network when it is called under the seed."""

    def takes(self, backbone):
        """Return whether this can be called, and is no network yet."""
        return callable(backbone) and not isinstance(backbone, nn.Module)

    def cache_key(self, backbone):
        """Let equal partial objects be one: clone copies them. To a function, True is something else than 1."""
        if isinstance(backbone, partial):
            named = sorted(backbone.keywords.items())
            kinds = tuple(type(value) for value in (*backbone.args, *dict(named).values()))
            return self.cache_key(backbone.func), backbone.args, tuple(named), kinds
        return backbone

    def find_weights(self, backbone, weights):
        """Find the weights that the function gives, or those of a file; the function may draw from the generators."""
        return replace(find_own_weights(weights), depends_on_seed=True)

    def load(self, backbone, weights, *, seed, **options):
        """Return the Backbone of what the function makes."""
        module = _call(backbone, seed)
        if not weights.is_random or not _is_same(module, _call(backbone, seed + 1)):
            return load_own_network(module, weights, draw=False, seed=seed, **options)
        try:  # it brings weights along, whatever the generators say
            return load_own_network(module, weights, draw=True, seed=seed, **options)
        except ValueError as error:
            raise ValueError(
                "weights=None needs a function that makes a network with random weights. Got the same weights "
                f"twice from {backbone!r} instead, in modules that cannot draw others ({error}): leave out its own, "
                "for instance functools.partial(resnet18, weights=None)."
            ) from error


def _is_same(module, other):
    return tensor_digest("", module=module) == tensor_digest("", module=other)


def _call(function, seed):
    with seeded(seed):
        module = in_plain_form(function())
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"backbone must be a name, a torch.nn.Module, or a function that returns one. Got {function!r}, which "
            f"returned {type(module).__name__}, instead."
        )
    return module
