"""One network for two columns of labels beside a network for each: accuracy, log-loss and time.

Run with ``python benchmarks/several_targets.py --data FOLDER --weights FILE``; the folder holds the set "pacs", whose
images have a class (one of seven) and a domain (photo, painting, sketch), and the file weights of mobilenet_v2. "one"
is a FineTuneClassifier fitted to both columns, "each" scikit-learn's MultiOutputClassifier around the same, which
trains a network per column. Both find the store empty and keep activations in it, so that the second network of "each"
need not compute the frozen part again. Every fit is a line of --results, and a second run does what is missing; --table
prints what there is.
"""

import argparse
import csv
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from _datasets import take
from _measure import header, print_table
from _study import append_record, interval, read_records
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputClassifier

from sktl import FineTuneClassifier
from sktl.backbones import load_backbone

KEY = ("n", "depth", "seed", "road")
ROADS = ("one", "each")
COLUMNS = ("label", "domain")


def read_pacs(folder):
    """Return paths of the images, and class and domain of each."""
    with open(folder / "pacs" / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [str(folder / "pacs" / row["file"]) for row in rows]
    return paths, np.array([[row[column] for column in COLUMNS] for row in rows])


def fit(options, record, X, Y):
    """Fit once, on a split that keeps the shares of both columns, and return the whole record."""
    both = [" ".join(row) for row in Y]
    train, test = train_test_split(
        np.arange(len(Y)), train_size=record["n"], stratify=both, random_state=record["seed"]
    )
    with TemporaryDirectory() as store:
        model = FineTuneClassifier(
            load_backbone("mobilenet_v2", options.weights),
            unfreeze_depth=record["depth"],
            image_size=options.image_size,
            device="cpu",
            cache=store,
            random_state=record["seed"],
        )
        model = model if record["road"] == "one" else MultiOutputClassifier(model)
        start = time.process_time()
        model.fit(take(X, train), Y[train])
        record["seconds"] = time.process_time() - start
        start = time.process_time()
        probabilities = model.predict_proba(take(X, test))
        record["predict_seconds"] = time.process_time() - start
    for j, column in enumerate(COLUMNS):
        classes = model.classes_[j]
        record[f"right_{column}"] = (classes[probabilities[j].argmax(axis=1)] == Y[test, j]).astype(int).tolist()
        record[f"log_loss_{column}"] = log_loss(Y[test, j], probabilities[j], labels=classes)
    return record


def run(options):
    """Do what is missing; the roads take turns."""
    X, Y = read_pacs(options.data)
    done = read_records(options.results, KEY)
    for seed in options.seeds:
        for n in options.sizes:
            for depth in options.depths:
                for road in ROADS if seed % 2 else ROADS[::-1]:
                    key = {"n": n, "depth": depth, "seed": seed, "road": road}
                    if (*key.values(),) not in done:
                        append_record(options.results, fit(options, key, X, Y))


def print_results(options):
    """Print one line per number of training images and depth, over the seeds that both roads have."""
    records = read_records(options.results, KEY)
    lines = []
    for n, depth in sorted({key[:2] for key in records}):
        seeds = [key[2] for key in records if key[:2] == (n, depth) and key[3] == "one"]
        seeds = sorted(seed for seed in seeds if (n, depth, seed, "each") in records)
        if not seeds:
            continue
        one, each = ([records[n, depth, seed, road] for seed in seeds] for road in ROADS)
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(one, each, strict=True)]
        cells = [cell for column in COLUMNS for cell in _accuracies(one, each, column)]
        losses = [f"{np.mean([_loss(record) for record in road]):.3f}" for road in (one, each)]
        lines.append([f"{n}", f"{depth}", f"{len(seeds)}", *cells, _mean(one, each), *losses, f"{np.mean(ratios):.2f}"])
    print(header(f"mobilenet_v2 at {options.image_size} pixels"))
    names = [f"{column}: {road}" for column in COLUMNS for road in ROADS]
    losses = [f"log-loss: {road}" for road in ROADS]
    print_table(["images", "depth", "seeds", *names, "one − each, mean of both", *losses, "time: one / each"], lines)
    print("\nAccuracy in per cent. Differences are over test images, with 95 % intervals.")


def _accuracies(one, each, column):
    return [f"{100 * np.mean([record[f'right_{column}'] for record in road]):.1f}" for road in (one, each)]


def _mean(one, each):
    """Write the difference in the mean accuracy of both columns, paired by image."""
    right = [
        np.mean([np.ravel([record[f"right_{column}"] for record in road]) for column in COLUMNS], axis=0)
        for road in (one, each)
    ]
    difference, half = interval(100 * (right[0] - right[1]))
    return f"{difference:+.1f} ± {half:.1f}"


def _loss(record):
    return np.mean([record[f"log_loss_{column}"] for column in COLUMNS])


def main():
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, help="file of weights of mobilenet_v2")
    parser.add_argument("--results", type=Path, default=Path("out/several_targets.jsonl"))
    parser.add_argument("--sizes", nargs="+", type=int, default=[60, 200], help="numbers of training images")
    parser.add_argument("--depths", nargs="+", type=int, default=[1])
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print the table of what there is, and run nothing")
    options = parser.parse_args()
    if not options.table and None in (options.data, options.weights):
        parser.error("--data and --weights must name the folder of the data sets and the file of weights.")
    if not options.table:
        run(options)
    print_results(options)


if __name__ == "__main__":
    main()
