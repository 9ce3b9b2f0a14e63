"""Options of the commands that compare on the same folds, worded once."""

from pathlib import Path
from typing import Annotated

import typer

from sktl.cli._folders import GROUPS_BY
from sktl.cli._options import one_of

__all__ = [
    "FitsAtOnceOption",
    "FoldsOption",
    "GroupsOption",
    "NearDuplicatesOption",
    "RepeatsOption",
    "ResumeOption",
    "ScoringOption",
    "SeedOption",
    "check_groups",
]

ScoringOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scoring", help="A scikit-learn score, accuracy unless told. Repeat it for more; the first one decides."
    ),
]
FoldsOption = Annotated[int, typer.Option("--cv", min=2, help="Number of folds.")]
RepeatsOption = Annotated[int, typer.Option("--repeats", min=1, help="How many times the folds are drawn anew.")]
GroupsOption = Annotated[
    Path | None,
    typer.Option(
        "--groups",
        metavar="CSV|folder|name|date",
        help="Images of one group stay on one side of a split: a CSV with the columns path and group, or what tells "
        "which files belong together: folders below those of the classes, beginnings of names, or dates.",
    ),
]
NearDuplicatesOption = Annotated[
    str,
    typer.Option(
        "--near-duplicates",
        help="Near copies on both sides of a split: warn, ignore, or group, which keeps them on one side.",
        callback=one_of("warn", "ignore", "group"),
    ),
]
FitsAtOnceOption = Annotated[int, typer.Option("--n-jobs", help="Fits run at once; -1 is one per core.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of folds and training.")]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", help="Keep finished fits in this file, and do not repeat those that are in it."),
]


def check_groups(options):
    """Refuse a file of groups where there is no folder, in which its paths would start."""
    of_table = options["table"] is not None and options["group"] is None and str(options["groups"]) in GROUPS_BY
    if options["groups"] is not None and options["folder"] is None and not of_table:
        instead = "--group names the column of a table" if options["table"] else "the digits have no paths"
        raise typer.BadParameter(f"is for a folder of images: {instead}.", param_hint="'--groups'")
