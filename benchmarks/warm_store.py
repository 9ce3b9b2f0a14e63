"""Where the time goes when every vector is in the store already: hash, look-up, copy and the rest, per image and core.

Run with ``python benchmarks/warm_store.py``. Arrays of 224 x 224 x 3 bytes and vectors of 2048 numbers, as of a
resnet50; a user's network with one coarse convolution fills the store within seconds. All times but the first are
processor seconds of all threads together, so that reading ahead does not flatter them. They are compared with what an
image costs in a resnet18.
"""

import argparse
import tempfile
import time
from unittest.mock import patch

import numpy as np
import torch
from _measure import header, in_turns, make_arrays, print_table, spread

from sktl import PretrainedFeatureExtractor
from sktl.images import as_images
from sktl.store import EmbeddingStore

N_FEATURES = 2048


def coarse_network():
    """Return a network that is fast and gives as many features as a resnet50."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, N_FEATURES, kernel_size=8, stride=32),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )


def processor_seconds(function):
    """Return the processor time that a call takes in all threads of this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def warm_pass(extractor, X):
    """Return wall time, processor time, and the part of the latter that goes into looking up."""
    look_up, n_misses = EmbeddingStore.read, extractor.store_info_.n_misses
    spent = []

    def timed(*arguments):
        start = time.thread_time()
        found = look_up(*arguments)
        spent.append(time.thread_time() - start)
        return found

    start = time.perf_counter()
    with patch.object(EmbeddingStore, "read", timed):
        total = processor_seconds(lambda: extractor.transform(X))
    wall = time.perf_counter() - start
    if extractor.store_info_.n_misses > n_misses:
        raise RuntimeError("not all images were in the store")
    return wall, total, sum(spent)


def hash_pass(X):
    """Return the processor time of identifying every image."""
    images = as_images(X)
    return processor_seconds(lambda: [images.digest(i) for i in range(len(images))])


def copy_pass(vectors):
    """Return the processor time of writing vectors, one by one, into an array."""
    target = np.zeros_like(vectors)

    def copy():
        for i, vector in enumerate(vectors):
            target[i] = vector

    return processor_seconds(copy)


def network_pass(X):
    """Return the processor time of a resnet18, per image."""
    extractor = PretrainedFeatureExtractor("resnet18", weights=None, random_state=0, device="cpu", cache=False).fit(X)
    extractor.transform(X)
    return lambda: processor_seconds(lambda: extractor.transform(X)) / len(X)


def measure(n_images, n_network, n_rounds, folder):
    """Return the rows of the table."""
    X = make_arrays(n_images)
    extractor = PretrainedFeatureExtractor(coarse_network(), device="cpu", cache=folder).fit(X)
    vectors = extractor.transform(X)
    roads = {
        "pass": lambda: warm_pass(extractor, X),
        "hash": lambda: hash_pass(X),
        "copy": lambda: copy_pass(vectors),
        "network": network_pass(X[:n_network]),
    }
    warm_pass(extractor, X)
    rounds = in_turns(roads, n_rounds)
    walls, totals, look_ups = (np.array(column) / n_images for column in zip(*rounds["pass"], strict=True))
    hashes, copies = np.array(rounds["hash"]) / n_images, np.array(rounds["copy"]) / n_images
    networks = np.array(rounds["network"])
    parts = {
        "hash": hashes,
        "look-up": look_ups,
        "copy": copies,
        "rest": totals - hashes - look_ups - copies,
        "all": totals,
        "hash + look-up": hashes + look_ups,
    }
    rows = [["all, by the clock", spread(walls * 1e6, ".0f"), spread(1 / walls, ".0f"), ""]]
    for name, times in parts.items():
        share = spread(100 * times / networks, ".2f")
        rows.append([name, spread(times * 1e6, ".0f"), spread(1 / times, ".0f") if name == "all" else "", share])
    return [*rows, ["a resnet18 instead", spread(networks * 1e6, ".0f"), spread(1 / networks, ".0f"), "100"]]


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--network-images", type=int, default=64, help="images for the pass through resnet18")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        header(
            f"{options.images} arrays of 224 x 224 x 3 bytes, {N_FEATURES} features, {options.rounds} rounds",
            f"resnet18 on {options.network_images}",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.images, options.network_images, options.rounds, folder)
    columns = ["part", "microseconds per image, median (least to greatest)", "images/s", "% of a resnet18"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
