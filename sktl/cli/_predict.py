"""The command ``sktl predict``: what a model file, or a network's own classifier, says of images."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sktl._atomic_files import replacing
from sktl._text import enumerated, escaped, printable
from sktl.cli._answers import answers_of
from sktl.cli._data import is_verbose, named_targets, read_table
from sktl.cli._folders import find_images
from sktl.cli._options import (
    DeviceOption,
    JobsOption,
    JsonOption,
    PrecisionOption,
    VerboseOption,
    WeightsOption,
    stop_or,
)
from sktl.cli._places import check_place
from sktl.cli._reporting import bars_wanted, errors_as_messages, say, unreadable
from sktl.cli._scores import METRICS, score_of_answers
from sktl.cli._streams import is_read
from sktl.cli._table_options import ImageOption, RootOption, SeparatorOption, TableOption, TargetOption, check_of_table

__all__ = ["predict"]

_METHODS = {"Pipeline": "frozen", "PretrainedClassifier": "pretrained"}
_METHODS |= dict.fromkeys(("FineTuneClassifier", "FineTuneRegressor"), "fine_tuned")
_MODEL_SUFFIX = ".safetensors"
_TOGETHER = 256  # images whose outputs are held at once, and looked through again when one of them cannot be read


def predict(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL] IMAGES",
            help="A file written by 'sktl train' or save_model, unless --backbone is given; then images, or folders of "
            "images at any depth.",
        ),
    ] = None,
    table: TableOption = None,
    image: ImageOption = "path",
    target: TargetOption = None,
    root: RootOption = None,
    separator: SeparatorOption = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Instead of MODEL, a network that names its own classes: see 'sktl backbones'."),
    ] = None,
    weights: WeightsOption = "default",
    top: Annotated[int, typer.Option(min=1, help="Print so many of the most probable classes of each image.")] = 1,
    proba: Annotated[bool, typer.Option("--proba", help="Give the probability of every class.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Where to write the predictions as a table.")] = None,
    on_error: Annotated[
        str,
        typer.Option(
            help="At an image that cannot be read: skip it, and end with exit code 1, or stop at once.",
            callback=stop_or("skip"),
        ),
    ] = "skip",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    n_jobs: JobsOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = True,
):
    """Predict what a model says of images: classes, labels or numbers.

    Prints one line per image: path, class and probability, with tabs between them. Numbers come without a probability.

    With --table and --target, says how many of the predictions are right.
    """
    check_of_table(context, ("image", "target", "root"))
    with errors_as_messages():
        check_place("--csv", csv)
        model, paths = _model_and_images(paths or [], backbone, weights, table)
        session = {"device": device, "precision": precision, "n_jobs": n_jobs}
        listed = find_images(paths, listed=is_verbose(context))[0] if table is None else None
        estimator = None if model is None else _model(model, session)
        paths, targets = (listed, None) if table is None else _images_of_table(context, estimator)
        estimator = estimator or _network(backbone, weights, paths, session)
        answers = answers_of(estimator, model, top=top, proba=proba, separator=separator or "|")
        rows, has_reader = [], True
        for row in _predictions(answers, paths, targets, _has_bar(verbose, as_json)):
            rows.append(row)
            if "error" in row:
                _say_unreadable(row, on_error)
            elif has_reader and not as_json:
                has_reader = is_read(_line(row, answers))
            if not has_reader and csv is None:
                break
        if csv is not None:
            _write_csv(csv, rows, answers, proba)
            say(f"Wrote {len(rows)} predictions to {printable(csv)}.")
        found = None if targets is None else _say_score(answers, rows)
        if as_json:
            print(json.dumps(_as_dict(model or backbone, estimator, answers, rows, found), indent=2))
        n_errors = sum("error" in row for row in rows)
        if n_errors:
            say(f"{n_errors} of {len(rows)} images could not be read.")
        if n_errors or not has_reader:
            raise typer.Exit(1)


def _images_of_table(context, estimator):
    """List the images of a table and, where it says what they are, that."""
    is_number = estimator is not None and not hasattr(estimator, "classes_")
    several = getattr(getattr(estimator, "_labels", None), "multilabel", False)
    separator = (context.params["separator"] or "|") if several else None
    task = "regression" if is_number else "classification"
    bunch = read_table(context, context.params["target"], task=task, separator=separator)
    say(f"Predicting {len(bunch.images)} images of a table.")
    return bunch.images.tolist(), named_targets(bunch)


def _say_score(answers, rows):
    """Compare predictions with what the table says, as far as images could be read."""
    read = [row for row in rows if "error" not in row]
    if not read:
        return None
    if answers.task == "regression" and "value" not in read[0]:
        raise ValueError("--target must be left out for a model of several numbers. Got one column instead.")
    true, said = [row["target"] for row in read], [answers.answer(row) for row in read]
    unknown = set(true).difference(answers.names) if answers.task == "classification" else ()
    if unknown:
        say(f"Not among the classes of the model, and counted as wrong: {enumerated(sorted(unknown))}.")
    metric, value = METRICS[answers.task], score_of_answers(answers.task, true, said)
    say(f"{metric.replace('_', ' ').capitalize()} on {len(read)} images: {value:.3f}.")
    return {metric: value, "n_images": len(read)}


def _has_bar(verbose, as_json):
    """Whether a bar on stderr is wanted: not among lines that come one by one, which say enough themselves."""
    return bars_wanted(verbose) and (as_json or not sys.stdout.isatty())


def _model_and_images(paths, backbone, weights, table):
    """Tell the model file, which there is without --backbone, from the images."""
    first = paths[0] if paths else Path()
    if backbone is not None:
        if first.suffix == _MODEL_SUFFIX:
            raise ValueError(
                f"MODEL must be left out where --backbone names a network. Got both {str(first)!r} and {backbone!r} "
                "instead. Leave out one of them."
            )
        _check_images(paths, table)
        return None, paths
    if not paths:
        raise typer.BadParameter("MODEL must be a file written by save_model or 'sktl train'. Got none instead.")
    if weights != "default":
        raise ValueError(f"--weights must come with --backbone. Got {weights!r} and a MODEL instead. Leave them out.")
    from sktl.images.formats import EXTENSIONS

    if first.is_dir() or first.suffix.lower() in EXTENSIONS:
        raise ValueError(
            f"MODEL must be a file written by save_model or 'sktl train'. Got images at {str(first)!r} instead. Put "
            "the file in front of the images, or name a network that has classes of its own: --backbone resnet50, say."
        )
    _check_images(paths[1:], table)
    return first, paths[1:]


def _check_images(paths, table):
    if not paths and table is None:
        raise typer.BadParameter("IMAGES must be files or folders, behind MODEL. Got none instead.")
    if paths and table is not None:
        raise typer.BadParameter(f"IMAGES must be left out where --table lists them. Got {len(paths)} instead.")


def _model(path, session):
    from sktl.models import load_model

    estimator = load_model(path, **session)
    _multiply_exactly(estimator)
    return estimator


def _network(backbone, weights, paths, session):
    """Return the network with its own classes, to which images that cannot be read are no reason to stop."""
    from sktl.feature_extraction import PretrainedClassifier

    return PretrainedClassifier(backbone, weights=weights, **session).fit(paths)


def _multiply_exactly(estimator):
    """Let a linear model on features multiply in float64: float32 differs by how many images come together."""
    if hasattr(estimator, "steps"):
        linear = estimator.steps[-1][1]
        linear.coef_ = linear.coef_.astype("float64")


def _predictions(answers, paths, targets, has_bar):
    """Yield what is predicted for each image, in order, as soon as it is known."""
    from tqdm import tqdm

    with tqdm(total=len(paths), unit="image", disable=not has_bar, leave=False) as bar:
        for start in range(0, len(paths), _TOGETHER):
            some = paths[start : start + _TOGETHER]
            outputs, errors = _outputs(answers, some)
            for i, path in enumerate(some):
                row = {"path": path} if targets is None else {"path": path, "target": targets[start + i]}
                yield {**row, "error": errors[i].reason} if i in errors else {**row, **answers.of(outputs[i])}
            bar.update(len(some))


def _outputs(answers, paths):
    """Return the outputs for images and, by position, the errors of those that cannot be read."""
    from sktl.exceptions import ImageReadError

    try:
        return _finite_outputs(answers, paths), {}
    except ImageReadError:
        errors = _reading_errors(paths)
    good = [i for i in range(len(paths)) if i not in errors]
    outputs = _finite_outputs(answers, [paths[i] for i in good]) if good else []
    return dict(zip(good, outputs, strict=True)), errors


def _finite_outputs(answers, paths):
    """Return the outputs of a model, which must be numbers."""
    import numpy as np
    from sklearn import config_context

    from sktl.exceptions import WeightsError

    with np.errstate(all="ignore"), config_context(assume_finite=True):  # the outputs are looked at
        outputs = answers.outputs(paths)
    broken = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if len(broken):
        kind = "numbers" if answers.task == "regression" else "probabilities that are numbers"
        raise WeightsError(
            f"MODEL must give {kind}. Got NaN for {paths[broken[0]]!r} instead: its weights "
            "are too large, so it is damaged or made up. Copy it again, or train it again."
        )
    return outputs


def _reading_errors(paths):
    from sktl.exceptions import ImageReadError
    from sktl.images import read_image

    errors = {}
    for i, path in enumerate(paths):
        try:
            read_image(path, index=i)
        except ImageReadError as error:
            errors[i] = error
    if not errors:
        raise OSError("an image could not be read, and then it could. Start again when all files are written.")
    return errors


def _say_unreadable(row, on_error):
    message = unreadable(row["path"], row["error"])
    if on_error == "raise":
        raise ValueError(f"{message} Leave it out, or pass --on-error skip.")
    say(f"Error: {message}")


def _line(row, answers):
    return "\t".join(printable(cell) for cell in [row["path"], *answers.line(row)])


def _as_dict(model, estimator, answers, rows, found):
    steps = getattr(estimator, "steps", None)
    backbone = (estimator if steps is None else estimator[0]).backbone_
    about = {
        "method": _METHODS[type(estimator).__name__],
        **({"classes": answers.names} if answers.names else {}),
        "backbone": {name: getattr(backbone, name) for name in ("name", "weights", "source", "license")},
        **({} if found is None else {"score": found}),
    }
    ranked = any(len(row.get("top", [])) > 1 for row in rows)
    predictions = [{name: value for name, value in row.items() if ranked or name != "top"} for row in rows]
    return {"model": str(model), **about, "predictions": predictions}


def _write_csv(path, rows, answers, proba):
    """Write one line per image, also for those that could not be read."""
    probabilities = list(answers.names) if proba else []
    has_target = "target" in rows[0]
    header = ["path", *(["target"] if has_target else []), *answers.header(rows)]
    header += [*(f"probability of {name}" for name in probabilities), "error"]
    with replacing(path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([escaped(name) for name in header])
        for row in rows:
            cells = [row["path"], *([answers.written(row["target"])] if has_target else []), *answers.cells(row, rows)]
            cells += row.get("probabilities", dict.fromkeys(probabilities, "")).values()
            writer.writerow([escaped(str(cell)) for cell in [*cells, row.get("error", "")]])
