"""Planted defects: how well they are found, and where, and how much memory that takes.

Run with ``python benchmarks/anomalies.py --data FOLDER``; the folder is one as _datasets.py describes it. Of each set
160 pictures are taken: 130 are normal ones to fit on, and 30 are scored as they are and with a defect of each kind of
_defects.py. Seeds draw which; of digits, drawings and aerial photographs, which are cut into quarters and drawn as a
whole, seeds from 5 on take another class as the normal one.
Detectors: PatchAnomalyDetector, and scikit-learn's IsolationForest and nearest neighbours (cosine, two) on vectors of
the same network, mean and spread of all its stages. Every fit is a line of --results, and a second run does what is
missing; --table prints what there is. --memory fits with tiny_fractal at 80 pixels on 500 and 5,000 files, each
in a process of its own, and prints its greatest memory.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _defects import KINDS, plant
from _measure import header, print_table
from _study import append_record, read_records
from PIL import Image
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from sktl import PatchAnomalyDetector, PretrainedFeatureExtractor

KEY = ("set", "seed", "detector")
SETS = ("bccd_counts", "rsscn7", "digits", "usps", "doodles6", "pneumonia28", "clothing10")
CLASSES = {  # for seeds below 5, and from 5 on
    "rsscn7": ("forest", "grass"),
    "digits": (3, 8),
    "usps": (3, 8),
    "doodles6": (0, 3),
    "pneumonia28": (0, 0),
}
ARRAYS = {
    "digits": ("digits_mnist_usps", "mnist_images", "mnist_labels"),
    "usps": ("digits_mnist_usps", "usps_train_images", "usps_train_labels"),
    "doodles6": ("doodles6", "images", "labels"),
    "pneumonia28": ("pneumonia28", "train_images", "train_labels"),
}
DETECTORS = ("patches", "forest", "neighbours")
N_TRAIN, N_TEST, FRESH = 130, 30, 5
PARTS = {"rsscn7": 4}  # of a photograph, which stay together
BACKBONE = "efficientnet_lite0"
SIZES = (500, 5000)


def read_set(folder, name, seed):
    """Return all normal pictures of a set, each (height, width, 3)."""
    kind = CLASSES.get(name, (None, None))[seed >= FRESH]
    if name in ARRAYS:
        file, images, labels = ARRAYS[name]
        arrays = np.load(folder / file / f"{file}.npz")
        chosen = arrays[images][arrays[labels].ravel() == kind]
        return [np.repeat(picture[..., None], 3, axis=2) for picture in chosen]
    with open(folder / name / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if kind in (None, row.get("class"))]
    photos = [np.asarray(Image.open(folder / name / row["file"]).convert("RGB")) for row in rows]
    return [part for photo in photos for part in _quarters(photo)] if name in PARTS else photos


def _quarters(photo):
    return [part for half in np.array_split(photo, 2) for part in np.array_split(half, 2, axis=1)]


def draw(options, name, seed):
    """Return normal pictures, test pictures, each as it is and with a defect of each kind, and where these are."""
    pictures, n_parts = read_set(options.data, name, seed), PARTS.get(name, 1)
    pool = np.linspace(0, len(pictures) - 1, N_TRAIN + N_TEST).astype(int)
    order = np.random.default_rng(seed).permutation(pool.reshape(-1, n_parts)).ravel()
    n_train = N_TRAIN // n_parts * n_parts
    with open(options.data / "caltech15" / "index.csv", newline="") as file:
        others = [options.data / "caltech15" / row["file"] for row in csv.DictReader(file)]
    tests, masks = [], []
    for i in order[n_train : n_train + N_TEST]:
        tests.append(pictures[i])
        masks.append(np.zeros(pictures[i].shape[:2], dtype=bool))
        for number, kind in enumerate(KINDS):
            rng = np.random.default_rng([int(i), number])  # the same in all seeds, so that its maps come from the store
            defect, where = plant(pictures[i], kind, rng, Image.open(others[rng.integers(len(others))]))
            tests.append(defect)
            masks.append(where)
    return [pictures[i] for i in order[:n_train]], tests, masks


def score_images(options, detector, normal, tests, seed):
    """Return scores, the greater the more abnormal, of normal pictures that are new, and the fitted detector."""
    if detector == "patches":
        model = PatchAnomalyDetector(BACKBONE, cache=options.store, random_state=seed).fit(normal)
        return -model.score_samples(tests), model
    extractor = PretrainedFeatureExtractor(BACKBONE, layer="all", pooling="avg+std", cache=options.store)
    scaler = StandardScaler().fit(extractor.fit_transform(normal))
    Z, Z_tests = (scaler.transform(extractor.transform(X)) for X in (normal, tests))
    if detector == "forest":
        return -IsolationForest(random_state=seed).fit(Z).score_samples(Z_tests), None
    return NearestNeighbors(n_neighbors=2, metric="cosine").fit(Z).kneighbors(Z_tests)[0].mean(axis=1), None


def measure(options, name, seed, detector):
    """Fit, score, and return the record."""
    normal, tests, masks = draw(options, name, seed)
    start = time.process_time()
    scores, model = score_images(options, detector, normal, tests, seed)
    record = {"set": name, "seed": seed, "detector": detector, "seconds": time.process_time() - start}
    by_kind = scores.reshape(N_TEST, 1 + len(KINDS)).T
    for kind, of_defects in zip(KINDS, by_kind[1:], strict=True):
        record[kind] = roc_auc_score(np.repeat([0, 1], N_TEST), np.concatenate([by_kind[0], of_defects]))
    if model is not None:
        maps = model.anomaly_map(tests)
        record |= {f"{kind} pixels": _pixels(maps[n::4], masks[n::4]) for n, kind in enumerate(KINDS, 1)}
        decisions = model.predict(tests).reshape(N_TEST, 1 + len(KINDS))
        record["false alarms"], record["found"] = (decisions[:, 0] < 0).mean(), (decisions[:, 1:] < 0).mean()
    return record


def _pixels(maps, masks):
    """Return the area under the curve of all pixels of pictures with a defect, at the size of the maps."""
    side = maps.shape[1]
    masks = [np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST)) for mask in masks]
    return roc_auc_score(np.stack(masks)[:, ::2, ::2].ravel(), maps[:, ::2, ::2].ravel())


def run(options):
    """Do what is missing."""
    done = read_records(options.results, KEY)
    for seed in options.seeds:
        for name in options.sets:
            for detector in DETECTORS:
                if (name, seed, detector) not in done:
                    append_record(options.results, measure(options, name, seed, detector))


def print_results(options):
    """Print a line per set and detector, of the seeds to choose by and of those to judge by."""
    records = read_records(options.results, KEY)
    lines = []
    for name in options.sets:
        for detector in DETECTORS:
            rows = [record for (of, _, by), record in records.items() if (of, by) == (name, detector)]
            parts = [[r for r in rows if r["seed"] < FRESH], [r for r in rows if r["seed"] >= FRESH]]
            lines.append([name, detector, *(_cell(part, KINDS) for part in parts if part)])
            if detector == "patches":
                pixels = [f"{kind} pixels" for kind in KINDS]
                lines[-1] += [_cell(part, pixels) for part in parts if part]
                lines[-1] += [f"{100 * np.mean([r[what] for r in rows]):.0f} %" for what in ("false alarms", "found")]
            else:
                lines[-1] += ["–"] * (2 + sum(map(bool, parts)))
    print(header(BACKBONE))
    print_table(
        ["set", "detector", "images", "images, fresh", "pixels", "pixels, fresh", "false alarms", "found"], lines
    )


def _cell(rows, what):
    """Write the mean over seeds of each kind, and that of all with its standard error over seeds."""
    values = np.array([[row[each] for each in what] for row in rows])
    error = values.mean(axis=1).std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else float("nan")
    return f"**{values.mean():.3f}** ± {error:.3f} ({', '.join(f'{mean:.3f}' for mean in values.mean(axis=0))})"


def fit_on_files(folder, n):
    """Fit on files, and print the greatest memory of this process in MiB, and how many patches are remembered."""
    paths = [f"{folder}/{i:04d}.png" for i in range(n)]
    detector = PatchAnomalyDetector(image_size=80, random_state=0, cache=False).fit(paths)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, sum(map(len, detector.patches_)))


def print_memory():
    """Print the greatest memory of fits on more and more images."""
    rng, lines = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(SIZES[-1]):
            small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            small.resize((80, 80), Image.Resampling.BICUBIC).save(f"{folder}/{i:04d}.png")
        for n in SIZES:
            command = [sys.executable, __file__, "--fit-on", folder, str(n)]
            after, n_patches = subprocess.check_output(command, text=True).split()
            lines.append([f"{n:,}", f"{after} MiB", n_patches])
    print_table(["images", "greatest memory of the process", "patches remembered"], lines)


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("anomalies.jsonl"))
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "sktl-anomalies")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(10))
    parser.add_argument("--table", action="store_true", help="print what there is, and fit nothing")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--fit-on", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit_on:
        return fit_on_files(options.fit_on[0], int(options.fit_on[1]))
    if options.memory:
        return print_memory()
    if not options.table:
        run(options)
    return print_results(options)


if __name__ == "__main__":
    main()
