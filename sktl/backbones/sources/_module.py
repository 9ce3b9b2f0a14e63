"""A module of the user's own."""

from torch import nn

from sktl.backbones.sources._own_network import find_own_weights, load_own_network
from sktl.backbones.sources._source import NetworkSource, register

__all__ = ["ModuleSource"]


@register
class ModuleSource(NetworkSource):
    """A module of the user's own, with the weights it has; nothing finds it again, so pickles hold it."""

    def takes(self, backbone):
        """Return whether this is a module."""
        return isinstance(backbone, nn.Module)

    def find_weights(self, backbone, weights):
        """Find the weights of the module itself, or of a file."""
        return find_own_weights(weights)

    def load(self, backbone, weights, **options):
        """Return the Backbone of a copy of the module."""
        return load_own_network(backbone, weights, draw=weights.is_random, **options)
