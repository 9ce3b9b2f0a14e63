"""The command ``sktl backbones``: the networks that --backbone takes, and what is known about them."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sktl.cli._options import JsonOption
from sktl.cli._reporting import errors_as_messages, size

__all__ = ["backbones"]

_WIDE = 200  # characters of a line that no terminal breaks
_TITLES = ("name", "source", "size", "pixels", "top-1", "licence", "here")
_NUMBERS = ("size", "pixels", "top-1")


def backbones(
    pattern: Annotated[
        str | None, typer.Argument(help="Which names, with wildcards in quotes, such as 'resnet*'; all unless told.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where they come from: bundled, imagenet, timm, torchvision; all unless told.")
    ] = None,
    as_json: JsonOption = False,
):
    """List the pretrained networks by name, with the size and licence of their weights.

    Nothing is downloaded: 'here' says whether the weights are on this machine.
    """
    with errors_as_messages():
        from sktl.backbones.listing import list_backbones, list_cards

        cards = list_cards(pattern, source)
        if not cards:
            raise ValueError(_without_match(pattern, source, timm_is_here=bool(list_backbones(source="timm"))))
        if as_json:
            print(json.dumps([asdict(card) for card in cards], indent=2))
            return
        grid = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
        for title in _TITLES:
            grid.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=title == "name")
        for card in cards:
            grid.add_row(*_cells(card))
        width = None if sys.stdout.isatty() else _WIDE
        Console(highlight=False, markup=False, width=width).print(grid)


def _without_match(pattern, source, *, timm_is_here):
    """Say what to write where nothing is listed."""
    if not timm_is_here and (source == "timm" or (pattern or "").startswith("timm")):
        return "networks of timm must be installed to be listed. Found no timm: pip install 'sktl[timm]'."
    hint = "" if pattern is None or "*" in pattern else f" Write '*{pattern}*' for names that hold it."
    if "/" in (pattern or ""):
        hint += " Repositories of the Hugging Face Hub are not listed, and go by their names all the same."
    within = "" if source is None else f" --source {source}"
    return f"PATTERN must match a name that 'sktl backbones{within}' lists. Got {pattern!r} instead.{hint}"


def _cells(card):
    top1 = "" if card.top1 is None else f"{card.top1:.1f} %"
    n_bytes = "" if card.n_bytes is None else size(card.n_bytes)
    here = {True: "yes", False: "no", None: ""}[card.is_here]
    licence = (card.license or "").partition(" (")[0]  # the rest is in the JSON
    return card.name, card.source or "", n_bytes, str(card.image_size or ""), top1, licence, here
