"""Does the default of FineTuneClassifier beat what an expert gets by hand? Accuracy on small sets, road by road.

Run with ``python benchmarks/fine_tuning.py --data FOLDER --backbone NAME --weights FILE``; the folder is one as
_datasets.py describes it, the file a state of torchvision's network of that name. The roads, all from the same
weights, on the same training and test images, on one device:

- penultimate + logistic: the top stage alone, StandardScaler, logistic regression with C by cross-validation;
- frozen + probe: PretrainedFeatureExtractor, layer="all", pooling="avg+std", LinearProbeClassifier, as in
  compare_transfer;
- sktl: FineTuneClassifier with nothing set but network, weights, image size and seed;
- sktl, network alone: the same with ensemble=False;
- LP-FT by hand: a linear probe, then the whole network at a low rate from it, with norms in eval mode;
- fastai fine_tune: fastai itself, ``vision_learner(...).fine_tune(5)`` with its head, its two groups of learning rates
  and its trainable batch norms, and RandomResizedCrop(min_scale=0.5) and aug_transforms() as its book has them; and the
  same with ten epochs. Batches hold 16 images: fastai drops what does not fill one, and its usual 64 would drop all of
  50;
- skorch notebook: a new last layer, everything else held by Freezer, SGD at 1e-3 with momentum 0.9, a tenth of it every
  7 of 25 epochs, batches of 4, RandomResizedCrop and flips;
- torchvision tutorial: the same in a plain loop over the whole network;
- from scratch: FineTuneClassifier(weights=None) with its defaults.

Notebook and tutorial keep the epoch that is best on the images which they report; here they keep the last one.

Budget: no road shows the network more training images than --max-passes, copies counted. Where a source wants more,
its epochs are cut, and the period of its learning rate with them; the column "cut" counts those fits. The defaults of
sktl want up to 9200 passes and the tutorial up to 10000, so that 10000 cuts nobody. Below its cut sktl computes
every image once only, yet all passes count.

Images: 30 % of a set, 300 at most, are for testing. Of the others, 400 at most, all or 200 or 50 are learnt from, the
fewer being some of the more. Each seed is another split and another seed of everything drawn in training. Seconds are
those of fit and predict together, from files or arrays, on as many threads as OMP_NUM_THREADS says.

Every fit is a line of --results; a second run does what is missing, and several may share the work by --roads, --sets,
--sizes and --seeds. --table prints the tables of what there is. fastai is needed by its road alone and found when that
runs: ``pip install fastai``, or the same in an environment of its own, whose Python then runs ``--roads fastai``. Its
first fit in a process pays for the import.
"""

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from _datasets import SETS, SIZES, load_set, split, take
from _measure import header, print_table
from _roads import BACKBONES, OURS, ROADS, Task, has_fastai
from _study import accuracy_row, append_record, common_accuracies, key_of, read_records, road_rows, rows_of

N_BINS, LEAST = 15, 1e-15
PACKAGES = ("sktl", "torch", "torchvision", "scikit-learn", "skorch", "fastai")


def versions():
    """Return what is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def runnable(roads):
    """Return the roads that can be run with what is installed."""
    return [road for road in roads if not road.startswith("fastai") or has_fastai()]


def fits(options, done):
    """Yield the fits that are missing, seed by seed, as records without results, with the positions of their images."""
    sets = {name: load_set(options.data, name) for name in options.sets}
    for seed in options.seeds:
        for name, (X, y) in sets.items():
            training, test = split(y, seed)
            for size in filter(training.__contains__, options.sizes):
                for road in runnable(options.roads):
                    record = {"set": name, "n": size, "seed": seed, "road": ROADS[road][0]}
                    record |= {
                        "backbone": options.backbone,
                        "image_size": options.image_size,
                        "max_passes": options.max_passes,
                    }
                    if key_of(record) not in done:
                        yield record, ROADS[road][1], X, y, training[size], test


def run_fit(record, road, X, y, train, test, weights):
    """Run one fit, and return its whole record."""
    task = Task(
        take(X, train),
        y[train],
        take(X, test),
        n_classes=int(y.max()) + 1,
        backbone=record["backbone"],
        weights=str(weights),
        image_size=record["image_size"],
        max_passes=record["max_passes"],
        seed=record["seed"],
    )
    start = time.perf_counter()
    outcome = road(task)
    took = time.perf_counter() - start
    measured = {
        **scores(outcome.probabilities, y[test]),
        "seconds": round(took, 2),
        "passes": outcome.passes,
        "cut": outcome.cut,
    }
    return record | measured | {"n_train": len(train), "n_test": len(test), "versions": versions()}


def scores(probabilities, y):
    """Return accuracy, log-loss, expected calibration error over 15 equal bins, and which images were right."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    bins = np.minimum((sure * N_BINS).astype(int), N_BINS - 1)
    gaps = [abs((sure - right)[bins == number].sum()) for number in range(N_BINS)]
    log_loss = -np.log(np.maximum(probabilities[np.arange(len(y)), y], LEAST)).mean()
    return {
        "accuracy": float(right.mean()),
        "log_loss": float(log_loss),
        "ece": float(sum(gaps) / len(y)),
        "right": np.packbits(right).tobytes().hex(),
    }


