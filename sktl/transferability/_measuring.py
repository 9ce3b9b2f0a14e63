"""What is measured of a network besides its score: the seconds that an image takes, and scores of its features."""

import time
from dataclasses import dataclass

import numpy as np

from sktl.backbones import load_backbone
from sktl.backbones.listing import published_top1
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.images import take_rows
from sktl.inference import resolve_placement, unwarned_of_photographs
from sktl.transferability._log_me import log_me
from sktl.transferability._nearest_neighbour import nearest_neighbour_score

__all__ = ["NetworkMeasures", "measure_networks", "seconds_per_image"]

N_TIMED = 4  # images; on an accelerator, which takes many at once, those of a batch
MOST = 5000  # images for neighbours and evidence, whose cost grows faster than the number of images
ENOUGH, MOST_ROUNDS = 0.1, 10  # seconds of timing, and rounds


@dataclass(frozen=True)
class NetworkMeasures:
    """What is measured or known of one network besides its score."""

    seconds_per_image: float
    nearest_neighbour: float
    log_me: float
    top1: float | None  # in percent, as published


def measure_networks(comparison, X, networks, *, verbose=0, **options):
    """Measure networks on the images of a comparison; one of the same weights under two names is measured once."""
    if verbose:
        print(f"Measuring {len(networks)} networks …", flush=True)
    used = np.unique(np.concatenate([np.concatenate(split) for split in comparison.splits]))
    used = used[np.linspace(0, len(used) - 1, min(MOST, len(used))).astype(int)]
    images, y, task = take_rows(X, used), comparison.y[used], comparison.settings["task"]
    if task == "classification":  # as texts: of so many images, numbers that seldom come twice are refused as classes
        y = y.astype(str)
    groups = None if comparison.groups is None else comparison.groups[used]
    measures: dict = {}
    by_digest: dict = {}
    timed: dict = {}  # seconds of networks that differ in their weights alone are the same
    with unwarned_of_photographs():
        for name, backbone in networks.items():
            record = load_backbone(backbone)
            key = record.digest, repr(record.preprocessing)
            if key not in by_digest:
                by_digest[key] = _measure(record, images, y, groups, task, options, timed)
            measures[name] = by_digest[key]
    return measures


def _measure(record, images, y, groups, task, options, timed):
    n_timed = N_TIMED if resolve_placement(options["device"]).device.type == "cpu" else options["batch_size"]
    # The features of the frozen candidate, which the store has from its fits.
    extractor = frozen_extractor(backbone=record, **options).fit(images)
    features = extractor.transform(images)
    structure = repr(record.stages), repr(record.preprocessing)
    if structure not in timed:
        timed[structure] = seconds_per_image(extractor, images, n_timed)
    return NetworkMeasures(
        seconds_per_image=timed[structure],
        nearest_neighbour=nearest_neighbour_score(features, y, task=task, groups=groups),
        log_me=log_me(features, y, task=task),
        top1=published_top1(record.name, record.weights),
    )


def seconds_per_image(extractor, images, n_timed):
    """Time some images from the file to the vector, never from the store: the best of some rounds.

    The first round warms up, and whatever else goes on on this machine can only make a round slower.
    """
    some = take_rows(images, np.arange(min(n_timed, len(images))))
    extractor.set_params(cache=False)
    seconds: list[float] = []
    while len(seconds) < 2 or (sum(seconds) < ENOUGH and len(seconds) < MOST_ROUNDS):
        start = time.perf_counter()
        extractor.transform(some)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / len(some)
