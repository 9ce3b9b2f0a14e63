"""The command ``sktl train``: from a folder of images to a model in one file."""

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from sktl._text import printable
from sktl.cli._default_backbone import backbone_for
from sktl.cli._folders import load_classes
from sktl.cli._options import (
    BackboneOption,
    DepthOption,
    DeviceOption,
    EpochsOption,
    ImageSizeOption,
    JobsOption,
    JsonOption,
    MaxImagesOption,
    PrecisionOption,
    VerboseOption,
    WeightsOption,
    one_of,
)
from sktl.cli._places import with_ending
from sktl.cli._reporting import bars_wanted, errors_as_messages, say, size

__all__ = ["make_estimator", "train"]

# What --method frozen has no use for: nothing in its network is trained.
_OF_FINE_TUNING = ("unfreeze_depth", "max_epochs", "augment")


def train(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder that holds one folder of images per class.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, ending in .safetensors.")],
    method: Annotated[
        str,
        typer.Option(
            help="What to train: fine_tuned (top stages of the network and a head) or frozen (a linear model on its "
            "features).",
            callback=one_of("fine_tuned", "frozen"),
        ),
    ] = "fine_tuned",
    backbone: BackboneOption = None,
    weights: WeightsOption = "default",
    image_size: ImageSizeOption = None,
    unfreeze_depth: DepthOption = "1",
    max_epochs: EpochsOption = "auto",
    augment: Annotated[
        str,
        typer.Option(
            help="How to vary the training images: auto, none, light, unmirrored or trivial.",
            callback=one_of("auto", "none", "light", "unmirrored", "trivial"),
        ),
    ] = "auto",
    cv: Annotated[
        int | None, typer.Option(min=2, help="First score the recipe on so many folds, each held out once.")
    ] = None,
    max_images: MaxImagesOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    n_jobs: JobsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training and of the folds.")] = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = True,
):
    """Train a classifier on a folder of images, and write it to one file.

    The file holds all that 'sktl predict' needs, the network included, and no code.

    With --cv the recipe is first scored on folds; the model itself is then trained on all images.
    """
    _check_together(context, method, image_size)
    with errors_as_messages():
        output = with_ending("--output", output, (".safetensors",))
        images, target, names = load_classes(folder, max_images, seed, verb="Training on")
        _check_folds(target, names, cv)
        backbone = backbone_for(images, backbone, weights)
        parameters = {"backbone": backbone, "weights": weights, "image_size": image_size, "random_state": seed}
        if method == "fine_tuned":
            parameters |= {"unfreeze_depth": unfreeze_depth, "max_epochs": max_epochs}
            parameters["augment"] = None if augment == "none" else augment
        options = {"device": device, "precision": precision, "n_jobs": n_jobs}
        with redirect_stdout(sys.stderr):
            report = _train_and_save(output, method, images, target, names, parameters, options, cv, verbose)
        print(json.dumps(report, indent=2) if as_json else _sentences(report))


def _check_together(context, method, image_size):
    from sktl.models import MAX_IMAGE_SIZE

    if image_size is not None and image_size > MAX_IMAGE_SIZE:
        raise typer.BadParameter(
            f"must be at most {MAX_IMAGE_SIZE} for a model file. Got {image_size} instead.", param_hint="'--image-size'"
        )
    if method == "fine_tuned":
        return
    given = [name for name in _OF_FINE_TUNING if context.get_parameter_source(name).name == "COMMANDLINE"]
    if given:
        option = f"'--{given[0].replace('_', '-')}'"
        raise typer.BadParameter(
            "is for --method fine_tuned: nothing in a frozen network is trained.", param_hint=option
        )


def _check_folds(target, names, cv):
    import numpy as np

    counts = np.bincount(target, minlength=len(names))
    if cv is not None and counts.min() < cv:
        raise ValueError(
            f"--cv must be at most the number of images of each class. Got {cv}, and {counts.min()} images of "
            f"{names[counts.argmin()]!r} instead."
        )


