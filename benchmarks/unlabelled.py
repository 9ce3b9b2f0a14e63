"""Small networks that learn from unlabelled images through a teacher: accuracy beside what does without either.

Run with ``python benchmarks/unlabelled.py --data FOLDER``. Of each set ten images a class have a label, up to 1,000
have none, and 300 are for testing. The teacher is a linear probe on efficientnet_lite0 at 128 pixels, whose weights are
those of the package index; it is fitted to the labelled images. Students are tiny_fractal, as FineTuneClassifier trains
it by default, and on grey pictures a network of three convolutions from random weights. "self-training" is
scikit-learn's SelfTrainingClassifier: around a linear probe on frozen features, of the teacher's network and of
tiny_fractal, and for three rounds around the network of three convolutions. Every fit is a line of --results, and a
second run does what is missing; --table prints what there is.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _datasets import load_set, take
from _measure import header, print_table
from _study import append_record, interval, read_records
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from torch import nn

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor

KEY = ("set", "seed", "network", "road")
DIGITS = {"mnist": ("mnist_images", "mnist_labels"), "usps": ("usps_train_images", "usps_train_labels")}
SETS = ("doodles6", *DIGITS, "cifar10_test1k", "pneumonia28")
PER_CLASS, MAX_UNLABELLED, N_TEST = 10, 1000, 300
SMALL = "three convolutions"
STUDENTS = (SMALL, "tiny_fractal")
ALL = "taught on all"
WAYS = ("labels alone", "taught on labelled", ALL, "taught on all, teacher_cv=5")
SELF = "self-training"
ROADS = (
    ("efficientnet_lite0", "teacher"),
    ("efficientnet_lite0", SELF),
    *((network, SELF) for network in STUDENTS),
    *((network, way) for network in STUDENTS for way in WAYS),
)


def three_convolutions():
    """Return a network of 24,000 weights."""
    pairs = [(3, 16), (16, 32), (32, 64)]
    blocks = [(nn.Conv2d(*pair, 3, 2, 1, bias=False), nn.BatchNorm2d(pair[1]), nn.ReLU()) for pair in pairs]
    return nn.Sequential(*[nn.Sequential(*block) for block in blocks])


def read_set(folder, name):
    """Return images and classes of a set, the digits among them."""
    if name not in DIGITS:
        return load_set(folder, name)
    file = np.load(folder / "digits_mnist_usps" / "digits_mnist_usps.npz")
    images, labels = DIGITS[name]
    return file[images], file[labels].astype(int)


def parts(y, seed):
    """Return positions of the images with a label, of those without, and of the test images."""
    rest, test = train_test_split(np.arange(len(y)), test_size=N_TEST, stratify=y, random_state=seed)
    n_labelled = PER_CLASS * len(np.unique(y))
    labelled, others = train_test_split(rest, train_size=n_labelled, stratify=y[rest], random_state=seed)
    return labelled, others[:MAX_UNLABELLED], test


def probe(network, cache, head=None):
    """Return a linear probe, or another classifier, on the features of all stages."""
    size = 128 if network == "efficientnet_lite0" else None
    extractor = PretrainedFeatureExtractor(network, layer="all", pooling="avg+std", image_size=size, cache=cache)
    return make_pipeline(extractor, head or LinearProbeClassifier())


def student(network, way, teacher, cache, seed):
    """Return a student that is not fitted; without unlabelled images a small network has as many steps or more."""
    options = {"cache": cache, "device": "cpu", "random_state": seed}
    if network == SMALL:
        epochs = 40 if way.startswith(ALL) else 300
        options |= {"backbone": three_convolutions, "weights": None, "image_size": 28}
        options |= {"learning_rate": 3e-3, "max_epochs": epochs, "cache": False}
    if way != "labels alone":
        options |= {"teacher": teacher, "teacher_cv": 5 if way.endswith("5") else None}
    return FineTuneClassifier(**options)


def fit(record, X, y, cache):
    """Fit once and return the whole record."""
    labelled, others, test = parts(y, record["seed"])
    both, marked = np.r_[labelled, others], np.r_[y[labelled], np.full(len(others), -1)]
    teacher = probe("efficientnet_lite0", cache).fit(take(X, labelled), y[labelled])
    network, road = record["network"], record["road"]
    if (network, road) == (SMALL, SELF):
        model = student(network, WAYS[0], None, cache, record["seed"])
        model.set_params(max_epochs="auto", image_shape=X.shape[1:])
        model, X = SelfTrainingClassifier(model, max_iter=3), X.reshape(len(X), -1)  # which takes tables alone
    elif road == SELF:
        model = probe(network, cache, SelfTrainingClassifier(LinearProbeClassifier()))
    else:
        model = teacher if road == "teacher" else student(network, road, teacher, cache, record["seed"])
    rows = both if road == SELF or road.startswith(ALL) else labelled
    start = time.process_time()
    model.fit(take(X, rows), marked[: len(rows)])
    record["seconds"] = time.process_time() - start
    right = model.predict(take(X, test)) == y[test]
    return {**record, "accuracy": float(right.mean()), "n_labelled": len(labelled), "n_unlabelled": len(others)}


def run(options):
    """Do what is missing, the sets one after the other."""
    done = read_records(options.results, KEY)
    roads = [road for road in ROADS if road[0] in options.networks and road[1] in options.ways]
    for name in options.sets:
        X, y = read_set(options.data, name)
        for seed in options.seeds:
            for network, road in roads:
                key = {"set": name, "seed": seed, "network": network, "road": road}
                is_asked = network != SMALL or isinstance(X, np.ndarray)
                if is_asked and (*key.values(),) not in done:
                    append_record(options.results, fit(key, X, y, options.store))


def print_results(options):
    """Print a line per set and student, over the seeds of the student taught on all, of what was run on all of them."""
    records = read_records(options.results, KEY)
    records = {key: record for key, record in records.items() if record["seed"] in options.seeds}
    columns = [*ROADS[:2], *((None, way) for way in (SELF, *WAYS))]
    lines = []
    for name in SETS:
        for network in STUDENTS:
            by_road = [_accuracies(records, name, own or network, way) for own, way in columns]
            ours = _accuracies(records, name, network, ALL)
            if not ours:
                continue
            first = records[name, next(iter(ours)), network, ALL]
            images = f"{first['n_labelled']} + {first['n_unlabelled']}"
            complete = [each if ours.keys() <= each.keys() else {} for each in by_road]
            cells = [f"{np.mean([each[seed] for seed in ours]):.1f}" if each else "–" for each in complete]
            ahead = [_ahead(ours, _accuracies(records, name, network, road)) for road in (WAYS[0], SELF)]
            lines.append([name, images, network, *cells, *ahead, f"{len(ours)}"])
    print(header("efficientnet_lite0 at 128 pixels teaches"))
    names = ["teacher", "its network, self-training", SELF, *WAYS]
    further = [f"{ALL} − {WAYS[0]}", f"{ALL} − {SELF}", "seeds"]
    print_table(["set", "labelled + unlabelled", "student", *names, *further], lines)
    print("\nAccuracy in per cent on 300 test images. Differences are over seeds, with 95 % t intervals.")


def _accuracies(records, name, network, road):
    return {
        seed: 100 * record["accuracy"]
        for (own, seed, *of), record in records.items()
        if (own, *of) == (name, network, road)
    }


def _ahead(ours, others):
    if not ours.keys() <= others.keys():
        return "–"
    difference, half = interval([ours[seed] - others[seed] for seed in ours])
    return f"{difference:+.1f} ± {half:.1f}"


def main():
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--results", type=Path, default=Path("out/unlabelled.jsonl"))
    parser.add_argument("--store", default="out/unlabelled_store", help="folder of the embedding store")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--networks", nargs="+", default=[network for network, _ in ROADS])
    parser.add_argument("--ways", nargs="+", default=[way for _, way in ROADS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[5, 6, 7, 8, 9])
    parser.add_argument("--table", action="store_true", help="print the table of what there is, and run nothing")
    options = parser.parse_args()
    if not options.table and options.data is None:
        parser.error("--data must name the folder of the data sets.")
    if not options.table:
        warnings.simplefilter("ignore")  # of self-training that has labelled all images
        run(options)
    print_results(options)


if __name__ == "__main__":
    main()
