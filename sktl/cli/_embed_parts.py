"""``sktl embed`` into a folder of Parquet files: by this process, by several, or by a cluster of dask."""

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sktl._executors import ThisProcess, lost_worker_errors, why_lost
from sktl._optional import import_optional
from sktl.cli._feature_files import classes_in
from sktl.cli._parts import Plan, write_parts
from sktl.cli._places import check_folder
from sktl.cli._reporting import bars_wanted, say, unreadable

__all__ = ["ChunkOption", "SchedulerOption", "WorkersOption", "embed_in_parts", "is_in_parts", "part_folder"]

_ADVICE = "Leave it out, or pass --on-error nan for a row of NaN."

WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that embed, with their share of the cores each.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="A cluster of dask that embeds, as tcp://10.0.0.1:8786."),
]
ChunkOption = Annotated[int, typer.Option("--chunk-size", min=1, help="Images in each of the files of a folder.")]


def is_in_parts(context):
    """Whether a folder of files is to be written."""
    given = context.params
    if given["workers"] and given["scheduler"]:
        raise typer.BadParameter("give --workers or --scheduler, and one of them alone.", param_hint="'--workers'")
    output = given["output"]
    if output.endswith(("/", os.sep)) or (os.path.isdir(output) and output.lower().endswith(".parquet")):
        return True
    for name in ("workers", "scheduler", "chunk_size"):
        if context.get_parameter_source(name).name == "COMMANDLINE":
            raise typer.BadParameter(
                f"is for a folder of Parquet files: write --output {output}/ with a slash behind it.",
                param_hint=f"'--{name.replace('_', '-')}'",
            )
    return False


def part_folder(output):
    """Return the folder to write to, which ends in .parquet."""
    folder = Path(output)
    folder = folder if folder.suffix.lower() == ".parquet" else folder.with_name(f"{folder.name}.parquet")
    check_folder("--output", folder)
    return folder


def embed_in_parts(context, folder, columns, extractor, about):
    """Embed all images and write them in parts; return what happened in plain Python."""
    from sktl.inference import pickled_extractor
    from sktl.inference.progress import counted

    given, started, total = context.params, time.perf_counter(), len(columns["path"])
    names = [str(name) for name in extractor.get_feature_names_out()]
    plan = Plan(folder, columns, names, about, {"precision": given["precision"]}, given["chunk_size"])
    sums = dict.fromkeys(("n_images", "n_bytes", "n_kept", "n_hits", "n_misses"), 0)
    bad = []
    bar = counted(total, verbose=bars_wanted(given["verbose"]))
    with _executor(given) as executor, bar as advance:
        for part in write_parts(plan, pickled_extractor(extractor), executor, given["on_error"]):
            bad += _said(part.pop("unreadable", ()), given["on_error"])
            sums = {name: value + part.get(name, 0) for name, value in sums.items()}
            advance(part["n_images"])
    return {
        "output": str(folder),
        "n_bytes": sums["n_bytes"],
        "n_files": len(plan),
        "n_images": total,
        "n_kept": sums["n_kept"],
        "n_features": len(names),
        "classes": classes_in(columns),
        "columns": list(columns),
        "unreadable": bad,
        **about,
        "store": {"n_hits": sums["n_hits"], "n_misses": sums["n_misses"]},
        "seconds": time.perf_counter() - started,
    }


def _said(unread, on_error):
    """Say which images could not be read, or stop at the first of them."""
    for image in unread:
        said = unreadable(image["path"], image["reason"])
        if on_error == "raise":
            raise ValueError(f"{said} {_ADVICE}")
        say(f"Error: {said}")
    return [image["path"] for image in unread]


@contextmanager
def _executor(given):
    """Give what computes."""
    try:
        if given["scheduler"] is not None:
            distributed = import_optional("distributed", extra="dask", caller="--scheduler")
            with distributed.Client(given["scheduler"], set_as_default=False) as client:
                yield client.get_executor(pure=False)
        elif (given["workers"] or 1) == 1:
            yield ThisProcess()
        else:
            pool = _processes(given["workers"])
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)
    except lost_worker_errors() as error:
        raise RuntimeError(
            f"all workers must live as long as there is work. Got {type(error).__name__} instead: {why_lost(error)}. "
            "What is written is not computed again: run the same command, with fewer --workers or a smaller "
            "--chunk-size."
        ) from error


def _processes(n_workers):
    """Start processes anew, since a fork of one that has used torch may hang; each has its share of the cores."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    import torch
    from joblib import cpu_count

    share = max(1, cpu_count() // n_workers)
    return ProcessPoolExecutor(n_workers, get_context("spawn"), torch.set_num_threads, (share,))
