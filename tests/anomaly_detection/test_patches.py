"""From stage maps to patches: against scipy, and which stages are taken."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import uniform_filter, zoom
from scipy.spatial.distance import pdist

from sktl.anomaly_detection._patches import PatchMaker, patch_maker, usual_layers
from sktl.backbones import load_backbone


def averaged(maps):
    """The mean over 3 x 3 places; edges have fewer neighbours."""
    within = uniform_filter(np.ones(maps.shape[1:]), 3, mode="constant")
    return np.stack([uniform_filter(one.astype(float), 3, mode="constant") / within for one in maps])


def test_maps_are_averaged_brought_to_one_grid_and_joined():
    rng = np.random.default_rng(0)
    shapes = (2, 12, 12), (4, 6, 6), (3, 3, 3)
    fine, own, coarse = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    maker = PatchMaker(shapes, 6)
    assert (maker.n_channels, maker.n_bytes) == (9, 4 * (fine.size + own.size + coarse.size))
    found = maker.channels(torch.from_numpy(np.concatenate([maps.ravel() for maps in (fine, own, coarse)]))).numpy()
    assert found.shape == (36, 9)
    maps = found.T.reshape(9, 6, 6)
    assert_allclose(maps[:2], averaged(fine).reshape(2, 6, 2, 6, 2).mean((2, 4)), atol=1e-5)
    assert_allclose(maps[2:6], averaged(own), atol=1e-5)
    larger = np.stack([zoom(one, 2, order=1, mode="nearest", grid_mode=True) for one in averaged(coarse)])
    assert_allclose(maps[6:], larger, atol=1e-5)


def test_tokens_become_places_without_the_class_token():
    tokens = torch.arange(10 * 2, dtype=torch.float32).reshape(10, 2)
    tokens[0] = 1e6
    channels = PatchMaker(((10, 2),), 3).channels(tokens.flatten())
    assert channels.shape == (9, 2)
    assert_allclose(channels[4].numpy(), tokens[1:].mean(0).numpy())  # in the middle of 3 x 3 all are neighbours


def test_stages_count_alike_whatever_their_units():
    rng = np.random.default_rng(0)
    spread = np.repeat([1000.0, 0.01], (4, 12)).astype(np.float32)
    channels = (rng.normal(size=(500, 16)) * spread).astype(np.float32)
    maker = PatchMaker(((4, 2, 2), (12, 2, 2)), 2).with_weights(channels, None, seed=0)
    totals = [(channels @ maker.weights)[:, part].var(0).sum() for part in (slice(4), slice(4, 16))]
    assert_allclose(totals, 1, rtol=1e-4)
    flat = PatchMaker(((4, 2, 2),), 2).with_weights(np.ones((9, 4), np.float32), None, seed=0)
    assert_allclose(flat.weights, np.eye(4))  # what never varied is left as it is


def test_long_vectors_are_projected_and_keep_their_distances():
    maker = PatchMaker(((384, 4, 4),), 4)
    channels = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)
    plain, short = (maker.with_weights(channels, n, seed=0) for n in (None, 256))
    assert maker.with_weights(channels, 384, seed=0).weights.shape == plain.weights.shape == (384, 384)
    assert short.weights.shape == (384, 256)
    before, after = (pdist(channels @ made.weights) for made in (plain, short))
    assert_allclose((after / before).mean(), 1, atol=0.05)
    assert (after / before).std() < 0.1


@pytest.mark.parametrize(
    ("name", "image_size", "layers", "side"),
    [
        ("tiny_fractal", 48, ["stage2", "stage3", "stage4"], 6),
        ("resnet18", 64, ["layer1", "layer2", "layer3"], 8),
        pytest.param("vit_b_16", 224, ["stage2", "stage3"], 14, marks=pytest.mark.slow),
    ],
)
def test_the_usual_stages_see_4_8_and_16_pixels(name, image_size, layers, side):
    backbone = load_backbone(name, weights="default" if name == "tiny_fractal" else None)
    preprocessing = backbone.preprocessing.resized(image_size)
    assert usual_layers(backbone, preprocessing) == layers
    assert patch_maker(backbone, layers, preprocessing).side == side
