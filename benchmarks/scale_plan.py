"""What embedding any number of images takes: the parts as measured here, and what they add up to.

Run with ``python benchmarks/scale_plan.py``; it takes a minute. Times are processor seconds of one thread, so that they
mean something beside other work. Photos and vectors are made up, which changes neither.
"""

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas
import torch
from _measure import header, make_photos, print_table

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.cli._feature_tables import FeatureTable
from sktl.cli._folders import find_images
from sktl.cli._parts import write_part
from sktl.feature_extraction.out_of_core import fit_probe_on_blocks
from sktl.inference import EmbeddedChunk, embed_chunk, pickled_extractor
from sktl.store import EmbeddingStore, SegmentFolder, write_segment

N_CLASSES = 10
CHUNK = 1000
PATH = "/data/photos/2026/11/IMG_{:012}.jpg"
SIZES = {10**7: 16, 10**9: 1024}  # photos, and cores to embed them


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
    return X.astype(np.float32), labels


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
    found = [cpu(lambda tier=tier: tier.read(key, digests))[1] / len(rows) for tier in (store, segments)]
    store.close()
    sizes = [sum(file.stat().st_size for file in (folder / name).rglob("*.*")) for name in ("store", "segments")]
    return [size / len(rows) for size in sizes], found


def make_parts(folder, names, n_parts):
    """Write made features in parts, as `sktl embed` does."""
    folder.mkdir()
    for number in range(n_parts):
        X, labels = vectors_of(len(names), seed=number)
        chunk = EmbeddedChunk(*X.shape, X, [], 0, len(X))
        cells = {"path": [PATH.format(i) for i in range(CHUNK)], "label": [f"class {k}" for k in labels]}
        with patch("sktl.inference.embed_chunk", return_value=chunk):
            write_part(b"", [], cells, folder / f"{number}.parquet", list(cells), names, {"made": True}, "raise")
    return sum(file.stat().st_size for file in folder.iterdir())


def head(folder, names):
    """Return bytes of a row of features, seconds of a core for one in a fit, and seconds of a fit besides."""
    sizes = {n_parts: make_parts(folder / f"{n_parts} parts", names, n_parts) for n_parts in (2, 6)}
    fits = {n: cpu(lambda n=n: fit(FeatureTable(folder / f"{n} parts"), names))[1] for n in sizes}
    slope = (fits[6] - fits[2]) / (4 * CHUNK)
    return sizes[6] / (6 * CHUNK), slope, fits[2] - 2 * CHUNK * slope


def memory(n_rows, width=256):
    """Return the MiB that a fit takes in a process of its own, and its seconds, from the files and from an array."""
    names = [f"f{i:03}" for i in range(width)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "parts")
        make_parts(folder, names, n_rows // CHUNK)
        return [
            subprocess.run([sys.executable, __file__, road, folder], check=True, capture_output=True, text=True).stdout
            for road in ("--fit-blocks", "--fit-array")
        ]


def fit_here(folder, at_once):
    """Fit a head, and print the greatest memory it took and its seconds."""
    table = FeatureTable(Path(folder))
    names = [name for name in table.columns if name not in ("path", "label")]
    before, start = _peak(), time.process_time()
    if at_once:
        frame = pandas.read_parquet(folder)
        LinearProbeClassifier().fit(frame[names].to_numpy(), frame["label"])
    else:
        fit(table, names)
    print(f"{_peak() - before:,.0f} MiB, {time.process_time() - start:.3g} s", end="")


def _peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def fit(table, names):
    """Fit a head to a table of features."""
    labels = table.labels("label", "auto", names[0])
    return fit_probe_on_blocks(lambda: table.blocks(names, "label", labels), np.array(list(labels.counts)))


def task_size(extractor):
    """Return the bytes that go to a worker for a chunk, and of these for the network and what it is told."""
    content = pickled_extractor(extractor)
    paths = [PATH.format(i) for i in range(CHUNK)]
    return len(pickle.dumps((embed_chunk, content, paths, "/shared/segments"))), len(content)


def listed(folder, n_photos=5000):
    """Return the greatest memory that `sktl embed FOLDER` takes for the name of a photo."""
    place = folder / "photos" / "2026-11"
    place.mkdir(parents=True)
    for i in range(n_photos):
        (place / f"IMG_{i:012}.jpg").touch()
    tracemalloc.start()
    find_images([folder / "photos"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / n_photos


def measured(backbone, n_images, n_rounds):
    """Measure all parts of one network."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        extractor, seconds = embedding(folder, backbone, n_images, n_rounds)
        (stored, segment), (in_store, in_segment) = on_disk(folder, extractor.embedding_dim_)
        row, fitted, fixed = head(folder, [str(name) for name in extractor.get_feature_names_out()])
        task, content = task_size(extractor)
        name = listed(folder)
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
        "photo in the list of a command": (name, "bytes"),
        "row in a fit of the head": (1e6 * fitted, "µs of a core"),
        "a fit of the head besides": (fixed, "s of a core"),
    }


def plan(found):
    """Add up the parts of each network for several numbers of images."""
    for n, n_cores in SIZES.items():
        for name, parts in found.items():
            value = {part: number for part, (number, _) in parts.items()}
            hours = n * value["photo to vector"] / 1e3 / 3600
            head = n * value["row in a fit of the head"] / 1e6 + value["a fit of the head besides"]
            sizes = [n * value[f"{kind}"] / 1e9 for kind in ("row in the files of features", "vector in a segment")]
            lists = n * value["photo in the list of a command"] / 1e9
            own = [hours, *sizes, n / CHUNK, lists, head / 3600]
            yield [
                f"{n:,}",
                name,
                f"{hours / n_cores:.2g} on {n_cores}",
                *(f"{float(f'{one:.2g}'):,.5g}" for one in own),
            ]


def main():
    """Print what was measured, and the plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["tiny_fractal", "efficientnet_lite0"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--rows", nargs="*", type=int, default=[20_000, 200_000], help="of fits whose memory is measured"
    )
    parser.add_argument("--fit-blocks", help=argparse.SUPPRESS)
    parser.add_argument("--fit-array", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if folder := arguments.fit_blocks or arguments.fit_array:
        return fit_here(folder, at_once=bool(arguments.fit_array))
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
    print()
    print_table(
        [
            "photos",
            "network",
            "hours, cores",
            "hours of a core",
            "GB of features",
            "GB of segments",
            f"parts of {CHUNK}",
            "GB for the list of a command",
            "hours of a core for a head",
        ],
        plan(found),
    )
    print()
    print_table(
        ["rows of 256 numbers", "from the files in blocks", "from an array"],
        [[f"{n_rows:,}", *memory(n_rows)] for n_rows in arguments.rows],
    )


if __name__ == "__main__":
    main()
