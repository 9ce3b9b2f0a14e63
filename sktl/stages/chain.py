"""A network cut into stages, whose modules are the network's own."""

from dataclasses import dataclass

from torch import nn

__all__ = ["Chain", "as_stage"]


@dataclass(frozen=True, eq=False)
class Chain:
    """A network cut into stages; its modules are the network's own."""

    stages: nn.Sequential  # named, from the stem to the top
    head: nn.Module | None  # the network's own classifier
    family: str  # of the architecture
    own_pooling: str = "avg"  # how the network itself pools the output of the last stage: "avg" or "token"
    n_features: int | None = None  # length of the pooled output, None where it was not measured


def as_stage(*modules):
    """Join modules into one stage; a single one is a stage already."""
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)
