"""A network cut into stages, whose modules are the network's own."""

from dataclasses import dataclass

from torch import nn

__all__ = ["Chain", "as_stage"]


@dataclass(frozen=True, eq=False)
class Chain:
    """A network cut into stages; its modules are the network's own.

    Parameters
    ----------
    stages : torch.nn.Sequential
        Named stages from the stem to the top.
    head : torch.nn.Module or None
        The network's own classifier.
    family : str
        Name of the architecture's family.
    own_pooling : {"avg", "token"}, default="avg"
        How the network itself pools the output of the last stage.
    """

    stages: nn.Sequential
    head: nn.Module | None
    family: str
    own_pooling: str = "avg"


def as_stage(*modules):
    """Join modules into one stage; a single one is a stage already."""
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)
