"""Options of the commands that take a table in the place of folders, worded once."""

from pathlib import Path
from typing import Annotated

import typer

from sktl.cli._options import one_of

__all__ = [
    "GroupOption",
    "ImageOption",
    "RootOption",
    "SeparatorOption",
    "TableOption",
    "TargetOption",
    "TaskOption",
    "check_folder_or_table",
    "check_of_table",
]

TableOption = Annotated[
    Path | None,
    typer.Option(help="Instead of folders, a table with a row for each image: .csv, .tsv or .parquet."),
]
ImageOption = Annotated[
    str, typer.Option("--image", metavar="COLUMN", help="With --table: the column of paths, from its folder on.")
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="COLUMN", help="With --table: the column of labels or numbers.")
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group", metavar="COLUMN", help="With --table: the column of groups, which stay on one side of a split."
    ),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="With --table: where relative paths start, if not in its folder.")
]
SeparatorOption = Annotated[
    str | None,
    typer.Option("--separator", help="With --table: what stands between labels in a cell, '|' say, if there are more."),
]
TaskOption = Annotated[
    str,
    typer.Option(
        "--task",
        help="With --table: classification, regression, or auto: regression where some numbers have a fraction.",
        callback=one_of("auto", "classification", "regression"),
    ),
]
# What says something of a table, and nothing without one.
_OF_TABLES = ("image", "target", "group", "root", "separator", "task")


def check_folder_or_table(context, name, others=()):
    """Refuse both a folder and a table, or neither."""
    sources = [option for option in (name, "table", *others) if context.params[option]]
    if len(sources) != 1:
        choices = [name.upper(), *(f"--{option}" for option in ("table", *others))]
        raise typer.BadParameter(f"give {' or '.join(choices)}, and one of them alone.", param_hint=name.upper())
    check_of_table(context, () if context.params.get("features") else _OF_TABLES)


def check_of_table(context, options=_OF_TABLES):
    """Refuse what says something of a table where there is none."""
    for option in options if context.params["table"] is None else ():
        if option in context.params and context.get_parameter_source(option).name == "COMMANDLINE":
            raise typer.BadParameter("is for --table, a column of which it names or reads.", param_hint=f"'--{option}'")
