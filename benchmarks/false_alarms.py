"""How often a comparison finds a difference that is not there, and how often one that is.

Run with ``python benchmarks/false_alarms.py``; it takes some minutes and needs neither network nor accelerator.

Two sources of score differences:

- "classifiers": data sets are drawn again and again, each with two blocks of features; one ridge classifier sees one
  block, one the other. The blocks are equally informative in the rows without a difference: the two recipes are equally
  good by symmetry, while on any one data set the folds agree by chance on who is better. This is what users of
  cross-validation meet.
- "normal": differences of folds as equally correlated normal numbers, with the correlation n_test / n that the
  correction is derived for.

"5 %" is the share of comparisons whose 95 % interval leaves out zero, "verdict" that of "better" or "worse", "Holm"
that of families of four equally good candidates of which any has a corrected p-value below 0.05. "plain t" is the
ordinary paired t-test on the same differences. One standard error is about 0.5 % at 5 % and 2,000 comparisons.
"""

import argparse
import time
import warnings

import numpy as np
from scipy import stats

from sktl._statistics import decide
from sktl.comparison import corrected_interval, corrected_p_value, correlated_t_probabilities, holm

N_FEATURES, SIGNAL, ROPE, FAMILY = 10, 0.35, 0.01, 4


def ridge_scores(rng, n_simulations, n_images, n_folds, n_repeats, signal):
    """Return fold accuracies (n_simulations, n_folds * n_repeats) of ridge classifiers, and their true mean accuracy.

    Features are normal around plus or minus the same vector. The labels, balanced, and the folds are the same for
    every call with the same sizes; the images are not.
    """
    labels = np.resize([-1.0, 1.0], n_images)
    mean = np.full(N_FEATURES, signal / np.sqrt(N_FEATURES) * 2)
    X = rng.standard_normal((n_simulations, n_images, N_FEATURES)) + labels[:, None] * mean
    folds = np.random.default_rng(n_images)
    scores, truth = [], []
    for _ in range(n_repeats):
        # stratified: each class is dealt out separately
        order = np.concatenate([folds.permutation(np.flatnonzero(labels == sign)) for sign in (-1, 1)])
        for fold in range(n_folds):
            test = order[fold::n_folds]
            train = np.setdiff1d(order, test)
            weights, offset = fit_ridge(X[:, train], labels[train])
            outputs = np.einsum("snp,sp->sn", X[:, test], weights) + offset[:, None]
            scores.append((np.sign(outputs) == labels[test]).mean(axis=1))
            length, along = np.linalg.norm(weights, axis=1), weights @ mean
            truth.append(0.5 * (stats.norm.cdf((along + offset) / length) + stats.norm.cdf((along - offset) / length)))
    return np.stack(scores, axis=1), float(np.mean(truth))


def fit_ridge(X, y, penalty=1.0):
    """Solve ridge regression of the labels in closed form, for all data sets at once."""
    centre = X.mean(axis=1, keepdims=True)
    Z = X - centre
    gram = np.einsum("snp,snq->spq", Z, Z) + penalty * np.eye(X.shape[2])
    weights = np.linalg.solve(gram, np.einsum("snp,n->sp", Z, y - y.mean())[..., None])[..., 0]
    return weights, y.mean() - np.einsum("sp,sp->s", centre[:, 0], weights)


def normal_differences(rng, n_simulations, n_folds, n_repeats, mean):
    """Return equally correlated normal differences; a standard deviation of 0.05 is usual for folds of 20 images."""
    shared = rng.standard_normal((n_simulations, 1))
    own = rng.standard_normal((n_simulations, n_folds * n_repeats))
    return mean + 0.05 * (np.sqrt(1 / n_folds) * shared + np.sqrt(1 - 1 / n_folds) * own)


def judged(differences, n_train, n_test):
    """Return the shares of comparisons with an interval without zero, a verdict, and a plain t-test that rejects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scipy, about data sets where all differences are equal
        plain = stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05
    intervals = np.array([corrected_interval(row, n_train, n_test) for row in differences])
    verdicts = [decide(correlated_t_probabilities(row, n_train, n_test, ROPE)) for row in differences]
    alarms = (intervals[:, 0] > 0) | (intervals[:, 1] < 0)
    return alarms.mean(), np.isin(verdicts, ("better", "worse")).mean(), plain.mean()


def family_wise(families, n_train, n_test):
    """Return the share of families in which Holm's correction leaves any p-value below 0.05."""
    rejected = [
        np.nanmin(holm([corrected_p_value(row, n_train, n_test) for row in family] + [1.0])) < 0.05
        for family in families
    ]
    return np.mean(rejected)


def row_of_classifiers(rng, n_simulations, n_images, n_repeats, gain):
    """Compare two classifiers, of which the second has a clearer signal by the factor 1 + gain."""
    n_test = n_images // 5
    sizes = n_simulations, n_images, 5, n_repeats
    first, truth = ridge_scores(rng, *sizes, SIGNAL)
    second, better = ridge_scores(rng, *sizes, SIGNAL * (1 + gain))
    alarms = judged(second - first, n_images - n_test, n_test)
    if gain:
        return better - truth, (*alarms, None)
    others = [second] + [ridge_scores(rng, *sizes, SIGNAL)[0] for _ in range(FAMILY - 1)]
    families = np.stack([other - first for other in others], axis=1)
    return 0.0, (*alarms, family_wise(families, n_images - n_test, n_test))


def row_of_normals(rng, n_simulations, n_repeats, mean):
    """Do the same for normal differences."""
    alarms = judged(normal_differences(rng, n_simulations, 5, n_repeats, mean), 80, 20)
    return mean, (*alarms, None)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, start = np.random.default_rng(options.seed), time.perf_counter()
    print(f"{options.simulations:,} simulated comparisons a row, 5 folds, seed {options.seed}\n")
    print("| source | images | repeats | true difference | 5 % | verdict | Holm, 4 candidates | plain t |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for gain in (0.0, 0.15, 0.4, 1.0):
        for n_images in (100, 300, 1000):
            for n_repeats in (1, 2, 10):
                if n_images < 1000 or n_repeats < 10:
                    found = row_of_classifiers(rng, options.simulations, n_images, n_repeats, gain)
                    show("classifiers", n_images, n_repeats, *found)
    for mean in (0.0, 0.02, 0.05, 0.1):
        for n_repeats in (1, 2, 10):
            show("normal", 100, n_repeats, *row_of_normals(rng, options.simulations, n_repeats, mean))
    print(f"\n{time.perf_counter() - start:.0f} s")


def show(source, n_images, n_repeats, truth, shares):
    """Print one row."""
    alarms, verdicts, plain, families = ("" if share is None else f"{100 * share:.1f} %" for share in shares)
    cells = (source, n_images, n_repeats, f"{truth:+.3f}", alarms, verdicts, families, plain)
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
