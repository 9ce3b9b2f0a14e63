"""What to put on a frozen network: layers, poolings and linear heads, on small sets of real images.

Run with ``python benchmarks/frozen_candidates.py --data FOLDER --weights mobilenet_v2.pth``; sets and splits are those
of fine_tuning.py. Every image is embedded once per kind of features, and the store keeps it for the next run
(SKTL_CACHE_DIR says where). Heads stand behind a StandardScaler. The linear discriminant analysis is scikit-learn's
``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")``, solved exactly but in the few dimensions of the
training images: with thousands of features its own solver takes a minute a fit. --check compares the two.
"""

import argparse
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from _datasets import SETS, SIZES, load_set, split
from _measure import header, print_table
from _roads import BACKBONES
from _study import interval
from scipy import stats
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.backbones import load_backbone

POOLINGS = ("auto", "avg+std")
LAYERS = ("penultimate", "all stages")
NOW = ("penultimate", "auto", "logistic C=0.1")


class ShrunkDiscriminant:
    """Linear discriminant analysis with Ledoit and Wolf's shrinkage, by the Woodbury identity."""

    def fit(self, X, y):
        """Estimate means and the inverse of the common covariance: a diagonal plus one row per image."""
        X = np.asarray(X, dtype=np.float64)
        self.classes_, counts = np.unique(y, return_counts=True)
        priors, means = counts / len(y), np.stack([X[y == k].mean(axis=0) for k in self.classes_])
        diagonal, rows = np.zeros(X.shape[1]), []
        for k, prior, mean in zip(self.classes_, priors, means, strict=True):
            scaler = StandardScaler().fit(X[y == k])
            scaled = scaler.transform(X[y == k])
            shrinkage = ledoit_wolf_shrinkage(scaled)
            diagonal += prior * shrinkage * scaled.var(axis=0).mean() * scaler.scale_**2
            rows.append(np.sqrt(prior * (1 - shrinkage) / len(scaled)) * (X[y == k] - mean))
        rows = np.concatenate(rows)
        thin, solved = rows / diagonal, means / diagonal
        inner = np.eye(len(rows)) + thin @ rows.T
        self.coef_ = solved - np.linalg.solve(inner, rows @ solved.T).T @ thin
        self.intercept_ = np.log(priors) - 0.5 * (means * self.coef_).sum(axis=1)
        return self

    def predict(self, X):
        """Predict classes."""
        return self.classes_[(X @ self.coef_.T + self.intercept_).argmax(axis=1)]


HEADS = {
    "logistic C=0.01": lambda: LogisticRegression(C=0.01, max_iter=1000),
    "logistic C=0.1": lambda: LogisticRegression(C=0.1, max_iter=1000),
    "logistic C=1": lambda: LogisticRegression(C=1.0, max_iter=1000),
    "shrinkage LDA": ShrunkDiscriminant,
    "ridge, own alpha": lambda: RidgeClassifierCV(alphas=np.logspace(-1, 4, 11)),
}


def check():
    """Compare the discriminant analysis with scikit-learn's."""
    X, y = make_classification(120, 150, n_informative=20, n_classes=4, random_state=0)
    ours = ShrunkDiscriminant().fit(X, y)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6)


def embedded(X, backbone, weights, image_size):
    """Return the embeddings by layer and pooling."""
    stages = list(load_backbone(backbone, weights).stage_names)
    return {
        (layer, pooling): PretrainedFeatureExtractor(
            backbone,
            weights=weights,
            layer=layer if layer == "penultimate" else stages,
            pooling=pooling,
            image_size=image_size,
            device="cpu",
        ).fit_transform(X)
        for layer in LAYERS
        for pooling in POOLINGS
    }


