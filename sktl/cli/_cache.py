"""The commands ``sktl cache …``: look at the embedding store, empty it, and share what it holds as segments."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sktl.cli._reporting import errors_as_messages, say, size

__all__ = ["cache"]

cache = typer.Typer(help="The store of embeddings on disk.", no_args_is_help=True)

_KEYS = ("description", "n_vectors", "n_bytes", "n_computed", "seconds")
_KEYS_OF_SEGMENTS = ("description", "n_vectors", "n_bytes", "n_segments")

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
    """Say how much the store holds, and of what; also of each folder of segments in SKTL_CACHE_SEGMENTS."""
    from sktl.store import usage_of_segments

    with errors_as_messages():
        store = _store(folder)
        usage = store.local.usage() if store.local else None
        segments = [usage_of_segments(tier) for tier in store.segments]
    if json_:
        about = _as_dict(usage, _KEYS) if usage else {}
        if segments:
            about["segments"] = [_as_dict(one, _KEYS_OF_SEGMENTS) for one in segments]
        print(json.dumps(about, indent=2))
        return
    if usage:
        limit = size(usage.max_bytes)
        print(f"{usage.path}: {usage.n_vectors} embeddings, {size(usage.n_bytes)} of at most {limit}")
        rows = [(about, str(n), size(n_bytes), f"{seconds:.0f}") for about, n, n_bytes, _, seconds in usage.by_key]
        _print_grid(("embeddings of", "stored", "size", "seconds spent"), rows)
    for one in segments:
        print(f"{one.path}: {one.n_vectors} embeddings in {one.n_segments} segments, {size(one.n_bytes)}")
        rows = [(about, str(n), size(n_bytes), str(n_files)) for about, n, n_bytes, n_files in one.by_key]
        _print_grid(("embeddings of", "stored", "size", "segments"), rows)


@cache.command(name="export")
def export(
    place: Annotated[str, typer.Argument(metavar="DIR", help="A folder of segments, or its URL.")],
    folder: FolderOption = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Only embeddings whose description contains this.")
    ] = None,
):
    """Write what the store holds, and DIR does not, to DIR as segments, for other machines to look up."""
    from sktl.store import export_vectors

    with errors_as_messages():
        n_vectors, n_segments = export_vectors(_local(folder), place, recipe=recipe)
        say(f"Wrote {n_vectors} embeddings to {place}, in {n_segments} segments.")


@cache.command(name="import")
def import_(
    place: Annotated[str, typer.Argument(metavar="DIR", help="A folder of segments, or its URL.")],
    folder: FolderOption = None,
):
    """Write what the segments in DIR hold, and the store does not, to the store."""
    from sktl.store import import_vectors

    with errors_as_messages():
        store = _local(folder)
        say(f"Added {import_vectors(store, place)} embeddings from {place} to {store.folder}.")


@cache.command()
def clear(folder: FolderOption = None):
    """Delete all embeddings; they are computed again when they are needed."""
    with errors_as_messages():
        store = _local(folder)
        before = store.usage()
        store.clear()
        say(f"Deleted {before.n_vectors} embeddings ({size(before.n_bytes)}) from {before.path}.")


def _local(folder):
    store = _store(folder).local
    if store is None:
        raise ValueError("there is no store, since SKTL_CACHE_SIZE is 0.")
    return store


def _store(folder):
    from sktl.store import open_store

    store = open_store(folder or True)
    if store is None:
        raise ValueError("there is no store, since SKTL_CACHE_SIZE is 0.")
    return store


def _print_grid(titles, rows):
    if not rows:
        return
    grid = Table(box=None, padding=(0, 1), header_style="bold")
    for title in titles:
        grid.add_column(title, justify="left" if title == titles[0] else "right", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    Console(highlight=False, markup=False).print(grid)


def _as_dict(usage, keys):
    about = {name: value for name, value in vars(usage).items() if name != "by_key"}
    return {**about, "recipes": [dict(zip(keys, row, strict=True)) for row in usage.by_key]}
