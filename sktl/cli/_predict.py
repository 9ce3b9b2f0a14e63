"""The command ``sktl predict``: classes of images, from a model file or from a network's own classifier."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sktl._atomic_files import replacing
from sktl._text import escaped, printable
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

__all__ = ["predict"]

_METHODS = {"FineTuneClassifier": "fine_tuned", "Pipeline": "frozen", "PretrainedClassifier": "pretrained"}
_MODEL_SUFFIX = ".safetensors"
_TOGETHER = 256  # images whose outputs are held at once, and looked through again when one of them cannot be read


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] IMAGES",
            help="A file written by 'sktl train' or save_model, unless --backbone is given; then images, or folders of "
            "images at any depth.",
        ),
    ],
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
    """Predict the classes of images.

    Prints one line per image: path, class and probability, with tabs between them.
    """
    with errors_as_messages():
        check_place("--csv", csv)
        model, paths = _model_and_images(paths, backbone, weights)
        paths, _ = find_images(paths)
        session = {"device": device, "precision": precision, "n_jobs": n_jobs}
        estimator = _model(model, session) if backbone is None else _network(backbone, weights, paths, session)
        classes = _classes(estimator)
        rows = []
        for row in _predictions(estimator, classes, paths, top, proba, _has_bar(verbose, as_json)):
            rows.append(row)
            if "error" in row:
                _say_unreadable(row, on_error)
            elif not as_json:
                print(_line(row, proba))
        if csv is not None:
            _write_csv(csv, rows, classes, proba)
            say(f"Wrote {len(rows)} predictions to {printable(csv)}.")
        if as_json:
            print(json.dumps(_as_dict(model or backbone, estimator, classes, rows), indent=2))
        n_errors = sum("error" in row for row in rows)
        if n_errors:
            say(f"{n_errors} of {len(rows)} images could not be read.")
            raise typer.Exit(1)


def _has_bar(verbose, as_json):
    """Whether a bar on stderr is wanted: not among lines that come one by one, which say enough themselves."""
    return bars_wanted(verbose) and (as_json or not sys.stdout.isatty())


def _model_and_images(paths, backbone, weights):
    """Tell the model file, which there is without --backbone, from the images."""
    first = paths[0]
    if backbone is not None:
        if first.suffix == _MODEL_SUFFIX:
            raise ValueError(
                f"MODEL must be left out where --backbone names a network. Got both {str(first)!r} and {backbone!r} "
                "instead. Leave out one of them."
            )
        return None, paths
    if weights != "default":
        raise ValueError(f"--weights must come with --backbone. Got {weights!r} and a MODEL instead. Leave them out.")
    from sktl.images.formats import EXTENSIONS

    if first.is_dir() or first.suffix.lower() in EXTENSIONS:
        raise ValueError(
            f"MODEL must be a file written by save_model or 'sktl train'. Got images at {str(first)!r} instead. Put "
            "the file in front of the images, or name a network that has classes of its own: --backbone resnet50, say."
        )
    if len(paths) == 1:
        raise typer.BadParameter("IMAGES must be files or folders, behind MODEL. Got none instead.")
    return first, paths[1:]


def _model(path, session):
    from sktl.models import load_model

    estimator = load_model(path, **session)
    _multiply_exactly(estimator)
    return estimator


def _network(backbone, weights, paths, session):
    """Return the network with its own classes, to which images that cannot be read are no reason to stop."""
    from sktl.feature_extraction import PretrainedClassifier

    return PretrainedClassifier(backbone, weights=weights, **session).fit(paths)


def _classes(estimator):
    if not hasattr(estimator, "classes_"):
        raise ValueError(
            "MODEL must be a classifier. Got a model that predicts numbers instead: read it in Python, with "
            "sktl.models.load_model."
        )
    classes = [str(name) for name in estimator.classes_]
    if getattr(getattr(estimator, "_labels", None), "multilabel", False):
        raise ValueError(
            "MODEL must give one class per image. Got a model that may give several instead: read it in Python, with "
            "sktl.models.load_model."
        )
    return classes


def _multiply_exactly(estimator):
    """Let a linear model on features multiply in float64: float32 differs by how many images come together."""
    if hasattr(estimator, "steps"):
        linear = estimator.steps[-1][1]
        linear.coef_ = linear.coef_.astype("float64")


def _predictions(estimator, classes, paths, top, proba, has_bar):
    """Yield what is predicted for each image, in order, as soon as it is known."""
    from tqdm import tqdm

    with tqdm(total=len(paths), unit="image", disable=not has_bar, leave=False) as bar:
        for start in range(0, len(paths), _TOGETHER):
            some = paths[start : start + _TOGETHER]
            probabilities, errors = _probabilities(estimator, len(classes), some)
            for i, path in enumerate(some):
                if i in errors:
                    yield {"path": path, "error": errors[i].reason}
                    continue
                own = probabilities[i]
                # The first of equals, as the estimators do.
                best = (-own).argsort(kind="stable")[:top]
                ranked = [{"class": classes[k], "probability": float(own[k])} for k in best]
                everything = {"probabilities": dict(zip(classes, own.tolist(), strict=True))} if proba else {}
                yield {"path": path, **ranked[0], "top": ranked, **everything}
            bar.update(len(some))


def _probabilities(estimator, n_classes, paths):
    """Return the probabilities of images and, by position, the errors of those that cannot be read."""
    import numpy as np

    from sktl.exceptions import ImageReadError

    try:
        return _finite_probabilities(estimator, paths), {}
    except ImageReadError:
        errors = _reading_errors(paths)
    good = [i for i in range(len(paths)) if i not in errors]
    probabilities = np.full((len(paths), n_classes), np.nan)
    if good:
        probabilities[good] = _finite_probabilities(estimator, [paths[i] for i in good])
    return probabilities, errors


def _finite_probabilities(estimator, paths):
    import numpy as np
    from sklearn import config_context

    from sktl.exceptions import WeightsError

    with np.errstate(all="ignore"), config_context(assume_finite=True):  # the probabilities are looked at
        probabilities = estimator.predict_proba(paths)
    broken = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(broken):
        raise WeightsError(
            f"MODEL must give probabilities that are numbers. Got NaN for {paths[broken[0]]!r} instead: its weights "
            "are too large, so it is damaged or made up. Copy it again, or train it again."
        )
    return probabilities


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


def _line(row, proba):
    cells = [row["path"]]
    for each in row["top"]:
        cells += [each["class"], f"{each['probability']:.4f}"]
    if proba:
        cells += [f"{name}={probability:.4f}" for name, probability in row["probabilities"].items()]
    return "\t".join(printable(cell) for cell in cells)


def _as_dict(model, estimator, classes, rows):
    steps = getattr(estimator, "steps", None)
    backbone = (estimator if steps is None else estimator[0]).backbone_
    about = {
        "method": _METHODS[type(estimator).__name__],
        "classes": classes,
        "backbone": {name: getattr(backbone, name) for name in ("name", "weights", "source", "license")},
    }
    ranked = any(len(row.get("top", [])) > 1 for row in rows)
    predictions = [{name: value for name, value in row.items() if ranked or name != "top"} for row in rows]
    return {"model": str(model), **about, "predictions": predictions}


def _write_csv(path, rows, classes, proba):
    """Write one line per image, also for those that could not be read."""
    n_top = max((len(row.get("top", [])) for row in rows), default=1)
    header = ["path", "class", "probability"]
    header += [f"{name}_{rank}" for rank in range(2, n_top + 1) for name in ("class", "probability")]
    header += [f"probability of {name}" for name in classes] if proba else []
    with replacing(path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([escaped(name) for name in [*header, "error"]])
        for row in rows:
            cells = [value for each in row.get("top", []) for value in each.values()] or [""] * (2 * n_top)
            if proba:
                cells += row.get("probabilities", dict.fromkeys(classes, "")).values()
            writer.writerow([escaped(str(cell)) for cell in [row["path"], *cells, row.get("error", "")]])