def measure_set(features, y, seeds, accuracies, name):
    """Fit all candidates on one set."""
    for seed in seeds:
        training, test = split(y, seed)
        for size, train in training.items():
            for key, Z in features.items():
                scaler = StandardScaler().fit(Z[train])
                Z_train, Z_test = scaler.transform(Z[train]), scaler.transform(Z[test])
                for head, make in HEADS.items():
                    predicted = make().fit(Z_train, y[train]).predict(Z_test)
                    accuracies[(*key, head)][name, size].append(100 * np.mean(predicted == y[test]))


def over_sets(accuracies, candidate, rival):
    """Write the difference of two candidates: mean over sets, and half its 95 % interval."""
    sets = defaultdict(list)
    for (name, size), values in accuracies[candidate].items():
        sets[name].append(np.mean(values) - np.mean(accuracies[rival][name, size]))
    mean, half = interval([np.mean(values) for values in sets.values()])
    return f"{mean:+.1f}" if np.isnan(half) else f"{mean:+.1f} ± {half:.1f}"


def print_candidates(accuracies, widths):
    """Print accuracies by size, mean ranks, and the difference to the top stage alone."""
    rows = list(next(iter(accuracies.values())))
    means = {key: np.array([np.mean(values[row]) for row in rows]) for key, values in accuracies.items()}
    ranks = stats.rankdata(-np.stack(list(means.values())), axis=0).mean(axis=1)
    lines = []
    for (key, mean), rank in zip(means.items(), ranks, strict=True):
        of_size = [[m for m, row in zip(mean, rows, strict=True) if row[1] == size] for size in SIZES]
        by_size = [f"{np.mean(some):.1f}" if some else "–" for some in of_size]
        ahead = "" if key == NOW else over_sets(accuracies, key, NOW)
        lines.append((rank, [*key, str(widths[key[:2]]), *by_size, f"{mean.mean():.1f}", f"{rank:.1f}", ahead]))
    sizes = [f"n = {size}" for size in SIZES]
    columns = [
        "layer",
        "pooling",
        "head",
        "features",
        *sizes,
        "mean",
        "mean rank",
        "minus the top stage alone, over sets",
    ]
    print_table(columns, [line for _, line in sorted(lines, key=lambda pair: pair[0])])


def print_sets(accuracies):
    """Print the mean over sizes and seeds, set by set."""
    names = list(dict.fromkeys(name for name, _ in next(iter(accuracies.values()))))
    lines = []
    for key, rows in accuracies.items():
        of_set = [np.mean([np.mean(values) for row, values in rows.items() if row[0] == name]) for name in names]
        lines.append([" / ".join(key), *(f"{mean:.1f}" for mean in of_set)])
    best = [max(float(line[i]) for line in lines) for i in range(1, 1 + len(names))]
    bold = [
        [line[0], *(f"**{cell}**" if float(cell) == top else cell for cell, top in zip(line[1:], best, strict=True))]
        for line in lines
    ]
    print_table(["candidate, mean over sizes", *names], bold)


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--backbone", choices=BACKBONES, default="mobilenet_v2")
    parser.add_argument(
        "--weights", type=Path, required=True, help="its weights, a state_dict of torchvision's network"
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--check", action="store_true", help="compare the discriminant analysis with scikit-learn's")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if options.check:
        check()
    accuracies, widths = defaultdict(lambda: defaultdict(list)), {}
    for name in options.sets:
        start = time.perf_counter()
        X, y = load_set(options.data, name)
        features = embedded(X, options.backbone, str(options.weights), options.image_size)
        widths |= {key: Z.shape[1] for key, Z in features.items()}
        took = time.perf_counter() - start
        measure_set(features, y, options.seeds, accuracies, name)
        total = time.perf_counter() - start
        print(f"{name}: embedded in {took:.0f} s, all in {total:.0f} s", file=sys.stderr, flush=True)
    print(
        header(options.backbone, f"{options.image_size} px", f"{len(options.seeds)} seed(s), mean accuracy in per cent")
    )
    print_candidates(accuracies, widths)
    print()
    print_sets(accuracies)


if __name__ == "__main__":
    main()
