"""The command ``sktl compare``: was transfer worth it on this folder of images."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sktl._atomic_files import replacing
from sktl._candidate_names import CANDIDATE_NAMES
from sktl._optional import import_optional
from sktl._text import printable
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
from sktl.cli._data import Data, load_data
from sktl.cli._default_backbone import backbone_for
from sktl.cli._folders import read_groups
from sktl.cli._options import (
    BackboneOption,
    DepthOption,
    DeviceOption,
    EpochsOption,
    ImageSizeOption,
    JsonOption,
    MaxImagesOption,
    OnErrorOption,
    PrecisionOption,
    WeightsOption,
    one_of,
)
from sktl.cli._places import check_place, with_ending
from sktl.cli._reporting import errors_as_messages, print_comparison, say, say_near_copies
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
from sktl.cli._words import in_words_of_command

__all__ = ["check_writable", "compare", "end_with_failures", "names_of", "what_is_kept"]

DEFAULT_PLOT = Path("comparison.png")


def compare(
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
    digits: Annotated[bool, typer.Option("--digits", help="Use the digits that ship inside scikit-learn.")] = False,
    n_labels: Annotated[int, typer.Option(min=10, help="With --digits: how many labelled images.")] = 100,
    backbone: BackboneOption = None,
    weights: WeightsOption = "default",
    image_size: ImageSizeOption = None,
    candidates: Annotated[
        list[str] | None,
        typer.Option(
            help=f"One of {', '.join(CANDIDATE_NAMES)}; all of them unless told. Repeat it for each one wanted.",
            callback=one_of(*CANDIDATE_NAMES),
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="The candidate that the others are compared with.", callback=one_of(*CANDIDATE_NAMES))
    ] = "from_scratch",
    scoring: ScoringOption = None,
    cv: FoldsOption = 5,
    repeats: RepeatsOption = 1,
    interval: Annotated[
        str,
        typer.Option(
            help="The 95 % interval: auto looks at images and trainings where the score allows it, corrected at the "
            "scores of the folds alone.",
            callback=one_of("auto", "corrected"),
        ),
    ] = "auto",
    groups: GroupsOption = None,
    near_duplicates: NearDuplicatesOption = "warn",
    unfreeze_depth: DepthOption = "1",
    max_epochs: EpochsOption = "auto",
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
    csv: Annotated[Path | None, typer.Option(help="Where to write the scores of all fits.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write a page about it all, as HTML.")] = None,
    as_json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose/--quiet", help="Print one line per fit, on stderr.")] = True,
):
    """Compare transfer learning with training from scratch, on the same folds of your images.

    Prints a verdict and a table, and draws a figure.
    """
    _check_together(context)
    plot = plot or (None if as_json else DEFAULT_PLOT)
    with errors_as_messages(interrupted=what_is_kept(resume)):
        plot, report = check_writable(plot, csv, report, resume)
        data = _load_digits(n_labels, seed) if digits else load_data(context, verb="Comparing on")
        X = data.images
        options: dict = {"value_range": (0, 16)} if digits else {}
        backbone = backbone_for(X, backbone, weights)
        options |= {"backbone": backbone, "weights": weights, "image_size": image_size}
        options |= {"device": device, "precision": precision, "verbose": int(verbose)}
        own_groups = data.groups if groups is None else read_groups(groups, folder, X, data.classes)
        with redirect_stdout(sys.stderr):
            options |= {"groups": own_groups, "duplicates": near_duplicates, "on_bad_image": on_error}
            options |= {"unfreeze_depth": unfreeze_depth, "max_epochs": max_epochs, "baseline": baseline}
            options |= {"interval": interval, "cv": cv, "n_repeats": repeats, "n_jobs": n_jobs, "random_state": seed}
            options |= {"candidates": candidates or CANDIDATE_NAMES, "scoring": scoring or None, "resume": resume}
            options |= {"task": data.task} if data.task == "regression" else {}
            comparison = _compare(X, data.target, options)
        try:
            _print(comparison, as_json)
        finally:  # also when the reader of our output has gone, as `head` does
            target_names = names_of(data)
            say_near_copies(comparison, target_names)
            _write(comparison, plot, csv, report, data.images, target_names)
        end_with_failures(comparison)


def _check_together(context):
    check_folder_or_table(context, "folder", ["digits"])
    options = context.params
    check_groups(options)
    if options["separator"] is not None:
        raise typer.BadParameter(
            "is for 'sktl train': a comparison is about one label for each image.", param_hint="'--separator'"
        )


def what_is_kept(resume):
    if resume is None:
        return "With --resume FILE, finished fits are kept for the next time."
    return f"Finished fits are in {printable(resume)}: the same command goes on from there."


def check_writable(plot, csv, report, resume):
    """Find out before the work, not after it, that its result has no place to go; return the true names of files."""
    for option, path in (("--csv", csv), ("--resume", resume), ("--report", report), ("--plot", plot)):
        check_place(option, path, is_picture=option == "--plot")
    if csv is not None:
        import_optional("pandas", extra="frame", caller="--csv")
    if report is not None:
        report = with_ending("--report", report, (".html", ".htm"))
        import_optional("matplotlib", extra="plot", caller="--report")
    if plot is None:
        return None, report
    figure = import_optional("matplotlib.figure", extra="plot", caller="The figure").Figure()
    if not plot.suffix:
        plot = plot.with_name(f"{plot.name}.png")
        check_place("--plot", plot, is_picture=True)
    known = figure.canvas.get_supported_filetypes()
    if plot.suffix[1:].lower() not in known:
        raise ValueError(f"--plot must end in one of {', '.join(sorted(known))}. Got {str(plot)!r} instead.")
    return plot, report


def _compare(X, y, options):
    from sktl.comparison import compare_transfer

    comparison = compare_transfer(X, y, **options)
    if text := comparison.settings.get("near_duplicates"):  # which reports and JSON repeat
        settings = comparison.settings | {"near_duplicates": in_words_of_command(text)}
        return replace(comparison, settings=settings)
    return comparison


def _print(comparison, as_json):
    if as_json:
        print(json.dumps(comparison.to_dict(), indent=2))
    else:
        print_comparison(comparison)
    sys.stdout.flush()


def names_of(data):
    """Return the names of the classes that there are images of, in their order; None for numbers."""
    return None if data.names is None else [data.names[label] for label in sorted(set(data.target.tolist()))]


def _write(comparison, plot, csv, report, X, target_names):
    if csv is not None:
        with replacing(csv) as unfinished:
            comparison.frame().to_csv(unfinished, index=False)
        say(f"Wrote the scores of all fits to {printable(csv)}.")
    if plot is not None:
        with replacing(plot) as unfinished:
            comparison.plot().figure_.savefig(unfinished, dpi=150)
        say(f"Wrote the figure to {printable(plot)}.")
    if report is not None:
        comparison.report(report, X=X, target_names=target_names)
        say(f"Wrote the report to {printable(report)}.")


def end_with_failures(comparison):
    """Say which candidates the result lacks, and end with the exit code of an error."""
    failed = {run.candidate: run.error for run in reversed(comparison.failures)}
    for name, error in failed.items():
        say(f"Error: {name!r} is not in the result, since a fit failed: {printable(error)}")
    if failed:
        raise typer.Exit(1)


def _load_digits(n_labels, seed):
    from sklearn.datasets import load_digits

    from sktl._splits import stratified_subset

    images, y = load_digits().images, load_digits().target
    chosen = stratified_subset(y, n_labels, seed)
    say(f"Comparing on {len(chosen)} labelled digits of scikit-learn's {len(y)}; the rest is not used.")
    return Data(images[chosen], y[chosen], [str(digit) for digit in range(10)])
