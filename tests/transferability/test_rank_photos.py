"""Rankings of real networks on real pictures: costs, and a set on which random weights win."""

import csv
import time

import numpy as np
import pytest

from sktl import PretrainedFeatureExtractor, rank_backbones
from sktl.backbones import load_backbone
from sktl.feature_extraction.frozen_pipeline import frozen_extractor

pytestmark = pytest.mark.slow


@pytest.fixture
def networks(shared_data):
    weights = shared_data / "weights"
    return {
        "fractals": "tiny_fractal",
        "imagenet": load_backbone("mobilenet_v2", weights / "mobilenet_v2-imagenet-tf.pth"),
        "birds": load_backbone("mobilenet_v2", weights / "mobilenet_v2-inat_bird-tf.pth"),
        "squeezenet": load_backbone("squeezenet1_1", weights / "squeezenet1_1-imagenet.pth"),
    }


@pytest.fixture
def chest_x_rays(shared_data):
    """Two hundred pictures of 28 × 28 pixels, in the shares that the set has."""
    with np.load(shared_data / "datasets" / "pneumonia28.npz") as content:
        images, labels = content["train_images"], content["train_labels"].ravel()
    chosen = np.linspace(0, len(labels) - 1, 300).astype(int)
    return images[chosen], labels[chosen]
