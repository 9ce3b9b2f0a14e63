"""What views of the training images bring and take away, whether augment="auto" sees it, and mirrored prediction.

Run with ``python benchmarks/views.py --data FOLDER``; the folder is one as _datasets.py describes it. Beside its sets
are scikit-learn's digits and "squares", 32 x 32 pixels of noise with a bright square of one of three sizes anywhere.
Each is fitted with plain images, with "unmirrored" and with "light" views, everything else by default, `tiny_fractal`;
"chosen" is what "auto" takes, which looks at the training images alone. Every fit is a line of --results, and a second
run does what is missing; --table prints what there is.
"""

import argparse
from pathlib import Path

import numpy as np
from _datasets import SETS, load_set, take
from _measure import header, print_table
from _study import append_record, read_records
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from sktl import FineTuneClassifier

KEY = ("set", "n", "depth", "seed", "augment")
AUGMENTS = ("none", "unmirrored", "light")
MAX_TEST = 300


def squares(n, seed):
    """Make noise with a bright square of one of three sizes anywhere."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 3
    for image, size in zip(X, y, strict=True):
        side = (5, 7, 9)[size]
        top, left = rng.integers(1, 31 - side, 2)
        image[top : top + side, left : left + side] = rng.integers(140, 255)
    return X, y


def data_of(folder, name, n, seed):
    """Return training and test images and their labels."""
    if name == "squares":
        X, y = squares(n + MAX_TEST, seed)
        return X[:n], y[:n], X[n:], y[n:]
    X, y = (load_digits().images, load_digits().target) if name == "digits" else load_set(folder, name)
    train, test = train_test_split(np.arange(len(y)), train_size=n, stratify=y, random_state=seed)
    test = test[:MAX_TEST]
    return take(X, train), y[train], take(X, test), y[test]


def fit(options, name, n, seed, augment, **more):
    """Fit with one kind of views, and return the fitted model and the test images."""
    X, y, X_test, y_test = data_of(options.data, name, n, seed)
    parameters = {"augment": None if augment == "none" else augment, "unfreeze_depth": options.depth, "device": "cpu"}
    parameters |= {"value_range": (0, 16) if name == "digits" else None, "random_state": seed, "cache": False}
    return FineTuneClassifier(**parameters | more).fit(X, y), X_test, y_test


def measure(options, record):
    """Fit once, and return the whole record."""
    model, X, y = fit(options, *(record[name] for name in ("set", "n", "seed", "augment")))
    for key, mirrored in (("", False), ("_mirrored", True)):
        probabilities = model.set_params(test_time_augmentation=mirrored).predict_proba(X)
        record[f"accuracy{key}"] = accuracy_score(y, model.classes_[probabilities.argmax(axis=1)])
        record[f"log_loss{key}"] = log_loss(y, probabilities, labels=model.classes_)
    return record


def chosen(options, name, n, seed):
    """Return what "auto" takes; the training itself is not needed for it."""
    model, _, _ = fit(options, name, n, seed, "auto", max_epochs=1)
    return model.augment_ or "none"


def run(options):
    """Do what is missing."""
    done = read_records(options.results, KEY)
    for seed in options.seeds:
        for name in options.sets:
            for n in options.sizes:
                key = {"set": name, "n": n, "depth": options.depth, "seed": seed}
                for augment in AUGMENTS:
                    if (*key.values(), augment) not in done:
                        append_record(options.results, measure(options, {**key, "augment": augment}))
                if (*key.values(), "auto") not in done:
                    choice = chosen(options, name, n, seed)
                    append_record(options.results, {**key, "augment": "auto", "chosen": choice})


def print_results(options):
    """Print one line per set and number of training images."""
    records = read_records(options.results, KEY)
    lines = []
    for name, n, depth in dict.fromkeys(key[:3] for key in records):
        rows = {key[3:]: record for key, record in records.items() if key[:3] == (name, n, depth)}
        seeds = sorted({seed for seed, _ in rows})
        cells = [_cells([rows[seed, augment] for seed in seeds if (seed, augment) in rows]) for augment in AUGMENTS]
        choices = [rows[seed, "auto"]["chosen"] for seed in seeds if (seed, "auto") in rows]
        lines.append(
            [
                name,
                f"{n}",
                f"{depth}",
                f"{len(seeds)}",
                *cells,
                ", ".join(f"{choices.count(c)} {c}" for c in sorted({*choices})),
            ]
        )
    print(header("tiny_fractal"))
    print_table(["set", "training images", "depth", "seeds", "plain", "unmirrored", "light", "chosen"], lines)
    print("\nAccuracy in per cent, mean over seeds; in brackets what mirrored prediction changes.")


def _cells(rows):
    if not rows:
        return "–"
    own, mirrored = (np.mean([100 * row[key] for row in rows]) for key in ("accuracy", "accuracy_mirrored"))
    return f"{own:.1f} ({mirrored - own:+.1f})"


def main():
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--results", type=Path, default=Path("out/views.jsonl"))
    parser.add_argument("--sets", nargs="+", default=["squares", "digits", "pneumonia28", "doodles6", "clothing10"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 200], help="numbers of training images")
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print the table of what there is, and run nothing")
    options = parser.parse_args()
    if not options.table and (options.data is None or not options.data.is_dir()):
        parser.error(f"--data must be the folder of the data sets, such as {SETS[0]}, one folder each.")
    if not options.table:
        run(options)
    print_results(options)


if __name__ == "__main__":
    main()
