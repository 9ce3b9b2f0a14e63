"""What embedding any number of images takes: the parts as measured here, and what they add up to.

Run with ``python benchmarks/scale_plan.py``; it takes a minute. Times are processor seconds of one thread, so that they
mean something beside other work. Photos and vectors are made up, which changes neither.
"""

import argparse
import pickle
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _measure import header, make_photos, print_table

from sktl import PretrainedFeatureExtractor
from sktl.cli._feature_tables import FeatureTable
from sktl.cli._parts import write_part
from sktl.feature_extraction.out_of_core import fit_probe_on_blocks
from sktl.inference import embed_chunk, pickled_extractor
from sktl.store import EmbeddingStore, SegmentFolder, write_segment

N_CLASSES = 10
CHUNK = 1000
PATH = "/data/photos/2026/11/IMG_{:012}.jpg"
SIZES = (10**6, 10**7, 10**9)


class Key(NamedTuple):
    """A cache key without a network."""

    digest: bytes
    description: str
    n_bytes: int


def cpu(function):
    """Return what a call returns, and its processor seconds."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def embedding(folder, backbone, n_images, n_rounds):
    """Return an extractor, and the median seconds of a core for one photo, from its file to its vector."""
    extractor = PretrainedFeatureExtractor(backbone, cache=False, device="cpu").fit(make_photos(folder, n_images))
    paths = sorted(map(str, folder.glob("*.jpg")))
    extractor.transform(paths[:8])
    times = [cpu(lambda: extractor.transform(paths))[1] / n_images for _ in range(n_rounds)]
    return extractor, statistics.median(times)


def vectors_of(width, seed=0, n_rows=CHUNK):
    """Return made vectors that leave a ridge something to find, and their classes."""
    labels = np.random.default_rng(seed).integers(0, N_CLASSES, n_rows)
    centres = np.random.default_rng(99).normal(size=(N_CLASSES, width))
    X = 0.2 * centres[labels] + np.random.default_rng(seed).normal(size=(n_rows, width))
    return np.maximum(X, 0).astype(np.float32), labels


def on_disk(folder, width):
    """Return bytes of a vector in the store, in a segment and in the files of features; seconds to find one again."""
    key, (X, _) = Key(b"a key", "made", 4 * width), vectors_of(width)
    rows = {np.random.default_rng(i).bytes(16): row for i, row in enumerate(X)}
    store = EmbeddingStore(folder / "store", 10**10)
    store.write(key, rows, None, 0.0)
    (folder / "segments").mkdir()
    write_segment(folder / "segments", key, rows)
    segments, digests = SegmentFolder(folder / "segments"), list(rows)
    segments.read(key, digests[:1])
    found = [cpu(lambda: tier.read(key, digests))[1] / len(rows) for tier in (store, segments)]
    store.close()
    sizes = [sum(file.stat().st_size for file in (folder / name).rglob("*.*")) for name in ("store", "segments")]
    return [size / len(rows) for size in sizes], found


def head(folder, extractor, seconds_of_none):
    """Write made features as `sktl embed` does; return bytes of a row, and seconds of a core for one in the fit."""
    width, names = extractor.embedding_dim_, [str(name) for name in extractor.get_feature_names_out()]
    from unittest.mock import patch

    from sktl.inference import EmbeddedChunk

    about, fits = {"made": True}, {}
    for n_parts in (2, 6):
        parts = folder / f"{n_parts} parts"
        parts.mkdir()
        for number in range(n_parts):
            X, labels = vectors_of(width, seed=number)
            chunk = EmbeddedChunk(len(X), width, X, [], 0, len(X))
            cells = {"path": [PATH.format(i) for i in range(CHUNK)], "label": [f"class {k}" for k in labels]}
            with patch("sktl.inference.embed_chunk", return_value=chunk):
                write_part(b"", [], cells, parts / f"{number}.parquet", list(cells), names, about, "raise")
        fits[n_parts] = cpu(lambda parts=parts: fit(FeatureTable(parts), names))[1]
    size = sum(file.stat().st_size for file in parts.iterdir()) / (6 * CHUNK)
    slope = (fits[6] - fits[2]) / (4 * CHUNK)
    return size, slope, fits[2] - 2 * CHUNK * slope


def fit(table, names):
    """Fit a head to a table of features."""
    labels = table.labels("label", "auto", names[0])
    return fit_probe_on_blocks(lambda: table.blocks(names, "label", labels), np.array(list(labels.counts)))


def task_size(extractor):
    """Return the bytes that go to a worker for a chunk, and of these for the network and what it is told."""
    content = pickled_extractor(extractor)
    paths = [PATH.format(i) for i in range(CHUNK)]
    return len(pickle.dumps((embed_chunk, content, paths, "/shared/segments"))), len(content)


def measured(backbone, n_images, n_rounds):
    """Measure all parts of one network."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        extractor, seconds = embedding(folder, backbone, n_images, n_rounds)
        (stored, segment), (in_store, in_segment) = on_disk(folder, extractor.embedding_dim_)
        row, fitted, fixed = head(folder, extractor, 0.0)
        task, content = task_size(extractor)
    return {
        "width of a vector": (extractor.embedding_dim_, "numbers"),
        "photo to vector": (1e3 * seconds, "ms of a core"),
        "vector in the local store": (stored, "bytes"),
        "vector in a segment": (segment, "bytes"),
        "row in the files of features": (row, "bytes"),
        "found again in the local store": (1e6 * in_store, "µs"),
        "found again in a segment": (1e6 * in_segment, "µs"),
        f"task of {CHUNK} photos": (task, "bytes"),
        "of these for the network": (content, "bytes"),
        "row in a fit of the head": (1e6 * fitted, "µs of a core"),
        "a fit of the head besides": (fixed, "s of a core"),
    }


def plan(parts):
    """Add up the parts for several numbers of images."""
    value = {name: number for name, (number, _) in parts.items()}
    n_cores = {10**6: 16, 10**7: 64, 10**9: 1024}
    for n in SIZES:
        hours = n * value["photo to vector"] / 1e3 / 3600
        yield [
            f"{n:,}",
            f"{hours:,.0f}",
            f"{hours / n_cores[n]:,.1f} on {n_cores[n]}",
            f"{n * value['row in the files of features'] / 1e9:,.0f}",
            f"{n * value['vector in a segment'] / 1e9:,.0f}",
            f"{n / 1000:,.0f}",
            f"{n * 16 / 1e6:,.0f}",
            f"{(n * value['row in a fit of the head'] / 1e6 + value['a fit of the head besides']) / 3600:,.1f}",
        ]


def main():
    """Print what was measured, and the plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["tiny_fractal", "efficientnet_lite0"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: measured(name, arguments.images, arguments.rounds) for name in arguments.backbones}
    print(
        header(
            f"JPEG photos of 500 x 375 pixels, {arguments.images} of them, {arguments.rounds} rounds",
            peers=("pyarrow",),
        )
    )
    names = next(iter(found.values()))
    print_table(
        ["part", *found, "unit"],
        [[part, *(f"{own[part][0]:,.4g}" for own in found.values()), names[part][1]] for part in names],
    )
    for name, parts in found.items():
        print(f"\n{name}:\n")
        print_table(
            [
                "images",
                "hours of a core to embed",
                "hours, cores",
                "GB of features",
                "GB of segments",
                "chunks of 1,000",
                "MB of digests with whoever asks",
                "hours of a core for a head",
            ],
            plan(parts),
        )


if __name__ == "__main__":
    main()
