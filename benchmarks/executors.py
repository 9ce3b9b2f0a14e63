"""What embed_images costs and brings: chunks against `transform` in one process, and two processes against one.

Run with ``python benchmarks/executors.py`` on a machine that does nothing else. Each process has one thread; nothing is
looked up or kept but for the road with segments. Roads take turns.
"""

import argparse
import pickle
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from _measure import header, in_turns, make_photos, print_table, seconds, spread

from sktl import PretrainedFeatureExtractor
from sktl.inference import embed_chunk, embed_images, pickled_extractor

_BYTES_OF_A_PATH = 100


def one_process(extractor, paths, folder, n_rounds):
    """Return rows: chunks in this process against `transform`."""
    numbers = iter(range(10**9))
    run = partial(embed_images, paths, extractor, progress=False)
    roads = {"transform": lambda: seconds(lambda: extractor.transform(paths))}
    for size in (32, 128, 512):
        roads[f"chunks of {size}"] = lambda size=size: seconds(lambda: run(chunk_size=size))
    roads["chunks of 128 into segments"] = lambda: seconds(
        lambda: run(chunk_size=128, out=folder / f"segments {next(numbers)}")
    )
    return rows_of(roads, n_rounds, len(paths), "transform")


def several_processes(extractor, paths, n_rounds, chunk_size):
    """Return rows: two worker processes of one thread against one; they are there, and have the network."""
    options = {"mp_context": get_context("spawn"), "initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(1, **options) as one, ProcessPoolExecutor(2, **options) as two:
        pools = {"one process": one, "two processes": two}
        run = partial(embed_images, paths, extractor, chunk_size=chunk_size, progress=False)
        for pool in pools.values():
            run(executor=pool)
        roads = {name: lambda pool=pool: seconds(lambda: run(executor=pool)) for name, pool in pools.items()}
        return rows_of(roads, n_rounds, len(paths), "one process")


def rows_of(roads, n_rounds, n_images, base):
    """Run roads in turns; return a row for each: time of an image, and how many times as fast it is as the base."""
    times = {name: np.array(own) for name, own in in_turns(roads, n_rounds).items()}
    return [
        [name, spread(1e3 * own / n_images, ".2f"), spread(times[base] / own, ".2f")] for name, own in times.items()
    ]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", default="resnet18")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(folder, options.images)
        extractor = PretrainedFeatureExtractor(options.backbone, weights=None, random_state=0, cache=False)
        extractor.fit(paths[:1])
        print(header(options.backbone, f"{options.images} photos", f"{options.rounds} rounds", peers=("dask",)))
        columns = ["ms per image, median (least to greatest)", "times as fast"]
        print_table(["in this process", *columns], one_process(extractor, paths, Path(folder), options.rounds))
        chunk_size = max(options.images // 16, 1)
        print_table(
            [f"chunks of {chunk_size} by", *columns], several_processes(extractor, paths, options.rounds, chunk_size)
        )
        content = pickled_extractor(extractor)
        task = pickle.dumps((embed_chunk, (content, [f"{i:0{_BYTES_OF_A_PATH}}" for i in range(512)], None)))
        print(
            f"An extractor has {len(content)} bytes, a task {len(task) - 512 * _BYTES_OF_A_PATH} besides its 512 paths."
        )


if __name__ == "__main__":
    main()
