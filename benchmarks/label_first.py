"""What it is worth to choose the images that are labelled first, rather than to draw them.

Run with ``python benchmarks/label_first.py --data FOLDER``; the folder is one as _datasets.py describes it. Of the
training images of a split, some are given their labels: those that `label_first` chooses on penultimate embeddings,
those of plain farthest-first traversal, or images drawn by chance (the mean of five draws). The recipe "frozen" learns
from them and is scored on the test images. Every score is a line of --results, and a second run does what is missing.
"""

import argparse
from pathlib import Path

import numpy as np
from _datasets import MAX_TRAIN, SETS, load_set, take
from _measure import header, print_table
from _study import append_record, interval, read_records
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import normalize

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.label_efficiency import label_first

KEY = ("set", "network", "seed", "way", "n")
NETWORKS = {"efficientnet_lite0": 96, "tiny_fractal": 48}
STUDY = tuple(name for name in SETS if name != "pneumonia28")
SIZES = (10, 20, 40, 80)
N_DRAWS = 5
MAX_IMAGES = 1000


def farthest_first(Z, n):
    """Choose images by farthest-first traversal, from the one in the middle on."""
    distances = pairwise_distances(normalize(Z - Z.mean(axis=0)))
    chosen = [int(np.argmin(distances.sum(axis=0)))]
    while len(chosen) < n:
        chosen.append(int(np.argmax(distances[chosen].min(axis=0))))
    return np.array(chosen)


def choices(way, Z, n, seed):
    """Return the choices of n images that a way stands for."""
    if way == "drawn":
        return [np.random.default_rng([seed, draw]).permutation(len(Z))[:n] for draw in range(N_DRAWS)]
    return [(label_first if way == "label_first" else farthest_first)(Z, n)]


def accuracy(features, y, train, test):
    """Score what is learnt from images of perhaps one class alone."""
    if len(np.unique(y[train])) < 2:
        return float(np.mean(y[test] == y[train][0]))
    return LinearProbeClassifier().fit(features[train], y[train]).score(features[test], y[test])


def embedded(options, name, network):
    """Return penultimate embeddings, the features of the recipe "frozen", and labels of a set."""
    X, y = load_set(options.data, name)
    kept = np.random.default_rng(0).permutation(len(y))[:MAX_IMAGES]
    X, y = take(X, kept), y[kept]
    shared = {"backbone": network, "image_size": NETWORKS[network], "device": "cpu"}
    return PretrainedFeatureExtractor(**shared).fit_transform(X), frozen_extractor(**shared).fit_transform(X), y


def run(options):
    """Do what is missing."""
    done = read_records(options.results, KEY)
    for name in options.sets:
        for network in options.networks:
            Z, features, y = embedded(options, name, network)
            for seed in options.seeds:
                pool, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
                pool = pool[:MAX_TRAIN]
                for way in ("label_first", "farthest_first", "drawn"):
                    for n in SIZES:
                        key = {"set": name, "network": network, "seed": seed, "way": way, "n": n}
                        if tuple(key.values()) not in done:
                            chosen = [pool[i] for i in choices(way, Z[pool], n, seed)]
                            scores = [accuracy(features, y, train, test) for train in chosen]
                            share = np.mean([len(np.unique(y[train])) for train in chosen]) / len(np.unique(y))
                            append_record(
                                options.results, {**key, "accuracy": float(np.mean(scores)), "classes": float(share)}
                            )


def print_results(options):
    """Print, for each number of labels, what was drawn scores and what the choices gain, with intervals over sets."""
    records = read_records(options.results, KEY).values()
    lines = []
    for network in options.networks:
        for n in SIZES:
            rows = [r for r in records if (r["network"], r["n"]) == (network, n) and r["seed"] in options.seeds]
            mean = {
                (way, name, what): np.mean([r[what] for r in rows if (r["way"], r["set"]) == (way, name)])
                for way in ("label_first", "farthest_first", "drawn")
                for name in options.sets
                for what in ("accuracy", "classes")
            }
            cells = [f"{100 * np.mean([mean['drawn', name, 'accuracy'] for name in options.sets]):.1f}"]
            for way in ("farthest_first", "label_first"):
                gains = [100 * (mean[way, s, "accuracy"] - mean["drawn", s, "accuracy"]) for s in options.sets]
                cells.append("{:+.1f} ± {:.1f} ({:+.1f} to {:+.1f})".format(*interval(gains), min(gains), max(gains)))
            for way in ("drawn", "label_first"):
                cells.append(f"{100 * np.mean([mean[way, s, 'classes'] for s in options.sets]):.0f} %")
            lines.append([network, f"{n}", *cells])
    print(header(f"sets {', '.join(options.sets)}; seeds {options.seeds}"))
    columns = ["network", "labels", "drawn", "farthest first", "label_first", "classes met, drawn", "label_first"]
    print_table(columns, lines)
    print("\nGain over images drawn: mean over sets, half its 95 % interval over sets; in brackets least and greatest.")


def main():
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--results", type=Path, default=Path("out/label_first.jsonl"))
    parser.add_argument("--sets", nargs="+", default=STUDY)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--table", action="store_true", help="print the table of what there is, and run nothing")
    options = parser.parse_args()
    if not options.table and (options.data is None or not options.data.is_dir()):
        parser.error(f"--data must be the folder of the data sets, such as {SETS[0]}, one folder each.")
    if not options.table:
        run(options)
    print_results(options)


if __name__ == "__main__":
    main()
