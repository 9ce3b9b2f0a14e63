"""What segments cost: a tier that holds nothing, vectors from segments against the local store, and growth.

Run with ``python benchmarks/segments.py`` for the first two tables, and with ``--growth`` for the third, which writes
up to ten million made vectors to a temporary folder (700 MB for these; TMPDIR says where) and reads them in processes
of their own. Roads take turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _measure import header, in_turns, make_arrays, print_table, seconds, spread

from sktl import PretrainedFeatureExtractor
from sktl.store import EmbeddingStore, SegmentFolder, write_segment

_PART = 256  # images that are looked up together, as `transform` does
_IN_A_SEGMENT = 25_000
_LOOKED_UP = 20_000


class Key(NamedTuple):
    """A cache key without a network."""

    digest: bytes
    description: str
    n_bytes: int


def made(seed, n_vectors, width):
    """Return vectors by digest, the same for the same seed."""
    rng = np.random.default_rng(seed)
    digests, rows = rng.bytes(16 * n_vectors), rng.random((n_vectors, width), dtype=np.float32)
    return {digests[16 * i : 16 * i + 16]: row for i, row in enumerate(rows)}


def parts(digests):
    """Yield what is looked up together."""
    for start in range(0, len(digests), _PART):
        yield digests[start : start + _PART]


def look_up(store, key, digests):
    """Look everything up and return how long it takes; all must be there."""
    start = time.perf_counter()
    n_found = sum(len(store.read(key, part)) for part in parts(digests))
    taken = time.perf_counter() - start
    if n_found < len(digests):
        raise RuntimeError("not all vectors were found")
    return taken


def cold(folder, n_images, n_rounds):
    """Return rows: what it takes to embed images with the bundled network, by what is looked up besides."""
    X = make_arrays(n_images, 64)
    extractor = PretrainedFeatureExtractor(device="cpu").fit(X)
    others = folder / "others"
    for seed in range(10):
        write_segment(others, Key(b"another key", "made", 4 * 192), made(seed, 1000, 192))
    numbers = iter(range(10**9))
    (folder / "nothing").mkdir()

    def road(*segments):
        cache = [folder / f"store {next(numbers)}", *segments]
        return seconds(lambda: extractor.set_params(cache=cache if segments else cache[0]).transform(X))

    _fill_own_key(extractor.set_params(cache=folder / "store"), X, folder / "own")
    roads = {
        "the local store alone": road,
        "a folder without segments": lambda: road(folder / "nothing"),
        "segments of other recipes": lambda: road(others),
        "segments of other images": lambda: road(folder / "own"),
    }
    for segments in ((), (others,)):  # imports are not what is measured
        road(*segments)
    times = {name: np.array(own) for name, own in in_turns(roads, n_rounds).items()}
    base = times["the local store alone"]
    _print_misses(folder)
    return [[name, spread(1e3 * own / n_images, ".2f"), spread(own / base, ".3f")] for name, own in times.items()]


def _print_misses(folder):
    """Print what a look-up takes that finds nothing, alone: less than rounds of embedding can show."""
    absent, found = list(made(99, 100_000, 1)), []
    for name in ("nothing", "others"):
        segments, key = SegmentFolder(folder / name), Key(b"another key", "made", 4 * 192)
        segments.read(key, absent[:1])
        taken = [seconds(lambda: [segments.read(key, part) for part in parts(absent)]) for _ in range(3)]  # noqa: B023
        found.append(f"{1e6 * min(taken) / len(absent):.2f}")
    print("A look-up that finds nothing: {} µs an image without segments, {} with ten of other images\n".format(*found))


def _fill_own_key(extractor, X, folder):
    """Write segments of other images under the very key of an extractor."""
    extractor.transform(X[:1])
    database = EmbeddingStore(Path(extractor.cache), 10**9)
    ((digest, description),) = database._attempt(
        lambda own: own._connection.execute("SELECT digest, description FROM recipes").fetchall(), []
    )
    for seed in range(10):
        write_segment(folder, Key(digest, description, 4 * 192), made(seed, 1000, 192))
    database.close()


def warm(folder, n_vectors, width, n_rounds):
    """Return rows: vectors from the local store and from segments, in random order."""
    key = Key(b"a key", "made", 4 * width)
    store, roads = EmbeddingStore(folder / "local", 10**11), {}
    vectors = made(0, n_vectors, width)
    digests = list(vectors)
    for start in range(0, n_vectors, 1000):
        store.write(key, {digest: vectors[digest] for digest in digests[start : start + 1000]}, None, 0.0)
    roads["the local store"] = lambda: look_up(store, key, digests)
    for n_segments in (4, 100):
        place = folder / f"{n_segments} segments"
        for i in range(n_segments):
            own = digests[i::n_segments]
            write_segment(place, key, {digest: vectors[digest] for digest in own})
        segments = SegmentFolder(place)
        look_up(segments, key, digests[:1])
        roads[f"{n_segments} segments"] = lambda segments=segments: look_up(segments, key, digests)
    times = {name: np.array(own) for name, own in in_turns(roads, n_rounds).items()}
    base = times["the local store"]
    store.close()
    return [[name, spread(1e6 * own / n_vectors, ".1f"), spread(own / base, ".2f")] for name, own in times.items()]


def read_in_this_process(folder, width):
    """Print what opening and looking up takes, as JSON; memory is the greatest that this process has had."""
    import pyarrow.parquet  # noqa: F401

    key, content = Key(b"a key", "made", 4 * width), (Path(folder) / "wanted").read_bytes()
    wanted = [content[i : i + 16] for i in range(0, len(content), 16)]
    before, segments = _memory(), SegmentFolder(folder)
    opened = seconds(lambda: segments.read(key, wanted[:1]))
    after_opening = _memory()
    taken = look_up(segments, key, wanted)
    print(json.dumps([opened, after_opening - before, 1e6 * taken / len(wanted), _memory() - before]))


def _memory():
    """Return the greatest resident memory of this process by now, in MiB; that of a parent does not count."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def growth(sizes, n_segments, width):
    """Return rows: writing and reading by the number of vectors."""
    rows = []
    for n_vectors in sizes:
        n_own = n_segments or max(n_vectors // _IN_A_SEGMENT, 1)
        n_in_a_segment = n_vectors // n_own
        with tempfile.TemporaryDirectory() as folder:
            key = Key(b"a key", "made", 4 * width)
            written, wanted = 0.0, []
            for seed in range(n_own):
                vectors = made(seed, n_in_a_segment, width)
                wanted += list(vectors)[:: max(n_vectors // _LOOKED_UP, 1)]
                written += seconds(partial(write_segment, folder, key, vectors))
            size = sum(file.stat().st_size for file in Path(folder).rglob("*.parquet"))
            np.random.default_rng(0).shuffle(wanted)
            (Path(folder) / "wanted").write_bytes(b"".join(wanted))
            command = [sys.executable, __file__, "--read", folder, str(width)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            opened, indexed, each, most = json.loads(done.stdout)
        rows.append(
            [
                f"{n_vectors:,}",
                str(n_own),
                f"{size / 1e6:.0f} MB",
                f"{1e6 * written / n_vectors:.1f}",
                f"{opened:.2f} s",
            ]
            + [f"{indexed:.0f} MiB", f"{each:.1f}", f"{most:.0f} MiB"]
        )
    return rows


def main():
    """Print markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--growth", action="store_true", help="the table of growth alone")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--segments", type=int, help="their number, whatever the size")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read_in_this_process(options.read[0], int(options.read[1]))
        return
    print(header(f"{options.rounds} rounds", peers=("pyarrow",)))
    if options.growth:
        columns = ["vectors", "segments", "on disk", "µs to write one", "opened in", "memory of that"]
        print_table([*columns, "µs to look one up", "memory in all"], growth(options.sizes, options.segments, 8))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = cold(Path(folder), options.images, options.rounds)
        print_table(["looked up besides", "ms per image, median (least to greatest)", "ratio"], rows)
        rows = warm(Path(folder), options.vectors, 512, options.rounds)
        print_table(["vectors of 512 numbers from", "µs each, median (least to greatest)", "ratio"], rows)


if __name__ == "__main__":
    main()
