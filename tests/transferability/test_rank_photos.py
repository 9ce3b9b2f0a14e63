"""Rankings of real networks on real pictures: what they cost, and a set on which random weights win."""

import csv
import time

import numpy as np
import pytest

from sktl import rank_backbones
from sktl.backbones import load_backbone
from sktl.feature_extraction.frozen_pipeline import frozen_extractor

pytestmark = pytest.mark.slow


@pytest.fixture
def networks(shared_data):
    weights = shared_data / "weights"
    return {
        "imagenet": load_backbone("mobilenet_v2", weights / "mobilenet_v2-imagenet-tf.pth"),
        "birds": load_backbone("mobilenet_v2", weights / "mobilenet_v2-inat_bird-tf.pth"),
    }


def test_random_weights_that_beat_pretrained_ones_are_said_first(shared_data, networks):
    with np.load(shared_data / "datasets" / "pneumonia28" / "pneumonia28.npz") as content:
        X, y = content["train_images"][::6], content["train_labels"][::6].ravel()
    del networks["imagenet"]  # which is level with random weights, and the birds are behind
    ranking = rank_backbones(X, y, networks, image_size=64, n_repeats=2, duplicates="ignore")
    random = next(row for row in ranking.controls() if row.candidate == "frozen_random")
    assert random.mean > max(row.mean for row in ranking.rows())
    assert ranking.level_controls == ["pixels", "frozen_random"]
    assert "Without pretraining, 'frozen_random' is level with the best network, 'birds': 0.9" in repr(ranking)


@pytest.mark.filterwarnings("ignore::sktl.exceptions.PhotographsWarning")
def test_a_ranking_costs_little_more_than_one_pass_through_each_network(shared_data, networks):
    """Seconds of the processor, which count the same whatever else goes on, within one run."""
    folder = shared_data / "datasets" / "caltech15"
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))[::3]
    X, y = [str(folder / row["file"]) for row in rows], np.array([row["class"] for row in rows])
    networks = {**networks, "fractals": "tiny_fractal"}

    def seconds_of(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    def rank():
        rank_backbones(X, y, networks, image_size=96)

    for network in networks.values():
        frozen_extractor(backbone=network, image_size=96).fit_transform(X[:4])
    passes = sum(
        seconds_of(lambda one=network: frozen_extractor(backbone=one, image_size=96, cache=False).fit_transform(X))
        for network in networks.values()
    )
    assert seconds_of(rank) <= 1.1 * passes + 2 * len(networks)
    assert seconds_of(rank) <= 3
