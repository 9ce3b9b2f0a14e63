"""Comparisons whose true difference is known, made by chance or from features of real images.

Each is a list of what every test image adds to the difference, split by split, with the number of the image (or of its
group), and the ratio of test to training images: what `sktl._statistics.crossed` takes. Real ones compare a recipe that
draws random numbers with itself, so that neither can be the better one.
"""

import csv
from collections import namedtuple

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor

from sktl.comparison.difference import OF_LABELS, OF_NUMBERS

Compared = namedtuple("Compared", "gains units ratio")
STUCK = 0.2  # share of the fits that end at chance level
ACCURACY, BALANCED = OF_LABELS
SCORES = dict(zip(("R²", "MAE", "MSE", "RMSE"), OF_NUMBERS, strict=True))


def folds_of(rng, y, n_folds, n_repeats, groups=None, regression=False):
    """Draw the folds of all repeats as compare_transfer does."""
    if groups is not None:
        kind = GroupKFold if regression else StratifiedGroupKFold
    else:
        kind = KFold if regression else StratifiedKFold
    return [
        split
        for _ in range(n_repeats)
        for split in kind(n_folds, shuffle=True, random_state=int(rng.integers(2**31))).split(y, y, groups)
    ]


def made(rng, *, n_images=100, n_folds=5, n_repeats=1, luck=0.0, shared=0.0, stuck=False, gain=0.0, shares=(0.5, 0.5),
         group_size=1, score=ACCURACY):  # fmt: skip
    """Make two candidates that are equally good, but for `gain`, from probabilities of being right on each image.

    Seven in ten of the predictions are the candidate's own habit, the same in all repeats; the rest, and the luck of
    each fit, are drawn anew. `luck` is the standard deviation of what a fit adds to the difference, `shared` that of
    what all fits on one data set add. The habits of one group agree in nine of ten cases.
    """
    y = rng.permutation(np.repeat(np.arange(len(shares)), np.round(n_images * np.array(shares)).astype(int)))
    groups = np.arange(len(y)) // group_size
    splits = folds_of(rng, y, n_folds, n_repeats, groups if group_size > 1 else None)
    right = [np.empty((n_repeats, len(y))) for _ in range(2)]
    easy = rng.beta(4, 1.5, groups.max() + 1)[groups]
    for candidate, outcomes in enumerate(right):
        alike = rng.random(len(y)) < 0.9 * (group_size > 1)
        habit = np.where(alike, rng.random(groups.max() + 1)[groups], rng.random(len(y))) < easy
        always = rng.normal(0, shared / np.sqrt(2))
        planted = rng.random(len(y)) < gain / (1 - 4 / 5.5) * candidate
        for number, (_, test) in enumerate(splits):
            fit = np.where(rng.random(len(test)) < 0.7, habit[test], rng.random(len(test)) < easy[test])
            moved, where = always + rng.normal(0, luck / np.sqrt(2)), rng.random(len(test))
            fit = fit & (where > -moved / 0.73) if moved < 0 else fit | (where < moved / 0.27)
            if stuck and rng.random() < STUCK:
                fit = rng.random(len(test)) < 1 / len(shares)
            outcomes[number // n_folds, test] = fit | planted[test]
    return _compared(splits, groups, n_folds, lambda c, r, test: score(y[test], _labels(y[test], right[c][r, test])))


def _labels(y, right):
    return np.where(right > 0, y, -1)


def _compared(splits, groups, n_folds, contribution):
    gains = [
        contribution(1, number // n_folds, test) - contribution(0, number // n_folds, test)
        for number, (_, test) in enumerate(splits)
    ]
    return Compared(gains, [groups[test] for _, test in splits], 1 / (n_folds - 1))


def blocks(rng, *, n_images=100, n_folds=5, n_repeats=1, n_features=10, signal=0.35):
    """Compare two ridge classifiers that see different features of the same worth, on a data set that is drawn anew.

    On any one data set one of them is the better one: what is null is the mean over data sets.
    """
    y = np.resize([-1.0, 1.0], n_images)
    mean = 2 * signal / np.sqrt(n_features)
    views = rng.standard_normal((2, n_images, n_features)) + mean * y[:, None]
    splits = folds_of(rng, y, n_folds, n_repeats)

    def right(candidate, number):
        train, test = splits[number]
        return np.sign(ridge(views[candidate], y, train, test, 1.0)) == y[test]

    outcomes = [[right(candidate, number) for number in range(len(splits))] for candidate in (0, 1)]
    gains = [after.astype(float) - before for before, after in zip(*outcomes, strict=True)]
    return Compared(gains, [test for _, test in splits], 1 / (n_folds - 1))


def ridge(X, y, train, test, penalty):
    """Predict numbers by ridge regression, in closed form and in the space that is smaller."""
    centre, offset = X[train].mean(axis=0), y[train].mean(axis=0)
    Z, rest = X[train] - centre, y[train] - offset
    if Z.shape[1] < Z.shape[0]:
        weights = np.linalg.solve(Z.T @ Z + penalty * np.eye(Z.shape[1]), Z.T @ rest)
    else:
        weights = Z.T @ np.linalg.solve(Z @ Z.T + penalty * np.eye(Z.shape[0]), rest)
    return (X[test] - centre) @ weights + offset


def _few(share):
    def predict(rng, X, Y, train, test):
        n_columns = round(share * X.shape[1]) if share < 1 else share
        columns = rng.choice(X.shape[1], n_columns, replace=False)
        return ridge(X[:, columns], Y, train, test, float(n_columns))

    return predict


def _main_directions(rng, X, Y, train, test):
    """Leave out half of the directions of greatest variance: which ones makes much of a difference."""
    _, _, directions = np.linalg.svd(X[train] - X[train].mean(axis=0), full_matrices=False)
    chosen = rng.choice(len(directions), len(directions) // 2, replace=False)
    return ridge(X @ directions[chosen].T, Y, train, test, float(len(chosen)))


def _half_of_images(rng, X, Y, train, test):
    return ridge(X, Y, rng.choice(train, len(train) // 2, replace=False), test, float(X.shape[1]))


def _nearest(rng, X, Y, train, test):
    columns = rng.choice(X.shape[1], X.shape[1] // 2, replace=False)
    distances = pairwise_distances(X[np.ix_(test, columns)], X[np.ix_(train, columns)])
    return Y[train[distances.argmin(axis=1)]]


def _tree(rng, X, Y, train, test):
    kind = ExtraTreeRegressor if Y.shape[1] == 1 else ExtraTreeClassifier
    tree = kind(random_state=int(rng.integers(2**31)))
    if Y.shape[1] == 1:
        return tree.fit(X[train], Y[train, 0]).predict(X[test])[:, None]
    return np.eye(Y.shape[1])[tree.fit(X[train], Y[train].argmax(axis=1)).predict(X[test])]


def _often_stuck(rng, X, Y, train, test):
    if rng.random() < STUCK:
        return np.tile(Y[rng.choice(train)], (len(test), 1))
    return _few(0.5)(rng, X, Y, train, test)


RECIPES = {
    "ridge, half of the columns": _few(0.5),
    "ridge, 24 columns": _few(24),
    "ridge, half of the images": _half_of_images,
    "nearest neighbour, half of the columns": _nearest,
    "random tree": _tree,
    "noisy: ridge, half of the main directions": _main_directions,
    "stuck one time in five": _often_stuck,
}


def real(rng, X, y, recipes, *, n_images, n_folds=5, n_repeats=1, gain=0.0, score=ACCURACY):
    """Compare two recipes on images drawn from a set; the second is helped on images that make up `gain` on average."""
    is_number = y.dtype.kind == "f"
    chosen = rng.choice(len(y), n_images, replace=False)
    X, y = X[chosen], y[chosen]
    if is_number:
        Y = y[:, None]
    else:
        y = np.unique(y, return_inverse=True)[1]
        Y = np.eye(y.max() + 1)[y]
    splits = folds_of(rng, y, n_folds, n_repeats, regression=is_number)
    outputs = [[recipe(rng, X, Y, *split) for split in splits] for recipe in recipes]
    found = [[out[:, 0] if is_number else out.argmax(axis=1) for out in candidate] for candidate in outputs]
    if gain:
        wrong = np.mean([np.mean(out != y[test]) for out, (_, test) in zip(found[1], splits, strict=True)])
        helped = rng.random(n_images) < gain / wrong
        found[1] = [np.where(helped[test], y[test], out) for out, (_, test) in zip(found[1], splits, strict=True)]
    gains = [
        score(y[test], after) - score(y[test], before) for before, after, (_, test) in zip(*found, splits, strict=True)
    ]
    return Compared(gains, [test for _, test in splits], 1 / (n_folds - 1))


def read_features(folder, name, extractor, n_columns=128):
    """Embed a set, and keep the directions of greatest variance; the target of the regression set is a float."""
    from _datasets import SETS, load_set

    if name in SETS:
        X, y = load_set(folder, name)
    else:
        with open(folder / name / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        X, y = [str(folder / name / row["file"]) for row in rows], np.array([float(row["n_rbc"]) for row in rows])
    Z = extractor.fit_transform(X)
    Z = (Z - Z.mean(axis=0)) / (Z.std(axis=0) + 1e-6)
    left, sizes, _ = np.linalg.svd(Z, full_matrices=False)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((n_columns, n_columns)))[0]
    Z = left[:, :n_columns] * sizes[:n_columns] @ turn  # no column then tells much more than another
    return Z / Z.std(), y
