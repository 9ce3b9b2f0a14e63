"""The commands of ``sktl``, put together."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from sktl.cli._backbones import backbones
from sktl.cli._cache import cache
from sktl.cli._compare import compare
from sktl.cli._embed import embed
from sktl.cli._places import aware_of_places
from sktl.cli._predict import predict
from sktl.cli._train import train

__all__ = ["app"]

app = typer.Typer(
    name="sktl",
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


for command in (compare, embed, train, predict, backbones):
    app.command()(aware_of_places(command))
app.add_typer(cache, name="cache")
