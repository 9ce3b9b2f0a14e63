"""One ratio for each promise of docs/benchmarks.md, within three minutes, beside what that page says and a floor.

Run ``python benchmarks/quick.py [word …]``, as ``make bench-quick`` does, before and after a change to what many images
go through. The modules that made the page measure, with fewer images and rounds. Ratios say how many times better sktl
is, so more is better, and the exit code is 1 when a median is below its floor. Floors leave room for other machines and
for small numbers of images: they find what is broken, not what is a tenth slower.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import cold
import engines
import grid_search
import growth
import joblib
import one_image
import prefix
import torch
import two_processes
import warm_store
from _measure import header, in_turns, log_images_to, make_photos, print_table, seconds, spread

from sktl import FineTuneClassifier
from sktl.backbones import load_backbone
from sktl.inference import block_rows
from sktl.inference._device import bfloat16_instructions

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
ROUNDS = 3

# What is promised, the least ratio that passes, what measures it (takes a folder, returns the ratio of every round);
# the section of the page, and the two figures there whose ratio it is: each a number, or the start of a row and a cell.
Promise = namedtuple("Promise", "name floor measure section over under")


def claimed(promise, page):
    """Return the ratio that the page states."""
    heading = re.escape(promise.section)
    rows = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1].splitlines()

    def figure(place):
        if not isinstance(place, tuple):
            return place
        row = next(row for row in rows if row.startswith(place[0]))
        return float(row.split("|")[place[1]].split()[0])

    return figure(promise.over) / figure(promise.under)


def over(rounds, other, own):
    """Return how many times as long one road takes as another, round by round."""
    return [a / b for a, b in zip(rounds[other], rounds[own], strict=True)]


def from_files(name, folder):
    """Embed JPEG files by sktl and by the loop of every tutorial."""
    paths = make_photos(folder, 24)
    roads = {"plain": cold.with_torchvision(name, paths), "sktl": cold.with_sktl(name, paths)}
    for road in roads.values():
        road()
    return over(in_turns({key: partial(seconds, road) for key, road in roads.items()}, ROUNDS), "plain", "sktl")


def in_bfloat16(folder):
    """Run a network in both precisions."""
    if bfloat16_instructions() is None:
        return None
    _, backbone = engines.load("mobilenet_v2")
    size = backbone.preprocessing.crop_size
    rows = block_rows(size, torch.device("cpu"), engines.BATCH)
    images = torch.randint(0, 256, (engines.N_IMAGES, 3, size, size), dtype=torch.uint8)
    kinds = ("float32", "bfloat16")
    rounds = engines.measure({kind: engines.own_road(backbone, images, rows, kind) for kind in kinds})
    return [one["float32"] / one["bfloat16"] for one in rounds]


def one_photo(engine, folder):
    """Embed photos that come one by one."""
    photos = [Path(path).read_bytes() for path in make_photos(folder, 6 * ROUNDS + 1)]
    roads, _ = one_image.roads_of("mobilenet_v2", photos)
    roads = {road: roads[road] for road in (one_image.PLAIN, f"sktl {engine}, cache=False")}
    turns = {road: iter(photos[1:]) for road in roads}
    timed = {road: lambda road=road: one_image._milliseconds(roads[road], next(turns[road])) for road in roads}
    return over(in_turns(timed, 6 * ROUNDS), *roads)


def warm(folder):
    """Find vectors in a store, against a resnet18."""
    X = warm_store.make_arrays(400)
    extractor = warm_store.PretrainedFeatureExtractor(warm_store.coarse_network(), device="cpu", cache=folder).fit(X)
    extractor.transform(X)
    roads = {
        "network": warm_store.network_pass(X[:16]),
        "store": lambda: warm_store.warm_pass(extractor, X)[1] / len(X),
    }
    return over(in_turns(roads, ROUNDS), "network", "store")


def grid_with_a_store(folder):
    """Search over a pipeline with a fresh store, against the same search over vectors."""
    X = make_photos(folder, 80)
    stores = iter(range(ROUNDS))
    log_images_to(folder / "log")
    roads = {
        "floor": lambda: seconds(lambda: grid_search.floor("resnet18", X)),
        "sktl": lambda: seconds(lambda: grid_search.with_store("resnet18", X, folder / str(next(stores)))),
    }
    return over(in_turns(roads, ROUNDS), "floor", "sktl")


def grid_without(folder):
    """Search over a pipeline that embeds its images in every fit, against one pass and a search over vectors."""
    X = make_photos(folder, 10)
    log_images_to(folder / "log")
    without = partial(grid_search.search, [grid_search.extractor("resnet18", False)], X)
    roads = {"without": partial(seconds, without), "once": lambda: seconds(lambda: grid_search.floor("resnet18", X))}
    return over(in_turns(roads, 1), "without", "once")


def training(depth, own, folder):
    """Train above the cut, against the loop by hand."""
    backbone = load_backbone("resnet18", None, random_state=0)
    paths, y = make_photos(folder, 16), [i % 2 for i in range(16)]
    options = {"augment": None, "max_epochs": prefix.EPOCHS, "batch_size": prefix.BATCH, "random_state": 0}
    model = partial(FineTuneClassifier, backbone, unfreeze_depth=depth, **options)
    with patch.dict(os.environ, {"SKTL_CACHE_DIR": str(folder / "store")}):
        roads = prefix.single_fits(model, partial(prefix.plain_loop, backbone, depth=depth), paths, y, depth)
        roads[own]()  # the store is filled by then
        return over(in_turns({road: roads[road] for road in ("plain torch", own)}, 2), "plain torch", own)


def at_once(folder):
    """Embed the same images in two processes, into one store, against one process."""
    if joblib.cpu_count() < 2:
        return None
    paths = make_photos(folder, 80)
    log_images_to(folder / "log")
    processes = [ProcessPoolExecutor(1, mp_context=get_context("spawn")) for _ in range(2)]
    for process in processes:
        process.submit(two_processes.warm_up, "resnet18", paths[:8], folder / "log").result()
    stores = iter(range(2 * ROUNDS))

    def road(parts):
        return lambda: two_processes.at_once(processes, "resnet18", parts, folder / f"store-{next(stores)}")[0]

    rounds = in_turns({"one": road([paths]), "two": road([paths, paths[::-1]])}, ROUNDS)
    for process in processes:
        process.shutdown()
    return over(rounds, "one", "two")


def memory(folder):
    """Embed few images and many, and look at the memory that each takes at its peak."""
    few, many = (growth.in_a_process(n_images, folder / str(n_images))["peak"] for n_images in (1000, 3000))
    return [few / many]


FILES, SEARCH = "From JPEG files to vectors, cold", "A grid search over a frozen network"
PHOTO, KEPT = "One photo at a time", "The frozen part, computed once"
GROWTH = "From a thousand to a hundred thousand images"
PROMISES = [
    Promise(
        *("JPEG files to vectors, resnet18: a plain loop / sktl", 1.1, partial(from_files, "resnet18")),
        *(FILES, ("| resnet18 | torchvision, plain loop |", 4), 1),
    ),
    Promise(
        *("JPEG files to vectors, mobilenet_v2: a plain loop / sktl", 2, partial(from_files, "mobilenet_v2")),
        *(FILES, ("| mobilenet_v2 | torchvision, plain loop |", 4), 1),
    ),
    Promise(
        *("mobilenet_v2 on a CPU with instructions: float32 / bfloat16", 1.2, in_bfloat16),
        *("bfloat16 on the CPU", ("| mobilenet_v2 (224 px) |", 5), 1),
    ),
    Promise(
        *("one photo, mobilenet_v2: plain torch / sktl", 0.95, partial(one_photo, "torch")),
        *(PHOTO, 1, ("| mobilenet_v2 | sktl torch, cache=False |", 4)),
    ),
    Promise(
        *("one photo, mobilenet_v2: plain torch / sktl with ONNX Runtime", 1.4, partial(one_photo, "onnxruntime")),
        *(PHOTO, 1, ("| mobilenet_v2 | sktl onnxruntime, cache=False |", 4)),
    ),
    Promise(
        *("a stored vector: a resnet18 / hash and look-up", 80, warm),
        *("Warm: everything is in the store", 100, ("| all |", 4)),
    ),
    Promise(
        *("grid search: one pass, then vectors / sktl, fresh store", 0.6, grid_with_a_store),
        *(SEARCH, 1, ("| sktl, fresh store | 200 |", 4)),
    ),
    Promise(
        *("grid search: images embedded in every fit / once", 12, grid_without),
        *(SEARCH, ("| sktl, cache=False | 24 |", 4), 1),
    ),
    Promise(
        *("depth 0, resnet18: the loop by hand / first fit", 5, partial(training, 0, "sktl, kept")),
        *(KEPT, ("| resnet18 | 0 | plain torch |", 5), 1),
    ),
    Promise(
        *("depth 1, resnet18: the loop by hand / from the store", 1.5, partial(training, 1, "sktl, from the store")),
        *(KEPT, ("| resnet18 | 1 | plain torch |", 5), ("| resnet18 | 1 | sktl, from the store |", 5)),
    ),
    Promise(
        *("two processes, one store: one process / two", 1.2, at_once),
        *("Two processes, one store", 1, ("| two processes, the second from the end |", 3)),
    ),
    Promise(
        *("peak memory: 1,000 images / more", 0.9, memory),
        *(GROWTH, ("| 1000 | fresh |", 5), ("| 10000 | fresh |", 5)),
    ),
]


def main():
    """Print one markdown table; return 1 if a ratio is below its floor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="words; promises whose names hold one of them are measured")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    print(header("few images and rounds"))
    print_table(["more is better", "now, median (least to greatest)", "the page", "floor", "", "seconds"], [])
    page, failed = PAGE.read_text(encoding="utf-8"), 0
    for promise in PROMISES:
        if only and not any(word in promise.name for word in only):
            continue
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            ratios = promise.measure(Path(folder))
        is_below = ratios is not None and statistics.median(ratios) < promise.floor
        failed += is_below
        now = "not on this machine" if ratios is None else spread(ratios, ".3g")
        cells = [
            promise.name,
            now,
            f"{claimed(promise, page):.3g}",
            f"{promise.floor:g}",
            "BELOW" if is_below else "ok",
        ]
        print(f"| {' | '.join(cells)} | {time.perf_counter() - start:.0f} |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
