"""The commands ``sktl cache …``: look at the embedding store, and empty it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sktl.cli._reporting import errors_as_messages, say, size

__all__ = ["cache"]

cache = typer.Typer(help="The store of embeddings on disk.", no_args_is_help=True)

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Another store than that of cache=True.", file_okay=False)
]


@cache.command()
def path(folder: FolderOption = None):
    """Print the folder of the store."""
    from sktl.store import store_folder

    print(folder or store_folder())


@cache.command()
def info(
    folder: FolderOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
):
    """Say how much the store holds, and of what."""
    with errors_as_messages():
        usage = _store(folder).usage()
    if json_:
        print(json.dumps(_as_dict(usage), indent=2))
        return
    limit = size(usage.max_bytes)
    print(f"{usage.path}: {usage.n_vectors} embeddings, {size(usage.n_bytes)} of at most {limit}")
    if not usage.by_key:
        return
    grid = Table(box=None, padding=(0, 1), header_style="bold")
    for title in ("embeddings of", "stored", "size", "seconds spent"):
        grid.add_column(title, justify="left" if title == "embeddings of" else "right", overflow="fold")
    for description, n_vectors, n_bytes, _, seconds in usage.by_key:
        grid.add_row(description, str(n_vectors), size(n_bytes), f"{seconds:.0f}")
    Console(highlight=False, markup=False).print(grid)


@cache.command()
def clear(folder: FolderOption = None):
    """Delete all embeddings; they are computed again when they are needed."""
    with errors_as_messages():
        store = _store(folder)
        before = store.usage()
        store.clear()
        say(f"Deleted {before.n_vectors} embeddings ({size(before.n_bytes)}) from {before.path}.")


def _store(folder):
    from sktl.store import open_store

    store = open_store(folder or True)
    if store is None:
        raise ValueError("there is no store, since SKTL_CACHE_SIZE is 0.")
    return store


def _as_dict(usage):
    keys = ("description", "n_vectors", "n_bytes", "n_computed", "seconds")
    about = {name: value for name, value in vars(usage).items() if name != "by_key"}
    return {**about, "recipes": [dict(zip(keys, row, strict=True)) for row in usage.by_key]}
