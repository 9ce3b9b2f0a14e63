"""Time and memory as the number of images grows: arrays made when they are asked for, embedded into a fresh store.

Run with ``python benchmarks/growth.py [n_images …]``. Every figure comes from a process of its own: first
`fit_transform` of ``tiny_fractal`` with a fresh store, then the same in another process with the filled one. Memory is
the greatest resident size of the process; what it is after one batch, and the size of the array returned, are there to
compare with.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _measure import header, print_table, seconds

from sktl import PretrainedFeatureExtractor

SIDE = 32
MIB = 2**20


class ImagesMadeWhenAsked:
    """Looks like an array (n_images, 32, 32, 3) of bytes, as an h5py or zarr data set does, and holds no pixels."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, n_images):
        self.shape = (n_images, SIDE, SIDE, 3)
        self._pattern = np.random.default_rng(0).integers(0, 256, self.shape[1:], dtype=np.uint8)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, i):
        """Make image i, unlike every other."""
        image = self._pattern.copy()
        image[0, 0] = np.frombuffer(int(i).to_bytes(3, "big"), dtype=np.uint8)
        return image


def peak_memory():
    """Return the greatest resident size of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says starts from the size of the parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def embed_once(n_images, store):
    """Embed in this process, and print what it took as JSON."""
    PretrainedFeatureExtractor(device="cpu", cache=False).fit_transform(ImagesMadeWhenAsked(32))
    before = peak_memory()
    extractor = PretrainedFeatureExtractor(device="cpu", cache=store)
    vectors = []
    time = seconds(lambda: vectors.append(extractor.fit_transform(ImagesMadeWhenAsked(n_images))))
    facts = {"seconds": time, "before": before, "peak": peak_memory(), "array": vectors[0].nbytes / MIB}
    print(json.dumps(facts))


def in_a_process(n_images, store):
    """Run `embed_once` in a process of its own."""
    command = [sys.executable, __file__, "--store", str(store), str(n_images)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def size_on_disk(folder):
    """Return the size of all files in a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_images", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--store", help=argparse.SUPPRESS)  # set in the processes that this one starts
    options = parser.parse_args()
    if options.store:
        embed_once(options.n_images[0], options.store)
        return
    print(header(f"tiny_fractal, arrays of {SIDE} x {SIDE} x 3 bytes made when asked for, one run each"))
    rows = []
    for n_images in options.n_images:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("fresh", "filled"):
                facts = in_a_process(n_images, Path(folder))
                speed = n_images / facts["seconds"]
                sizes = [facts["peak"], facts["before"], facts["array"], size_on_disk(Path(folder))]
                row = [f"{n_images}", name, f"{facts['seconds']:.1f}", f"{speed:.0f}"]
                rows.append(row + [f"{size:.1f}" for size in sizes])
    columns = ["images", "store", "seconds", "images/s", "peak MiB", "MiB after one batch", "MiB returned"]
    print_table([*columns, "MiB on disk"], rows)


if __name__ == "__main__":
    main()
