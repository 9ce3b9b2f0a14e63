"""What a source of networks must give: a class in a file of its own, registered, and a line in ``__init__.py``."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sktl.backbones.sources._named import load_named, n_classes_in

__all__ = ["SOURCES", "BackboneCard", "NamedSource", "NetworkSource", "Variant", "register", "source_of"]


@dataclass(frozen=True)
class Variant:
    """In what networks of one name may differ; a source passes over what its networks do not have."""

    n_classes: int | None = None  # None for the usual number
    image_size: int | None = None  # of networks that are built for one size; None for the usual one
    transform_input: bool = False  # whether the network itself changes the normalisation of its input


@dataclass(frozen=True)
class BackboneCard:
    """What is known about a network by name and its default weights before they are read; None for what is not."""

    name: str
    source: str
    n_bytes: int | None = None  # of the weights, as a file
    image_size: int | None = None  # side of what the network sees, in pixels
    top1: float | None = None  # accuracy on the validation images of ImageNet-1k in percent, as published
    license: str | None = None
    is_here: bool | None = None  # whether the weights are on this machine


SOURCES: list["NetworkSource"] = []


def register(source):
    """Add a source, by its class, to those that are asked for a network."""
    SOURCES.append(source())
    return source


def source_of(backbone):
    """Return the source that a network comes from, or None if there is none."""
    in_order = sorted(SOURCES, key=lambda source: source.asked_last)
    return next((source for source in in_order if source.takes(backbone)), None)


class NetworkSource(ABC):
    """A kind of thing that may be passed as `backbone`, and how it becomes a record."""

    label: str | None = None  # what `list_backbones` calls a source whose networks have names
    asked_last = False  # whether it takes all that looks like a name, also those that other sources know
    stages_are_fixed = False  # whether the source says the stages of its networks, so that the user must not

    def names(self):
        """Return the names of the networks that are known by name, without a network connection."""
        return []

    @abstractmethod
    def takes(self, backbone):
        """Return whether what was passed as `backbone` comes from this source."""

    def cache_key(self, backbone):
        """Return what identifies a network, so that one copy is shared and a pickle loads it again; None if nothing."""
        return None

    @abstractmethod
    def find_weights(self, backbone, weights):
        """Find the Weights that `weights` means, which is not None, and read nothing yet."""

    @abstractmethod
    def load(self, backbone, weights, *, seed, match, preprocessing, reload):
        """Return the Backbone of a network with some Weights; takes `stages` as well unless they are fixed."""


class NamedSource(NetworkSource):
    """A source whose networks are known by name: what a new source inherits from.

    It gives `names`, `find_weights`, `build`, `preprocessing` and `chain`; the rest has a default.
    """

    stages_are_fixed = True
    offline = False
    is_traced = False  # whether `chain` runs a network, which must then have numbers

    @abstractmethod
    def names(self):
        """Return the names of the networks, without a network connection."""

    @abstractmethod
    def build(self, name, variant):
        """Build a network with random weights from torch's global generator.

        It is built without numbers as well, for weights that come from a model file, unless it is to be traced: large
        tensors are then on torch's meta device.
        """

    @abstractmethod
    def preprocessing(self, name, network, weights):
        """Return the Preprocessing that weights were trained with, the usual one for files and random weights."""

    @abstractmethod
    def chain(self, network):
        """Cut a network that was built here into a Chain of stages."""

    def variant(self, name, weights):
        """Return the Variant of a network that some weights were made for."""
        return Variant()

    def auxiliary_heads(self, network):
        """Return the names of the side classifiers that files may hold and that are not loaded."""
        return ()

    def adapted(self, name, network, weights, tensors):
        """Return the tensors of weights under the names, and in the shapes, of a network that was built here."""
        return tensors

    def n_classes_of(self, network, tensors):
        """Return the number of classes that a file of tensors was made for, None where it is the network's own."""
        return n_classes_in(self.chain(network).head, network, tensors)

    def image_size_of(self, network, tensors):
        """Return the image size that a file of tensors was made for, None where it fits any."""
        return None

    def tensors(self, name, weights, own):
        """Return tensors under the names of a network, of which the own ones are given; downloaded if they must be."""
        return weights.read(own)

    def recognise(self, name, weights):
        """Return weights with all that their file tells about them."""
        return weights

    def categories(self, name, weights, n_classes):
        """Return the names of the classes of a network with as many classes, None if they are unknown."""
        return None

    def card(self, name):
        """Return the BackboneCard of a network, without a network connection and without reading weights."""
        return BackboneCard(name, self.label)

    def published_top1(self, name, weights):
        """Return what the card says, where weights, by what a record calls them, are the default; None for others."""
        top1 = self.card(name).top1
        is_default = top1 is not None and self.find_weights(name, "default").provenance()["weights"] == weights
        return top1 if is_default else None

    def takes(self, backbone):
        """Return whether this is a name of a network of this source."""
        return isinstance(backbone, str) and backbone in self.names()

    def cache_key(self, backbone):
        """Return the name."""
        return backbone

    def load(self, backbone, weights, *, seed, match, preprocessing, reload):
        """Return the Backbone of a network known by name."""
        return load_named(self, backbone, weights, seed=seed, match=match, preprocessing=preprocessing, reload=reload)