def run(options):
    """Run what is missing."""
    for record, road, X, y, train, test in fits(options, set(read_records(options.results))):
        done = run_fit(record, road, X, y, train, test, options.weights)
        append_record(options.results, done)
        what = " ".join(f"{done[name]}" for name in ("set", "n", "seed", "road"))
        print(f"{what}: {100 * done['accuracy']:.1f} % in {done['seconds']:.1f} s", file=sys.stderr, flush=True)


def selected(options):
    """Return the finished fits that the options ask for."""
    wanted = {
        "set": options.sets,
        "n": options.sizes,
        "seed": options.seeds,
        "road": [ROADS[road][0] for road in options.roads],
        "backbone": [options.backbone],
        "image_size": [options.image_size],
        "max_passes": [options.max_passes],
    }
    return [
        record
        for record in read_records(options.results).values()
        if all(record[name] in values for name, values in wanted.items())
    ]


def print_tables(options):
    """Print accuracies row by row, and the roads in sum."""
    records = selected(options)
    if not records:
        print(f"{options.results} has no fits with these options.")
        return
    facts = (options.backbone, f"{options.image_size} px", f"at most {options.max_passes} passes")
    seeds = sorted({record["seed"] for record in records})
    print(header(*facts, f"{len(seeds)} seed(s)", peers=("skorch", "fastai")))
    rows = rows_of(records)
    roads = [label for label, _ in ROADS.values() if any(label in row for row in rows.values())]
    lines = []
    for name, size in sorted(rows, key=lambda key: (SETS.index(key[0]), SIZES.index(key[1]))):
        some = next(iter(next(iter(rows[name, size].values())).values()))
        accuracies = common_accuracies(rows[name, size], roads)
        if accuracies:
            lines.append([name, f"{some['n_train']} / {some['n_test']}", *accuracy_row(accuracies, roads, OURS)])
    print_table(["set", "training / test images", *roads, "ours"], lines)
    print(
        "\nAccuracy in per cent, mean over the seeds that all roads of the row have; bold is the best of the row. ± is "
        "half the 95 % t interval of the paired difference to the best, over test images; tied: it has zero in it.\n"
    )
    columns = ["road", "mean rank", "mean accuracy", "log-loss", "calibration error", "ours minus it, over sets"]
    columns += ["median seconds", "passes", "cut"]
    print_table(columns, road_rows(rows, roads, OURS))
    print(
        "\nRanks and mean accuracies are over rows that all roads have. ± is half the 95 % t interval over sets; "
        "passes are the median of training images shown to the network; cut counts the fits that the budget shortened."
    )


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--backbone", choices=BACKBONES, default="squeezenet1_1")
    parser.add_argument("--weights", type=Path, help="its weights, a state_dict of torchvision's network")
    parser.add_argument("--results", type=Path, default=Path("out/fine_tuning.jsonl"))
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=list(ROADS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--max-passes", type=int, default=10000)
    parser.add_argument("--table", action="store_true", help="print the tables of what there is, and run nothing")
    options = parser.parse_args()
    if not options.table:
        if options.data is None or not options.data.is_dir():
            parser.error("--data must be the folder of the data sets, one folder each; _datasets.py says which.")
        if options.backbone == "efficientnet_lite0":
            options.weights = "default"
        elif options.weights is None or not options.weights.is_file():
            parser.error("--weights must be a file: the state_dict of torchvision's network.")
        if runnable(options.roads) != options.roads:
            print("fastai is not installed: its road is not run. The head of this file says how.", file=sys.stderr)
    return options


def main():
    """Run what is missing, then print the tables."""
    options = parse()
    if not options.table:
        run(options)
    print_tables(options)


if __name__ == "__main__":
    main()
