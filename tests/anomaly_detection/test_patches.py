"""From stage maps to patches: against scipy, and which stages are taken."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import uniform_filter, zoom
from scipy.spatial.distance import pdist

from sktl.anomaly_detection._patches import PatchMaker, patch_makers, usual_layers
from sktl.backbones import load_backbone


def averaged(maps):
    """The mean over 3 x 3 places; edges have fewer neighbours."""
    within = uniform_filter(np.ones(maps.shape[1:]), 3, mode="constant")
    return np.stack([uniform_filter(one.astype(float), 3, mode="constant") / within for one in maps])


@pytest.mark.parametrize(("shape", "side"), [((2, 12, 12), 6), ((4, 6, 6), 6), ((3, 3, 3), 6)])
def test_a_map_is_averaged_and_brought_to_the_grid(shape, side):
    maps = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    maker = PatchMaker(shape, side)
    assert (maker.size, maker.n_components) == (maps.size, shape[0])
    found = maker(torch.from_numpy(maps.ravel())).numpy()
    assert found.shape == (side**2, shape[0])
    expected = averaged(maps)
    if shape[1] > side:
        expected = expected.reshape(shape[0], side, 2, side, 2).mean((2, 4))
    elif shape[1] < side:
        expected = np.stack([zoom(one, 2, order=1, mode="nearest", grid_mode=True) for one in expected])
    assert_allclose(found.T.reshape(expected.shape), expected, atol=1e-5)


def test_tokens_become_places_without_the_class_token():
    tokens = torch.arange(10 * 2, dtype=torch.float32).reshape(10, 2)
    tokens[0] = 1e6
    patches = PatchMaker((10, 2), 3)(tokens.flatten())
    assert patches.shape == (9, 2)
    assert_allclose(patches[4].numpy(), tokens[1:].mean(0).numpy())  # in the middle of 3 x 3 all are neighbours


def test_long_vectors_are_projected_and_keep_their_distances():
    backbone = load_backbone("resnet18", weights=None)
    preprocessing = backbone.preprocessing.resized(64)
    plain, _ = patch_makers(backbone, ["layer3", "layer1"], preprocessing, None, seed=0)
    short, as_it_is = patch_makers(backbone, ["layer3", "layer1"], preprocessing, 128, seed=0)
    assert (plain.n_components, short.n_components, as_it_is.n_components) == (256, 128, 64)
    assert as_it_is.projection is None
    assert plain.side == short.side == as_it_is.side == 8
    flat = torch.from_numpy(np.random.default_rng(0).normal(size=plain.size).astype(np.float32))
    before, after = (pdist(maker(flat).numpy()) for maker in (plain, short))
    assert_allclose((after / before).mean(), 1, atol=0.05)
    assert (after / before).std() < 0.15


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
    assert {maker.side for maker in patch_makers(backbone, layers, preprocessing, None, seed=0)} == {side}
