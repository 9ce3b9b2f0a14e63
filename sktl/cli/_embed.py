"""The command ``sktl embed``: features of images in a file, for whatever comes after."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from sktl._pooling_names import POOLINGS
from sktl._text import printable
from sktl.cli._data import is_verbose, named_targets, read_table
from sktl.cli._default_backbone import backbone_for
from sktl.cli._embed_parts import (
    ChunkOption,
    SchedulerOption,
    WorkersOption,
    embed_in_parts,
    is_in_parts,
    part_folder,
)
from sktl.cli._feature_files import ENDINGS, check_packages, classes_in, write_features
from sktl.cli._folders import find_images
from sktl.cli._options import (
    BackboneOption,
    DeviceOption,
    ImageSizeOption,
    JobsOption,
    JsonOption,
    PrecisionOption,
    VerboseOption,
    WeightsOption,
    one_of,
    stop_or,
)
from sktl.cli._places import with_ending
from sktl.cli._reporting import bars_wanted, errors_as_messages, say, size, unreadable
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

__all__ = ["embed"]


def embed(
    context: typer.Context,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The file to write: .parquet, .npz or .csv. With a slash behind it, a folder of Parquet files.",
        ),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGES", help="A folder with one folder per class, or images, or folders."),
    ] = None,
    table: TableOption = None,
    image: ImageOption = "path",
    target: TargetOption = None,
    group: GroupOption = None,
    root: RootOption = None,
    task: TaskOption = "auto",
    separator: SeparatorOption = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = "default",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to take features: penultimate (unless told), all, the name of a stage, or its number from the "
            "top. May be repeated."
        ),
    ] = None,
    pooling: Annotated[
        str,
        typer.Option(help="From maps to vectors: " + ", ".join(POOLINGS) + ".", callback=one_of(*POOLINGS)),
    ] = "auto",
    image_size: ImageSizeOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    on_error: Annotated[
        str,
        typer.Option(
            help="At an image that cannot be read: stop and name it, or write a row of nan and name it.",
            callback=stop_or("nan"),
        ),
    ] = "stop",
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    chunk_size: ChunkOption = 1000,
    n_jobs: JobsOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = True,
):
    """Embed images with a pretrained network, and write the features to a file.

    A folder with one folder per class gives labels, too.

    What is computed is kept in the embedding store: an interrupted command goes on from there when it is run again.
    """
    check_folder_or_table(context, "images")
    in_parts = is_in_parts(context)
    with errors_as_messages(interrupted="What is in the store by now is not computed again: run the same command."):
        output = part_folder(output) if in_parts else with_ending("--output", Path(output), ENDINGS)
        check_packages(output)
        columns = _found(context) if table is None else _columns_of(read_table(context, target), separator)
        backbone = backbone_for(columns["path"], backbone, weights)
        options = {"backbone": backbone, "weights": weights, "layer": _layers(layer), "pooling": pooling}
        options |= {"image_size": image_size, "device": device, "precision": precision}
        options |= {"on_error": on_error, "n_jobs": n_jobs, "verbose": bars_wanted(verbose)}
        say(f"Embedding {len(columns['path'])} images.")
        extractor = _fitted(columns["path"], options)
        about = _about(extractor, options)
        if in_parts:
            report = embed_in_parts(context, output, columns, extractor, about)
        else:
            report = _embed_and_write(output, columns, extractor, about)
        print(json.dumps(report, indent=2) if as_json else _sentences(report))


def _found(context):
    """List the paths of images, and what folders they lie in where there are such."""
    paths, labels = find_images(context.params["images"], listed=is_verbose(context))
    return {"path": paths} | ({"label": labels} if any(labels) else {})


def _columns_of(bunch, separator):
    """List what a table says of its images, in its words."""
    labels, columns = named_targets(bunch), {"path": bunch.images.tolist()}
    if labels is not None:
        columns["label"] = [separator.join(each) for each in labels] if bunch.task == "multilabel" else labels
    return columns if bunch.groups is None else {**columns, "group": bunch.groups.tolist()}


def _layers(layers):
    if not layers:
        return "penultimate"
    parsed = [int(layer) if layer.isdecimal() else layer for layer in layers]
    return parsed[0] if len(parsed) == 1 else parsed


def _fitted(paths, options):
    from sktl.feature_extraction import PretrainedFeatureExtractor

    return PretrainedFeatureExtractor(**options).fit(paths)


def _about(extractor, options):
    """Say of what network, layers and images of what size the features are."""
    network = extractor.backbone_
    about = {name: getattr(network, name) for name in ("name", "weights", "source", "license", "digest")}
    about["asked"] = options["weights"]  # which finds them again
    about = {"backbone": about, "layers": extractor.layers_, "pooling": options["pooling"]}
    return {**about, "image_size": extractor._preprocessing().crop_size}


def _embed_and_write(output, columns, extractor, about):
    from sktl.exceptions import ImageReadError

    started, paths = time.perf_counter(), columns["path"]
    try:
        features = extractor.transform(paths)
    except ImageReadError as error:
        advice = "Leave it out, or pass --on-error nan for a row of NaN."
        raise ValueError(f"{unreadable(error.path, error.reason)} {advice}") from error
    for bad in extractor.bad_images_:
        say(f"Error: {unreadable(bad.path, bad.reason)}")
    info = extractor.store_info_
    write_features(output, columns, features, extractor.get_feature_names_out(), about)
    return {
        "output": str(output),
        "n_bytes": output.stat().st_size,
        "n_images": len(paths),
        "n_features": features.shape[1],
        "classes": classes_in(columns),
        "columns": list(columns),
        "unreadable": [error.path for error in extractor.bad_images_],
        **about,
        "store": {"path": info.path, "n_hits": info.n_hits, "n_misses": info.n_misses},
        "seconds": time.perf_counter() - started,
    }


def _sentences(report):
    store, network, n_bad = report["store"], report["backbone"], len(report["unreadable"])
    found = f", {store['n_hits']} of them found in the store" if store.get("path") or store["n_hits"] else ""
    found += f", {report['n_kept']} of them written before" if report.get("n_kept") else ""
    n_classes, columns = len(report["classes"]), report["columns"]
    labels = f"with the labels of {n_classes} classes" if n_classes else "with numbers as labels"
    labels = labels if "label" in columns else "without labels"
    lines = [
        f"Embedded {report['n_images']} images in {report['seconds']:.1f} s{found}: {report['n_features']} features "
        f"of {network['name']} ({printable(network['weights'])}, licence: {network['license']})."
    ]
    if n_bad:
        lines.append(f"{n_bad} images could not be read: their rows are NaN.")
    files = f"{report['n_files']} files of " if "n_files" in report else ""
    lines.append(f"Wrote {printable(report['output'])} ({files}{size(report['n_bytes'])}), {labels}.")
    return "\n".join(lines)
