"""The command ``sktl train``: from a folder or a table of images to a model in one file."""

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from sktl._text import printable
from sktl.cli._bad_images import done_without_bad_images, without_bad_images
from sktl.cli._data import load_data, load_test_folder
from sktl.cli._default_backbone import backbone_for
from sktl.cli._options import (
    BackboneOption,
    DepthOption,
    DeviceOption,
    EpochsOption,
    ImageSizeOption,
    JobsOption,
    JsonOption,
    MaxImagesOption,
    OnErrorOption,
    PrecisionOption,
    VerboseOption,
    WeightsOption,
    one_of,
)
from sktl.cli._places import with_ending
from sktl.cli._reporting import bars_wanted, errors_as_messages, say, size
from sktl.cli._scores import CHANCE, METRICS, score, score_of_chance
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
from sktl.cli._train_features import check_together, train_on_features

__all__ = ["make_estimator", "train"]

# What --method frozen has no use for: nothing in its network is trained.
_OF_FINE_TUNING = ("unfreeze_depth", "max_epochs", "augment")


def train(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, ending in .safetensors.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A folder that holds one folder of images per class.")
    ] = None,
    table: TableOption = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Instead of images, their features: Parquet of 'sktl embed', a file or a folder of any size."
        ),
    ] = None,
    image: ImageOption = "path",
    target: TargetOption = None,
    group: GroupOption = None,
    root: RootOption = None,
    task: TaskOption = "auto",
    separator: SeparatorOption = None,
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
    test_folder: Annotated[
        Path | None, typer.Option(help="Score the model on this folder, with folders of the same classes.")
    ] = None,
    max_images: MaxImagesOption = None,
    on_error: OnErrorOption = "stop",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    n_jobs: JobsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training and of the folds.")] = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = True,
):
    """Train a model on a folder of images, or on the images of a table, and write it to one file.

    The file holds all that 'sktl predict' needs, the network included, and no code.

    With --cv the recipe is first scored on folds; the model itself is then trained on all images.
    """
    _check_together(context, method, image_size)
    with errors_as_messages():
        output = with_ending("--output", output, (".safetensors",))
        if features is not None:
            report = train_on_features(context, output)
            print(json.dumps(report, indent=2) if as_json else _sentences(report))
            return
        data = load_data(context, verb="Training on")
        _check_task(data, method)
        tested = None if test_folder is None else load_test_folder(context, data)
        reading, bad_in_test = {"n_jobs": n_jobs, "verbose": verbose}, []
        if tested is not None:  # before the training, which a bad one among them would otherwise be the end of
            tested, bad_in_test = without_bad_images(tested, on_error, **reading)
        backbone = backbone_for(data.images, backbone, weights)
        parameters = {"backbone": backbone, "weights": weights, "image_size": image_size, "random_state": seed}
        if method == "fine_tuned":
            parameters |= {"unfreeze_depth": unfreeze_depth, "max_epochs": max_epochs}
            parameters["augment"] = None if augment == "none" else augment
        options = {"device": device, "precision": precision, "n_jobs": n_jobs}

        def work(data):
            _check_folds(data, cv)
            return _train_and_save(output, method, data, tested, parameters, options, cv, verbose)

        with redirect_stdout(sys.stderr):
            report, bad = done_without_bad_images(work, data, on_error, **reading)
        report["unreadable"] = bad + bad_in_test
        print(json.dumps(report, indent=2) if as_json else _sentences(report))


def _check_together(context, method, image_size):
    from sktl.models import MAX_IMAGE_SIZE

    check_folder_or_table(context, "folder", ("features",))
    if context.params["features"] is not None:
        return check_together(context)
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


def _check_task(data, method):
    if data.task == "multilabel" and method == "frozen":
        raise ValueError(
            "--method must be fine_tuned where an image may have several labels. Got 'frozen' instead. Pass "
            "--unfreeze-depth 0, which is a linear model on frozen features as well."
        )


def _check_folds(data, cv):
    if cv is None:
        return
    if data.groups is not None and len(set(data.groups.tolist())) < cv:
        n_groups = len(set(data.groups.tolist()))
        raise ValueError(f"--cv must be at most the number of groups. Got {cv}, and {n_groups} groups instead.")
    if data.task != "classification":
        if len(data.images) < 2 * cv:
            n_images = len(data.images)
            raise ValueError(f"--cv must leave two images in each fold. Got {cv}, and {n_images} images instead.")
        return
    name, least = min(data.counts().items(), key=lambda one: one[1])
    if least < cv:
        raise ValueError(
            f"--cv must be at most the number of images of each class. Got {cv}, and {least} images of "
            f"{name!r} instead."
        )


