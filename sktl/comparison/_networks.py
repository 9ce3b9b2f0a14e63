"""The networks behind the candidates: whether they can be had, before the work, and what they were, after it."""

import numpy as np

from sktl.backbones import load_backbone
from sktl.backbones.descriptions import never_saw_photographs
from sktl.images import as_images, rows_as_images, take_rows
from sktl.inference import (
    about_photographs,
    are_photographs,
    embedding_widths,
    resolve_placement,
    warn_of_photographs,
)

__all__ = [
    "check_networks",
    "describe",
    "first_images",
    "fitted_parts",
    "is_pretrained",
    "note_on_photographs",
    "record_of",
    "trained_part",
]

BROUGHT_ALONG = "its own"  # how a record calls the weights that came with a module or a function


def check_networks(names, images, *, backbone, weights, unfreeze_depth, image_size, device, precision, **others):
    """Load the network of named candidates once, so that what cannot work is not reported as the failure of a fit.

    Warn as well, where it is the bundled one and the images are photographs.
    """
    if not names & {"frozen_random", "frozen", "fine_tuned", "from_scratch"}:
        return
    if precision == "float16" and names & {"fine_tuned", "from_scratch"}:
        raise ValueError(
            "precision must be 'auto', 'float32' or 'bfloat16' for candidates that are trained. Got 'float16' instead."
        )
    resolve_placement(device, precision)
    record = load_backbone(backbone, weights)
    if not is_pretrained(record):
        raise ValueError(
            f"backbone must come with pretrained weights. Got {record.name} with random ones instead: there would be "
            "nothing to transfer. Training without pretrained weights is what the candidate 'from_scratch' does."
        )
    own = record.preprocessing
    embedding_widths(record, ["penultimate"], "auto", own if image_size is None else own.resized(image_size))
    n_stages = len(record.stages)
    if "fine_tuned" in names and unfreeze_depth != "all" and unfreeze_depth > n_stages:
        raise ValueError(
            f"unfreeze_depth must be at most {n_stages} for {record.name}, whose stages are "
            f"{list(record.stage_names)}. Got {unfreeze_depth} instead. Use 'all' to train everything."
        )
    if names & {"frozen_random", "from_scratch"} and not isinstance(backbone, str):
        load_backbone(backbone, None)  # not every function can make its network with random weights
    warn_of_photographs(record, images)


def first_images(X, image_shape):
    """Return the first images of X as a collection; none where X cannot be read, which the fits will say."""
    try:
        first = take_rows(X, np.arange(min(len(X), 3)))
        images = as_images(first)
        if images is None and np.ndim(first) == 2:
            return rows_as_images(np.asarray(first), image_shape=image_shape)
        return () if images is None else images
    except (TypeError, ValueError, OSError):
        return ()


def note_on_photographs(images, networks):
    """Say that one of some described networks is a bundled one and the images are photographs; None otherwise."""
    names = [one["name"] for one in networks if one and never_saw_photographs(one["name"], one["weights"])]
    return about_photographs(names[0]) if names and are_photographs(images) else None


def record_of(estimator):
    """Find the record of the network that a fitted estimator, or the first of its fitted parts, carries.

    Records of pretrained networks come before those with random weights.
    """
    return getattr(_part_with_network(estimator), "backbone_", None)


def _part_with_network(estimator):
    parts = list(fitted_parts(estimator))
    pretrained = (part for part in parts if getattr(part.backbone_, "weights", None) is not None)
    return next(pretrained, parts[0] if parts else None)


def trained_part(estimator):
    """Find the first fitted part of a candidate that was trained by epochs."""
    return next((part for part in fitted_parts(estimator) if hasattr(part, "n_trained_parameters_")), None)


def fitted_parts(estimator):
    """Find the fitted parts of an estimator that carry the record of a network."""
    yield from _parts(estimator, set())


def _parts(part, seen):
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, dict):
        inside = part.values()
    elif isinstance(part, (list, tuple)) or (isinstance(part, np.ndarray) and part.dtype == object):
        inside = list(part)
    elif hasattr(part, "get_params") and not isinstance(part, type):
        if getattr(part, "backbone_", None) is not None:
            yield part
            return
        inside = list(getattr(part, "__dict__", {}).values())
    else:
        return
    for one in inside:
        yield from _parts(one, seen)


def describe(estimator):
    """Tell the network of a fitted estimator in plain Python, for the settings of a comparison."""
    part = _part_with_network(estimator)
    if part is None:
        return None
    record = part.backbone_
    facts = {field: getattr(record, field, None) for field in ("name", "weights", "source", "license", "digest")}
    own_size = getattr(getattr(record, "preprocessing", None), "crop_size", None)
    return {**facts, "image_size": getattr(part, "image_size", None) or own_size}


def is_pretrained(record):
    """Tell whether a network brings weights that are worth the name: not those of its initialisation.

    Weights of torchvision, of a file, and those that ship with sktl are. A function that makes a network is called
    twice with different random numbers: where all its weight matrices differ, it draws them. Weights that come with a
    module, or that a function gives each time, are taken for pretrained: nothing shows how they came about.
    """
    if record.weights is None:
        return False
    if record.weights != BROUGHT_ALONG or getattr(record, "reload", None) is None:
        return True
    other = record.reload(random_state=record.reload.keywords["random_state"] + 1)
    pairs = zip(record.stages.parameters(), other.stages.parameters(), strict=True)
    matrices = [pair for pair in pairs if pair[0].ndim > 1]
    return not matrices or any(bool((one == another).all()) for one, another in matrices)
