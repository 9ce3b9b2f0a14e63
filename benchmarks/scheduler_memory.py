"""What the scheduler of a cluster holds while 128 chunks of embed_images are with it: no weights, no pixels.

Run with ``python benchmarks/scheduler_memory.py``; it takes two minutes. Scheduler and workers are processes of
their own. All photos have the content of one of eight, so that nearly nothing is computed: what
travels is the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from _measure import header, make_photos, print_table
from distributed import Client

from sktl import PretrainedFeatureExtractor
from sktl.inference import embed_images, pickled_extractor
from sktl.inference.progress import told_to

N_PHOTOS, IN_FLIGHT = 8, 128


@contextmanager
def cluster(folder, n_workers=2):
    """Start a scheduler and workers, and give a client."""
    address = ["--scheduler-file", str(folder / "scheduler.json")]
    commands = {
        "scheduler": ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        "worker": ["--nworkers", str(n_workers), "--nthreads", "1", "--no-dashboard"],
    }
    with ExitStack() as stack:
        for name, options in commands.items():
            command = [sys.executable, "-m", "dask", name, *address, *options]
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(process.terminate)
        with Client(scheduler_file=address[1]) as client:
            client.wait_for_workers(n_workers, timeout=60)
            yield client


def state(client):
    """Return how many tasks are with the scheduler, its resident memory in bytes, and whether it has loaded torch."""
    return client.run_on_scheduler(
        lambda dask_scheduler: (len(dask_scheduler.tasks), psutil.Process().memory_info().rss, "torch" in sys.modules)
    )


def embedding(client, extractor, paths, folder, chunk_size):
    """Return the states of the scheduler before, whenever a chunk was done, and afterwards."""
    states = [state(client)]
    with told_to(lambda unit, n_done, total: states.append(state(client))):
        options = {"out": folder / "segments", "chunk_size": chunk_size, "max_in_flight": IN_FLIGHT}
        embed_images(paths, extractor, executor=client.get_executor(), progress=False, **options)
    return [*states, state(client)]


def linked(folder, photos, n_paths):
    """Give photos so many names, of a hundred characters and more."""
    names = folder / ("x" * 70)
    names.mkdir()
    paths = [str(names / f"{i:08}.jpg") for i in range(n_paths)]
    for i, path in enumerate(paths):
        os.link(photos[i % len(photos)], path)
    return paths


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=2 * IN_FLIGHT)
    parser.add_argument("--chunk-size", type=int, default=512)
    parser.add_argument("--backbone", default="resnet18")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SKTL_CACHE_DIR"] = str(folder / "store")
        photos = make_photos(folder, N_PHOTOS)
        paths = linked(folder, photos, options.chunks * options.chunk_size)
        extractor = PretrainedFeatureExtractor(options.backbone, weights=None, random_state=0).fit(paths[:1])
        with cluster(folder) as client:
            states = embedding(client, extractor, paths, folder, options.chunk_size)
        print(header(options.backbone, f"{len(paths):,} paths of {len(paths[0])} characters", peers=("dask",)))
        before, *during, after = states
        found = {"before": before, "most chunks": max(during), "most memory": max(during, key=lambda one: one[1])}
        rows = []
        for what, (n_tasks, memory, has_torch) in {**found, "afterwards": after}.items():
            more = memory - before[1]
            rows.append([what, f"{n_tasks}", f"{memory / 2**20:.1f}", f"{more / 2**20:.1f}", str(has_torch)])
        print_table(["", "chunks with the scheduler", "MiB", "more MiB", "torch is loaded"], rows)
        weights = sum(value.nbytes for value in extractor.backbone_.stages.state_dict().values())
        files = options.chunk_size * IN_FLIGHT * os.path.getsize(photos[0])
        print(f"\nAn extractor has {len(pickled_extractor(extractor)):,} bytes, its weights {weights / 2**20:.1f} MiB.")
        print(f"The files of {IN_FLIGHT} chunks have {files / 2**20:,.0f} MiB.")


if __name__ == "__main__":
    main()