def _train_and_save(output, method, data, tested, parameters, options, cv, verbose):
    from sktl.models import save_model

    training = {"n_images": len(data.images), **data.about()}
    if cv is not None:
        training["cross_validation"] = _scores(method, data, parameters, options, cv, verbose)
    started = time.perf_counter()
    estimator = make_estimator(method, parameters, task=data.task, **options, verbose=bars_wanted(verbose))
    estimator.fit(data.images, data.labels)
    seconds = time.perf_counter() - started
    if tested is not None:
        training["test"] = _test_scores(estimator, data, tested)
    network = estimator if method == "fine_tuned" else estimator[0]
    n_trained = estimator.n_trained_parameters_ if method == "fine_tuned" else estimator[-1].coef_.size
    training["n_trained_parameters"] = int(n_trained)
    save_model(estimator, output, metadata={"training": training})
    return {
        "model": str(output),
        "n_bytes": output.stat().st_size,
        "method": method,
        **({} if data.names is None else {"classes": data.names}),
        "backbone": {name: getattr(network.backbone_, name) for name in ("name", "weights", "source", "license")},
        **training,
        "seconds": seconds,
    }


def make_estimator(method, parameters, *, task="classification", **options):
    """Make the estimator that a method stands for: the recipe that `sktl compare` judges under the same name."""
    if method == "fine_tuned":
        from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor

        return (FineTuneRegressor if task == "regression" else FineTuneClassifier)(**parameters, **options)
    from sktl.feature_extraction.frozen_pipeline import frozen_pipeline

    return frozen_pipeline(task, **parameters, **options)


def _scores(method, data, parameters, options, cv, verbose):
    """Train and score on folds, each with a seed of its own."""
    import numpy as np

    from sktl._splits import splitter

    seeds = np.random.SeedSequence(parameters["random_state"]).generate_state(cv) % 2**31
    folds = splitter(cv, data.groups, data.task, parameters["random_state"])
    images, labels, metric = data.images, data.labels, METRICS[data.task]
    scores, chances = [], []
    for fold, (train_rows, test_rows) in enumerate(folds.split(images, labels, data.groups)):
        own = {**parameters, "random_state": int(seeds[fold])}
        estimator = make_estimator(method, own, task=data.task, **options).fit(images[train_rows], labels[train_rows])
        scores.append(score(data.task, labels[test_rows], estimator.predict(images[test_rows])))
        chances.append(score_of_chance(data.task, labels[train_rows], labels[test_rows]))
        if verbose:
            say(f"fold {fold + 1}/{cv}: {metric} {scores[-1]:.3f}")
    return {"n_folds": cv, metric: scores, CHANCE[data.task]: chances}


def _test_scores(estimator, data, tested):
    """Score the fitted model on the test folder."""
    found = score(data.task, tested.labels, estimator.predict(tested.images))
    chance = score_of_chance(data.task, data.labels, tested.labels)
    return {"n_images": len(tested.images), METRICS[data.task]: found, CHANCE[data.task]: chance}


def _sentences(report):
    network, names = report["backbone"], report.get("classes")
    weights = f"{network['name']} with the weights {printable(network['weights'])} (licence: {network['license']})"
    lines = [
        f"Trained {report['method']} on {report['n_images']} images {_what_is_learnt(report, names)}: "
        f"{report['n_trained_parameters']:,} parameters trained in {report['seconds']:.1f} s, from {weights}."
    ]
    lines += _said_of_scores(report)
    if report["unreadable"]:
        n_left_out = len(report["unreadable"])
        images = "image" if n_left_out == 1 else "images"
        lines.append(f"Left out: {n_left_out} {images} that cannot be read, named above.")
    lines.append(f"Wrote {printable(report['model'])} ({size(report['n_bytes'])}): all that sktl predict needs.")
    return "\n".join(lines)


def _what_is_learnt(report, names):
    if names is None:
        low, high = report["targets"]["min"], report["targets"]["max"]
        return f"with numbers from {low:g} to {high:g}"
    shown = ", ".join(printable(name) for name in names[:10]) + (", …" if len(names) > 10 else "")
    return f"of {len(names)} {'labels' if report['task'] == 'multilabel' else 'classes'} ({shown})"


def _said_of_scores(report):
    from statistics import mean, stdev

    metric, chance = METRICS[report["task"]], CHANCE[report["task"]]
    word = metric.replace("_", " ")
    word = word[0].upper() + word[1:]
    against = "Always naming the most frequent class" if metric == "accuracy" else "The same answer for all"
    if scores := report.get("cross_validation"):
        found, guessed = scores[metric], mean(scores[chance])
        yield (
            f"{word} on held-out images, {scores['n_folds']} folds: {mean(found):.3f} (SD {stdev(found):.3f}). "
            f"{against} scores {guessed:.3f}."
        )
    if scores := report.get("test"):
        yield (
            f"{word} on the test folder, {scores['n_images']} images: {scores[metric]:.3f}. "
            f"{against} scores {scores[chance]:.3f}."
        )
    if scores := report.get("leave_one_out"):
        yield (
            f"{word} where each image is left out of the fit once: {scores[metric]:.3f}. "
            f"{against} scores {scores[chance]:.3f}. Near copies of a picture make it too good."
        )
    elif "cross_validation" not in report and "test" not in report:
        yield "No score: all images were trained on. --cv 5 scores the same recipe on images held out."
