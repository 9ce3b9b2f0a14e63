"""The command ``sktl rank``: which network suits these images."""

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sktl._atomic_files import replacing
from sktl._text import printable
from sktl.cli._compare import check_writable, end_with_failures, names_of, what_is_kept
from sktl.cli._comparison_options import (
    FitsAtOnceOption,
    FoldsOption,
    GroupsOption,
    NearDuplicatesOption,
    RepeatsOption,
    ResumeOption,
    ScoringOption,
    SeedOption,
    check_groups,
)
from sktl.cli._data import load_data
from sktl.cli._folders import read_groups
from sktl.cli._options import (
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    MaxImagesOption,
    OnErrorOption,
    PrecisionOption,
)
from sktl.cli._places import keep_from_outputs
from sktl.cli._reporting import errors_as_messages, say, say_near_copies
from sktl.cli._table_options import (
    GroupOption,
    ImageOption,
    RootOption,
    SeparatorOption,
    TableOption,
    TargetOption,
    TaskOption,
    check_folder_or_table,
)

__all__ = ["rank"]

DEFAULT_PLOT = Path("ranking.png")


def rank(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A folder that holds one folder of images per class.")
    ] = None,
    table: TableOption = None,
    image: ImageOption = "path",
    target: TargetOption = None,
    group: GroupOption = None,
    root: RootOption = None,
    task: TaskOption = "auto",
    separator: SeparatorOption = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="A pretrained network: a name, or NAME=FILE with weights of its own. Repeat it for each."),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="All networks whose weights are on this machine; nothing is downloaded.")
    ] = False,
    image_size: ImageSizeOption = None,
    finalists: Annotated[
        int, typer.Option(min=0, help="So many of the best networks are fine-tuned too; 2 is a good number.")
    ] = 0,
    scoring: ScoringOption = None,
    cv: FoldsOption = 5,
    repeats: RepeatsOption = 1,
    groups: GroupsOption = None,
    near_duplicates: NearDuplicatesOption = "warn",
    max_images: MaxImagesOption = None,
    on_error: OnErrorOption = "stop",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    n_jobs: FitsAtOnceOption = 1,
    seed: SeedOption = 0,
    resume: ResumeOption = None,
    plot: Annotated[
        Path | None, typer.Option(help=f"Where to write the figure: {DEFAULT_PLOT} unless told, none with --json.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Where to write a row for each network.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write a page about it all, as HTML.")] = None,
    as_json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose/--quiet", help="Print one line per fit, on stderr.")] = True,
):
    """Rank pretrained networks by what their features score on your images, on the same folds.

    Prints which one to take and a table, and draws a figure.
    """
    _check_together(context)
    plot = plot or (None if as_json else DEFAULT_PLOT)
    with errors_as_messages(interrupted=what_is_kept(resume)):
        plot, report = check_writable(plot, csv, report, resume)
        data = load_data(context, verb="Ranking on")
        own_groups = data.groups if groups is None else read_groups(groups, folder, data.images, data.classes)
        options: dict = {"image_size": image_size, "device": device, "precision": precision, "verbose": int(verbose)}
        options |= {"groups": own_groups, "duplicates": near_duplicates, "on_bad_image": on_error}
        options |= {"cv": cv, "n_repeats": repeats, "n_jobs": n_jobs, "random_state": seed, "resume": resume}
        options |= {"scoring": scoring or None, "finalists": finalists}
        options |= {"task": data.task} if data.task == "regression" else {}
        with redirect_stdout(sys.stderr):
            ranking = _rank(data, backbone, options)
        try:
            _print(ranking, as_json)
        finally:  # also when the reader of our output has gone, as `head` does
            say_near_copies(ranking.comparison, names_of(data))
            _write(ranking, plot, csv, report)
        end_with_failures(ranking.comparison)


def _check_together(context):
    check_folder_or_table(context, "folder")
    options = context.params
    if bool(options["backbone"]) == options["local"]:
        raise typer.BadParameter("give --backbone, once for each network, or --local.", param_hint="'--backbone'")
    check_groups(options)
    if options["separator"] is not None:
        raise typer.BadParameter(
            "is for 'sktl train': a ranking is about one label for each image.", param_hint="'--separator'"
        )


def _rank(data, backbone, options):
    from sktl.backbones import load_backbone
    from sktl.transferability import rank_backbones

    networks: dict | str = "local"
    if backbone:
        if len(set(backbone)) < len(backbone):
            raise ValueError("--backbone must name each network once. Got one of them twice instead.")
        pairs = [(one, os.path.expanduser(file)) for one, _, file in (text.partition("=") for text in backbone)]
        keep_from_outputs(file for _, file in pairs if file)
        short = [f"{one}={os.path.basename(file)}" if file else one for one, file in pairs]
        names = short if len(set(short)) == len(short) else backbone
        found = [load_backbone(one, file) if file else one for one, file in pairs]
        networks = dict(zip(names, found, strict=True))
    return rank_backbones(data.images, data.target, networks, **options)


def _print(ranking, as_json):
    if as_json:
        print(json.dumps(ranking.to_dict(), indent=2))
    else:
        from sktl.reports import summarize_ranking

        console = Console(highlight=False)
        if console.is_terminal:
            console.print(summarize_ranking(ranking).as_rich(console.width))
        else:
            print(ranking)
    sys.stdout.flush()


def _write(ranking, plot, csv, report):
    if csv is not None:
        with replacing(csv) as unfinished:
            ranking.frame().to_csv(unfinished)
        say(f"Wrote a row for each network to {printable(csv)}.")
    if plot is not None:
        with replacing(plot) as unfinished:
            ranking.plot().figure_.savefig(unfinished, dpi=150)
        say(f"Wrote the figure to {printable(plot)}.")
    if report is not None:
        ranking.report(report)
        say(f"Wrote the report to {printable(report)}.")
