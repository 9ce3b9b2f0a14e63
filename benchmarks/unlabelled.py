"""A small network that learns from unlabelled images through a teacher: accuracy beside what does without either.

Run with ``python benchmarks/unlabelled.py --data FOLDER``. Of each set ten images a class have a label, up to 1,000
have none, and 300 are for testing. The teacher is a linear probe on efficientnet_lite0 at 128 pixels, whose weights are
those of the package index; it is fitted to the labelled images. The student is tiny_fractal, as FineTuneClassifier
trains it by default. "self-training" is scikit-learn's SelfTrainingClassifier around a linear probe on frozen features,
of the student's network and of the teacher's. Every fit is a line of --results, and a second run does what is missing;
--table prints what there is.
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

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone

KEY = ("set", "seed", "road")
DIGITS = {"mnist": ("mnist_images", "mnist_labels"), "usps": ("usps_train_images", "usps_train_labels")}
SETS = ("doodles6", "cifar10_test1k", *DIGITS, "pneumonia28")
PER_CLASS, MAX_UNLABELLED, N_TEST = 10, 1000, 300
OURS = "student, unlabelled images"
ROADS = (
    "teacher",
    "student alone",
    "student, labelled images",
    OURS,
    "student, unlabelled images, teacher_cv=5",
    "self-training, student's features",
    "self-training, teacher's features",
)


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


def frozen(network, head, cache, **options):
    """Return a classifier on the features of all stages."""
    extractor = PretrainedFeatureExtractor(network, layer="all", pooling="avg+std", cache=cache, **options)
    return make_pipeline(extractor, head)


def fit(record, X, y, cache):
    """Fit a road once and return the whole record."""
    labelled, others, test = parts(y, record["seed"])
    both, marked = np.r_[labelled, others], np.r_[y[labelled], np.full(len(others), -1)]
    large = load_backbone("efficientnet_lite0")
    untaught = frozen(large, LinearProbeClassifier(), cache, image_size=128)
    teacher = untaught.fit(take(X, labelled), y[labelled])
    alone = {"cache": cache, "device": "cpu", "random_state": record["seed"]}
    self_training = SelfTrainingClassifier(LinearProbeClassifier())
    models = {
        "teacher": (teacher, labelled),
        "student alone": (FineTuneClassifier(**alone), labelled),
        "student, labelled images": (FineTuneClassifier(teacher=teacher, **alone), labelled),
        OURS: (FineTuneClassifier(teacher=teacher, **alone), both),
        "student, unlabelled images, teacher_cv=5": (FineTuneClassifier(teacher=untaught, teacher_cv=5, **alone), both),
        "self-training, student's features": (frozen("tiny_fractal", self_training, cache), both),
        "self-training, teacher's features": (frozen(large, self_training, cache, image_size=128), both),
    }
    model, rows = models[record["road"]]
    start = time.process_time()
    model.fit(take(X, rows), marked[: len(rows)])
    record["seconds"] = time.process_time() - start
    right = model.predict(take(X, test)) == y[test]
    return {**record, "accuracy": float(right.mean()), "n_labelled": len(labelled), "n_unlabelled": len(others)}


def run(options):
    """Do what is missing, the sets one after the other."""
    done = read_records(options.results, KEY)
    for name in options.sets:
        X, y = read_set(options.data, name)
        for seed in options.seeds:
            for road in options.roads:
                key = {"set": name, "seed": seed, "road": road}
                if (*key.values(),) not in done:
                    append_record(options.results, fit(key, X, y, options.store))


def print_results(options):
    """Print one line per set and road: accuracy, and how far unlabelled images are ahead of it, over common seeds."""
    records = read_records(options.results, KEY)
    lines = []
    for name in SETS:
        ours = {seed: record for (own, seed, road), record in records.items() if (own, road) == (name, OURS)}
        for road in ROADS:
            seeds = sorted(seed for seed in ours if (name, seed, road) in records)
            if not seeds:
                continue
            fits = [records[name, seed, road] for seed in seeds]
            accuracies = np.array([100 * each["accuracy"] for each in fits])
            ahead, half = interval([100 * ours[seed]["accuracy"] for seed in seeds] - accuracies)
            images = f"{fits[0]['n_labelled']} + {fits[0]['n_unlabelled']}"
            difference = "" if road == OURS else f"{ahead:+.1f} ± {half:.1f}"
            lines.append([name, images, road, f"{accuracies.mean():.1f}", difference, f"{len(seeds)}"])
    print(header("efficientnet_lite0 at 128 pixels teaches tiny_fractal at 48"))
    names = ["set", "labelled + unlabelled", "road", "accuracy", "student with unlabelled images ahead by"]
    print_table([*names, "seeds"], lines)
    print("\nAccuracy in per cent on 300 test images. Differences are over seeds, with 95 % t intervals.")


def main():
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--results", type=Path, default=Path("out/unlabelled.jsonl"))
    parser.add_argument("--store", default="out/unlabelled_store", help="folder of the embedding store")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--roads", nargs="+", choices=ROADS, default=ROADS)
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