def _train_and_save(output, method, images, target, names, parameters, options, cv, verbose):
    import numpy as np

    from sktl.models import save_model

    labels = np.array(names)[target]
    training = {
        "n_images": len(images),
        "images_per_class": dict(zip(names, np.bincount(target).tolist(), strict=True)),
    }
    if cv is not None:
        training["cross_validation"] = _scores(method, images, labels, parameters, options, cv, verbose)
    started = time.perf_counter()
    estimator = make_estimator(method, parameters, **options, verbose=bars_wanted(verbose)).fit(images, labels)
    seconds = time.perf_counter() - started
    network = estimator if method == "fine_tuned" else estimator[0]
    n_trained = estimator.n_trained_parameters_ if method == "fine_tuned" else estimator[-1].coef_.size
    training["n_trained_parameters"] = int(n_trained)
    save_model(estimator, output, metadata={"training": training})
    return {
        "model": str(output),
        "n_bytes": output.stat().st_size,
        "method": method,
        "classes": names,
        "backbone": {name: getattr(network.backbone_, name) for name in ("name", "weights", "source", "license")},
        **training,
        "seconds": seconds,
    }


def make_estimator(method, parameters, **options):
    """Make the estimator that a method stands for: the recipe that `sktl compare` judges under the same name."""
    if method == "fine_tuned":
        from sktl.fine_tuning import FineTuneClassifier

        return FineTuneClassifier(**parameters, **options)
    from sktl.feature_extraction.frozen_pipeline import frozen_pipeline

    return frozen_pipeline("classification", **parameters, **options)


def _scores(method, images, labels, parameters, options, cv, verbose):
    """Train and score on folds, each with a seed of its own."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    seeds = np.random.SeedSequence(parameters["random_state"]).generate_state(cv) % 2**31
    splits = StratifiedKFold(cv, shuffle=True, random_state=parameters["random_state"]).split(images, labels)
    accuracies, chances = [], []
    for fold, (train_rows, test_rows) in enumerate(splits):
        own = {**parameters, "random_state": int(seeds[fold])}
        estimator = make_estimator(method, own, **options).fit(images[train_rows], labels[train_rows])
        accuracies.append(float(estimator.score(images[test_rows], labels[test_rows])))
        classes, counts = np.unique(labels[train_rows], return_counts=True)
        chances.append(float(np.mean(labels[test_rows] == classes[counts.argmax()])))
        if verbose:
            say(f"fold {fold + 1}/{cv}: accuracy {accuracies[-1]:.3f}")
    return {"n_folds": cv, "accuracy": accuracies, "accuracy_of_the_most_frequent_class": chances}


def _sentences(report):
    network, n_classes = report["backbone"], len(report["classes"])
    shown = ", ".join(printable(name) for name in report["classes"][:10]) + (", …" if n_classes > 10 else "")
    weights = f"{network['name']} with the weights {printable(network['weights'])} (licence: {network['license']})"
    lines = [
        f"Trained {report['method']} on {report['n_images']} images of {n_classes} classes ({shown}): "
        f"{report['n_trained_parameters']:,} parameters trained in {report['seconds']:.1f} s, from {weights}."
    ]
    if scores := report.get("cross_validation"):
        from statistics import mean, stdev

        accuracy, chance = scores["accuracy"], mean(scores["accuracy_of_the_most_frequent_class"])
        lines.append(
            f"Accuracy on held-out images, {scores['n_folds']} folds: {mean(accuracy):.3f} (SD {stdev(accuracy):.3f}). "
            f"Always naming the most frequent class scores {chance:.3f}."
        )
    else:
        lines.append("No score: all images were trained on. --cv 5 scores the same recipe on images held out.")
    lines.append(f"Wrote {printable(report['model'])} ({size(report['n_bytes'])}): all that sktl predict needs.")
    return "\n".join(lines)
