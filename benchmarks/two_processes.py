"""Two processes that embed at once into one fresh store: how much faster than one, and how much is computed twice.

Run with ``python benchmarks/two_processes.py``. The processes are started and have embedded a few images before the
clock starts, and they begin at the same moment. Images computed are
counted where they enter the network.
"""

import argparse
import itertools
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from _measure import CountedExtractor, header, in_turns, log_images_to, logged_images, make_photos, print_table, spread

ALONE = "one process, all images"


def embed(backbone, paths, store, start):
    """Embed from a moment on, and return the moment of the end."""
    extractor = CountedExtractor(backbone, weights=None, random_state=0, device="cpu", cache=store).fit(paths)
    time.sleep(max(0.0, start - time.time()))
    extractor.transform(paths)
    return time.time()


def warm_up(backbone, paths, log):
    """Import, load and embed once, so that the clock does not see it."""
    log_images_to(log)
    embed(backbone, paths, False, 0.0)


def at_once(processes, backbone, parts, store):
    """Give every process its part, and return the seconds until the last is ready and the images computed in all."""
    before = logged_images()
    start = time.time() + 1.0
    jobs = [
        process.submit(embed, backbone, part, store, start) for process, part in zip(processes, parts, strict=False)
    ]
    return max(job.result() for job in jobs) - start, logged_images() - before


def compare(processes, backbone, paths, folder, n_rounds):
    """Return what each way of sharing the work returns, round by round."""
    third = len(paths) // 3
    ways = {
        ALONE: [paths],
        "two processes, all images each": [paths, paths],
        "two processes, the second from the end": [paths, paths[::-1]],
        "two processes, two thirds each, half of it in common": [paths[: 2 * third], paths[third:]],
        "two processes, one half each": [paths[: len(paths) // 2], paths[len(paths) // 2 :]],
    }
    numbers = itertools.count()

    def road(parts):
        return lambda: at_once(processes, backbone, parts, folder / f"store-{next(numbers)}")

    return in_turns({name: road(parts) for name, parts in ways.items()}, n_rounds)


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(header(f"{options.backbone}, {options.images} distinct JPEG photos, {options.rounds} rounds"))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = make_photos(folder, options.images)
        log_images_to(folder / "log")
        processes = [ProcessPoolExecutor(1, mp_context=get_context("spawn")) for _ in range(2)]
        for process in processes:
            process.submit(warm_up, options.backbone, paths[:8], folder / "log").result()
        rounds = compare(processes, options.backbone, paths, folder, options.rounds)
        for process in processes:
            process.shutdown()
    rows = []
    for name, outcome in rounds.items():
        times, counts = zip(*outcome, strict=True)
        ratios = [time / alone for time, (alone, _) in zip(times, rounds[ALONE], strict=True)]
        rows.append([name, spread(times, ".2f"), spread(ratios, ".2f"), spread(counts, ".0f")])
    columns = ["work", "seconds, median (least to greatest)", "against one process", "images computed in all"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
