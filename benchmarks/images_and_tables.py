"""Images beside a table: what features of a network as it is, and of a trained one, are worth to the next learner.

Run with ``python benchmarks/images_and_tables.py --data FOLDER``; the folder is one as _datasets.py describes it.
Beside the photographs stand five numbers made up for each: a place for its class, with noise, such that they alone are
right about half of the time. The network is fine-tuned on 200 photographs, everything by default; up to 200 others are
the test. "naive" gives the learner what the network says of its own training images, "out of fold" what networks of
five folds say of the others, as FineTunedFeatures does. Every result is a line of --results, and a second run does what
is missing; --table prints what there is.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from _datasets import load_set, take
from _measure import print_table
from _study import append_record, interval, read_records
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.exceptions import PhotographsWarning

KEY = ("set", "seed", "learner", "features")
SETS = ("caltech15", "clothing10", "rsscn7", "hymenoptera")
N_TRAIN, N_TEST, N_NUMBERS, N_COMPONENTS = 200, 200, 5, 30
LEARNERS = {
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=60, random_state=0),
    "linear probe": LinearProbeClassifier,
}
FEATURES = {
    "none": "table alone",
    "frozen": "all stages of the network as it is, PCA-30",
    "naive_decision": "decision values, naive",
    "decision": "decision values, out of fold",
    "naive_penultimate": "penultimate features, PCA-30, naive",
    "penultimate": "penultimate features, PCA-30, out of fold",
}


def penultimate(model, X):
    """Return the pooled features of trained stages."""
    return PretrainedFeatureExtractor(model, cache=False).fit(X).transform(X)


def decision(model, X):
    """Return one column for each class, or one for two."""
    return model.decision_function(X).reshape(len(X), -1)


def features_of(options, name, seed):
    """Return labels, and by kind of features those of training and of test images."""
    X, y = load_set(options.data, name)
    share = min(N_TRAIN, int(0.6 * len(y)))
    train, test = train_test_split(np.arange(len(y)), train_size=share, stratify=y, random_state=seed)
    test = test[:N_TEST]
    X_train, X_test, labels = take(X, train), take(X, test), y[train]
    frozen = PretrainedFeatureExtractor(layer="all", pooling="avg+std", cache=options.cache).fit(X_train)
    found = {"frozen": (frozen.transform(X_train), frozen.transform(X_test))}
    model = FineTuneClassifier(random_state=seed, cache=options.cache)
    whole = model.fit(X_train, labels)
    for kind, output in {"decision": decision, "penultimate": penultimate}.items():
        found[f"naive_{kind}"] = output(whole, X_train), output(whole, X_test)
        found[kind] = np.empty_like(found[f"naive_{kind}"][0]), found[f"naive_{kind}"][1]
    for rest, fold in StratifiedKFold(5, shuffle=True, random_state=seed).split(labels, labels):
        of_fold = FineTuneClassifier(random_state=seed, cache=options.cache).fit(take(X_train, rest), labels[rest])
        for kind, output in {"decision": decision, "penultimate": penultimate}.items():
            found[kind][0][fold] = output(of_fold, take(X_train, fold))
    return labels, y[test], found


def numbers_beside(labels, rng, centres):
    """Make up numbers that know the class in part."""
    return centres[labels] + rng.normal(size=(len(labels), N_NUMBERS))


def records_of(name, seed, y, y_test, found):
    """Score both learners on the numbers with each kind of features."""
    rng, n_classes = np.random.default_rng(0), y.max() + 1
    centres = rng.normal(size=(n_classes, N_NUMBERS)) * (1 if n_classes > 2 else 0.35)
    table, table_test = (numbers_beside(labels, rng, centres) for labels in (y, y_test))
    for kind in FEATURES:
        columns, columns_test = found.get(kind, (table[:, :0], table_test[:, :0]))
        if columns.shape[1] > N_COMPONENTS:
            pca = PCA(N_COMPONENTS, random_state=0).fit(columns)
            columns, columns_test = pca.transform(columns), pca.transform(columns_test)
        for learner, make in LEARNERS.items():
            model = make().fit(np.c_[columns, table], y)
            probabilities = model.predict_proba(np.c_[columns_test, table_test])
            yield {
                **{"set": name, "seed": seed, "learner": learner, "features": kind, "n": len(y), "n_test": len(y_test)},
                "accuracy": float((model.classes_[probabilities.argmax(axis=1)] == y_test).mean()),
                "log_loss": log_loss(y_test, probabilities),
            }


def run(options):
    """Do what is missing."""
    done = read_records(options.results, KEY)
    for seed in options.seeds:
        for name in options.sets:
            if all((name, seed, learner, kind) in done for learner in LEARNERS for kind in FEATURES):
                continue
            for record in records_of(name, seed, *features_of(options, name, seed)):
                append_record(options.results, record)
            print(f"{name}, seed {seed}: done", flush=True)


def table(options):
    """Print the means over sets and seeds, and what each kind is behind out-of-fold decision values."""
    records = read_records(options.results, KEY).values()
    for learner in LEARNERS:
        by_kind = {
            kind: {(r["set"], r["seed"]): r for r in records if (r["learner"], r["features"]) == (learner, kind)}
            for kind in FEATURES
        }
        lines = []
        for kind, label in FEATURES.items():
            cells = []
            for measure, factor, digits in (("accuracy", 100, 1), ("log_loss", 1, 2)):
                ours = [by_kind["decision"][key][measure] for key in by_kind[kind]]
                values = [record[measure] for record in by_kind[kind].values()]
                mean, half = interval(factor * np.subtract(values, ours))
                cells += [f"{factor * np.mean(values):.{digits}f}"]
                cells += ["" if kind == "decision" else f"{mean:+.{digits}f} ± {half:.{digits}f}"]
            lines.append([label, *cells])
        print(f"\n{learner}, {len(by_kind['decision'])} pairs of set and seed\n")
        print_table(["beside the table", "accuracy", "difference", "log-loss", "difference"], lines)


def main():
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--cache", default="out/store", help="folder of the embedding store")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(10))
    parser.add_argument("--table", action="store_true", help="print the table of what there is")
    options = parser.parse_args()
    warnings.simplefilter("ignore", PhotographsWarning)
    table(options) if options.table else run(options)


if __name__ == "__main__":
    main()
