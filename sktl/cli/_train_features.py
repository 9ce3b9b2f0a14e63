"""``sktl train --features``: a linear model on features that ``sktl embed`` has written, however many these are."""

import time
from pathlib import Path

import typer

from sktl._text import printable
from sktl.cli._feature_tables import FeatureTable
from sktl.cli._folders import say_counts
from sktl.cli._places import keep_from_outputs
from sktl.cli._reporting import say, unreadable

__all__ = ["check_together", "train_on_features"]

# What says something of features, or of any training.
_OPTIONS = ("features", "output", "target", "task", "method", "weights", "on_error", "as_json", "verbose")


def check_together(context):
    """Refuse what says something of images that are yet to be embedded, or of a network that is yet to be trained."""
    for name in context.params:
        given = context.get_parameter_source(name).name == "COMMANDLINE"
        if given and (name not in _OPTIONS or (name == "method" and context.params[name] != "frozen")):
            raise typer.BadParameter(
                "is not for --features, which a linear model is fitted to as they are.",
                param_hint=f"'--{name.replace('_', '-')}'",
            )


def train_on_features(context, output):
    """Fit the head to a table of features, and write it with the network that they are of as one model file."""
    import numpy as np
    from sklearn.pipeline import make_pipeline

    from sktl.feature_extraction.out_of_core import fit_probe_on_blocks
    from sktl.models import save_model

    options, started = context.params, time.perf_counter()
    table, column = FeatureTable(Path(options["features"])), options["target"] or "label"
    keep_from_outputs(table.files)
    extractor = _extractor(table.about, options["weights"])
    names = [str(name) for name in extractor.get_feature_names_out()]
    if missing := [name for name in names if name not in table.columns]:
        raise ValueError(
            f"--features must have a column for each of the {len(names)} features of {extractor.backbone_.name}. Got "
            f"none for {len(missing)} of them instead, {missing[0]!r} for instance. Write them again with 'sktl embed'."
        )
    labels = table.labels(column, options["task"], names[0])
    _say_what_was_found(labels, options["on_error"])
    classes = np.array(list(labels.counts)) if labels.task == "classification" else None
    probe, score = fit_probe_on_blocks(lambda: table.blocks(names, column, labels), classes)
    training = {"n_images": labels.n_images, **_about(labels), **_scores(labels, score)}
    training["n_trained_parameters"] = int(probe.coef_.size)
    save_model(make_pipeline(extractor, probe), output, metadata={"training": training})
    network = extractor.backbone_
    return {
        "model": str(output),
        "n_bytes": output.stat().st_size,
        "method": "frozen",
        **({} if classes is None else {"classes": list(labels.counts)}),
        "backbone": {name: getattr(network, name) for name in ("name", "weights", "source", "license")},
        **training,
        "seconds": time.perf_counter() - started,
        "unreadable": labels.unreadable,
    }


def _extractor(about, weights):
    """Make the extractor that gives such features, which are compared by the digest of its network."""
    import numpy as np

    from sktl.backbones import load_backbone
    from sktl.feature_extraction import PretrainedFeatureExtractor

    said = about["backbone"]
    weights = said.get("asked", "default") if weights == "default" else weights
    network = load_backbone(said["name"], weights)
    if network.digest != said["digest"]:
        raise ValueError(
            f"--features must be of the network that the model is to hold. Got other weights of {said['name']} "
            f"instead: {printable(str(network.weights))}. Name the former ones with --weights, or embed "
            "the images anew."
        )
    size = about["image_size"] if about["image_size"] != network.preprocessing.crop_size else None
    extractor = PretrainedFeatureExtractor(
        said["name"], weights=weights, layer=about["layers"], pooling=about["pooling"], image_size=size
    )
    # Any picture file would do, and none need be here any longer.
    return extractor.fit(np.zeros((1, 8, 8, 3), dtype=np.uint8))


def _say_what_was_found(labels, on_error):
    if labels.unreadable and on_error == "raise":
        raise ValueError(
            f"--features must have numbers for every image. Got {len(labels.unreadable)} that could not be read "
            f"instead, {labels.unreadable[0]!r} for instance. Pass --on-error skip to leave them out."
        )
    for path in labels.unreadable:
        say(f"Left out: {unreadable(path, 'its features are NaN')}")
    if labels.task == "regression":
        say(f"Training on the features of {labels.n_images} images with numbers.")
        return
    say(f"Training on the features of {labels.n_images} images in {len(labels.counts)} classes.")
    say_counts(labels.counts)


def _about(labels):
    if labels.task == "regression":
        return {"task": labels.task, "targets": labels.numbers}
    return {"task": labels.task, "images_per_class": labels.counts}


def _scores(labels, score):
    from sktl.cli._scores import CHANCE, METRICS

    chance = 0.0 if labels.task == "regression" else max(labels.counts.values()) / labels.n_images
    return {"leave_one_out": {METRICS[labels.task]: score, CHANCE[labels.task]: chance}}
