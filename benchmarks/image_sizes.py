"""At which size should the bundled network see pictures? Accuracy of the frozen recipe, size by size and side by side.

Run with ``python benchmarks/image_sizes.py --data FOLDER``; the folder is one as _datasets.py describes it. Images are
embedded once at each size, all stages, averages and standard deviations; what stands on the features is that of the
candidate "frozen". "a + b" has the features of two sizes side by side, as ``make_union`` puts them. Splits are those of
fine_tuning.py, another one for each seed.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _datasets import SETS, load_set, split
from _measure import header, print_table
from sklearn.datasets import load_digits

from sktl.feature_extraction.frozen_pipeline import frozen_pipeline

SINGLE = (48, 64, 96, 128)
PAIRS = ((48, 96), (48, 128))
MAX_IMAGES = 900


def load(folder, name):
    """Read a set, or a part of it."""
    if name == "digits":
        digits = load_digits()
        X, y = digits.images, digits.target
    else:
        X, y = load_set(folder, name)
    if len(y) > MAX_IMAGES:
        rows = np.sort(np.random.default_rng(0).permutation(len(y))[:MAX_IMAGES])
        X, y = X[rows] if isinstance(X, np.ndarray) else [X[i] for i in rows], y[rows]
    return X, y


def measure_set(X, y, options, name, accuracies, seconds):
    """Embed one set at all sizes, and fit and score on all splits."""
    features = {}
    for size in SINGLE:
        start = time.perf_counter()
        extractor = frozen_pipeline("classification", backbone=options.backbone, image_size=size, cache=False)[0]
        features[str(size)] = extractor.fit_transform(X)
        seconds[size] = seconds.get(size, 0.0) + time.perf_counter() - start
    features |= {f"{a} + {b}": np.hstack([features[str(a)], features[str(b)]]) for a, b in PAIRS}
    for seed in options.seeds:
        training, test = split(y, seed)
        for size in set(options.sizes) & set(training):
            train = training[size]
            for key, Z in features.items():
                head = frozen_pipeline("classification")[1:].fit(Z[train], y[train])
                accuracies.setdefault((name, size), {}).setdefault(key, []).append(100 * head.score(Z[test], y[test]))


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--backbone", default="tiny_fractal")
    parser.add_argument("--sets", nargs="+", default=[*SETS, "digits"])
    parser.add_argument("--sizes", nargs="+", default=["50", "200"], help="numbers of training images")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    return parser.parse_args()


def main():
    """Measure, and print the table."""
    options = parse()
    print(header(options.backbone, f"{len(options.seeds)} seed(s)"))
    accuracies, seconds, n_images = {}, {}, 0
    for name in options.sets:
        X, y = load(options.data, name)
        n_images += len(y)
        measure_set(X, y, options, name, accuracies, seconds)
    keys = list(next(iter(accuracies.values())))
    order = sorted(accuracies, key=lambda row: (options.sizes.index(row[1]), options.sets.index(row[0])))
    means = {row: {key: np.mean(values) for key, values in accuracies[row].items()} for row in order}
    lines = [[name, size, *(f"{means[name, size][key]:.1f}" for key in keys)] for name, size in order]
    for size in options.sizes:
        rows = [row for row in order if row[1] == size]
        if rows:
            lines.append(["mean", size, *(f"{np.mean([means[row][key] for row in rows]):.1f}" for key in keys)])
    taken = {key: sum(seconds[int(part)] for part in key.split(" + ")) for key in keys}
    lines.append(["milliseconds per image", "", *(f"{1000 * taken[key] / n_images:.1f}" for key in keys)])
    print_table(["set", "training images", *keys], lines)
    print("\nAccuracy in per cent, mean over seeds; milliseconds include reading files.")


if __name__ == "__main__":
    main()
