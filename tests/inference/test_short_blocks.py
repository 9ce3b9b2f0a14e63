"""Few images do not pay for a whole block, and get its bits all the same."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from sktl import FineTuneClassifier
from sktl.backbones import Preprocessing, load_backbone
from sktl.images import as_images
from sktl.inference import _embed, embed, resolve_placement, run_in_blocks, short_blocks

CPU = resolve_placement("cpu", "float32")


class Owner:
    """Stands for a network."""


def exact(batch):
    return batch * 3


def from_rows(n_rows):
    """Return what a kernel does that adds in another order below so many rows."""
    return lambda batch: batch * 3 + (1e-7 if len(batch) < n_rows else 0)


def watched(function):
    seen = []

    def watching(batch):
        seen.append(len(batch))
        return function(batch)

    return watching, seen


@pytest.mark.parametrize(
    ("function", "n_images", "n_rows"),
    [
        *[(exact, 1, 1), (exact, 2, 2), (exact, 3, 4), (exact, 7, 8), (exact, 5, 8)],
        *[
            (from_rows(2), 1, 2),
            (from_rows(4), 1, 4),
            (from_rows(4), 3, 4),
            (from_rows(8), 1, 8),
            (from_rows(9), 3, 16),
        ],
    ],
)
def test_the_least_number_of_rows_that_changes_no_bit_is_tried_once_and_kept(function, n_images, n_rows):
    owner, batch = Owner(), torch.rand(n_images, 300)
    watching, seen = watched(function)
    whole = run_in_blocks(function, batch, CPU, 16)
    for _ in range(2):
        seen.clear()
        short = short_blocks(n_images, 16, CPU, owner, "what")
        assert torch.equal(run_in_blocks(watching, batch, CPU, 16, short=short), whole)
    assert seen == [n_rows]


def test_a_network_with_two_outputs_is_tried_on_more_than_one_block():
    tried = []

    def once_equal(batch):
        """Differ in few rows for some images only, as the last bit of a single sum may."""
        tried.append(len(batch))
        return batch[:, :2] + (1e-3 if len(batch) == 1 and len(tried) > 20 else 0)

    batch = torch.rand(1, 30)
    run_in_blocks(once_equal, batch, CPU, 4, short=short_blocks(1, 4, CPU, Owner(), "what"))
    assert tried[-1] == 2


def test_whole_blocks_and_accelerators_are_left_alone():
    assert short_blocks(4, 4, CPU, Owner()) is None
    assert (
        short_blocks(1, 32, resolve_placement("cpu", "float32").__class__(torch.device("cuda"), None), Owner()) is None
    )


def test_one_image_runs_in_the_thread_that_asks_with_one_thread_for_each_operation():
    usual, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:

        def function(batch):
            seen.append((threading.current_thread(), torch.get_num_threads()))
            return batch

        run_in_blocks(function, torch.rand(1, 3), CPU, 4, short=short_blocks(1, 4, CPU, Owner()))
        assert set(seen) == {(threading.current_thread(), 1)}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


def test_one_photograph_goes_through_a_resnet_alone_and_has_the_bits_that_it_has_in_company(monkeypatch):
    backbone, rows = load_backbone("resnet18", weights=None), []
    X = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    make = _embed.frozen_function

    def watching(*arguments, **options):
        function = make(*arguments, **options)
        return lambda batch: (rows.append(len(batch)), function(batch))[1]

    def vectors(images):
        return embed(as_images(images), backbone, backbone.preprocessing, CPU)[0]

    expected = vectors(X)
    np.testing.assert_array_equal(vectors(X[:1]), expected[:1])
    monkeypatch.setattr(_embed, "frozen_function", watching)
    for i in range(5):
        np.testing.assert_array_equal(vectors(X[i : i + 1]), expected[i : i + 1])
    assert rows == [1] * 5


@pytest.mark.slow
@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_fine_tuned_networks_predict_few_images_as_they_predict_many(depth):
    X = np.random.default_rng(0).integers(0, 256, (20, 20, 24, 3), dtype=np.uint8)
    y = np.arange(20) % 3
    model = FineTuneClassifier(unfreeze_depth=depth, max_epochs=1, augment=None, cache=False, random_state=0).fit(X, y)
    expected = model.predict_proba(X)
    for n_images in (1, 2, 3, 5):
        np.testing.assert_array_equal(model.predict_proba(X[:n_images]), expected[:n_images])


def test_a_network_whose_images_mix_is_still_given_one_at_a_time():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False)).eval()
    backbone = load_backbone(network, preprocessing=Preprocessing(crop_size=12))
    X = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    expected = embed(as_images(X), backbone, backbone.preprocessing, CPU)[0]
    for n_images in (1, 3):
        found = embed(as_images(X[:n_images]), backbone, backbone.preprocessing, CPU)[0]
        np.testing.assert_array_equal(found, expected[:n_images])
