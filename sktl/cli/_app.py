"""The commands of ``sktl``, put together."""

import os
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from typer.core import TyperGroup

from sktl.cli._backbones import backbones
from sktl.cli._cache import cache
from sktl.cli._check import check
from sktl.cli._compare import compare
from sktl.cli._demo import demo
from sktl.cli._embed import embed
from sktl.cli._places import aware_of_places
from sktl.cli._predict import predict
from sktl.cli._rank import rank
from sktl.cli._train import train

__all__ = ["app"]

# "~/photos" in its place, and where a shell leaves it alone: "--report=~/page.html", "-o~/model".
_AT_HOME = re.compile(r"(--[a-z-]+=|-[a-z])?(~.*)", re.DOTALL)


def _with_home(argument):
    found = _AT_HOME.fullmatch(argument)
    return argument if found is None else (found[1] or "") + os.path.expanduser(found[2])


class _HomeExpandingGroup(TyperGroup):
    """The command, where ``~`` is the user's home in every path, also where a shell does not look for it."""

    def parse_args(self, ctx, args):
        return super().parse_args(ctx, [_with_home(argument) for argument in args])


app = typer.Typer(
    name="sktl",
    cls=_HomeExpandingGroup,
    help="Transfer learning with pretrained image networks, and an honest answer to whether it paid.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted):
    if not wanted:
        return
    try:
        print(version("sktl"))
    except PackageNotFoundError:
        print("unknown: sktl is run from a checkout that is not installed")
    raise typer.Exit


@app.callback()
def sktl(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
):
    """Transfer learning with pretrained image networks, and an honest answer to whether it paid."""


for command in (demo, check, compare, rank, embed, train, predict, backbones):
    app.command()(aware_of_places(command))
app.add_typer(cache, name="cache")
