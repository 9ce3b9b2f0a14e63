"""Options of the commands that compare on the same folds, worded once."""

from pathlib import Path
from typing import Annotated

import typer

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
        "--groups", help="CSV with the columns path and group: images of one group stay on one side of a split."
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
