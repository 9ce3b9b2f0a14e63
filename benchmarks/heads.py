"""Which linear model to put on frozen features, and how to scale these: classes and numbers.

Run with ``python benchmarks/heads.py --data FOLDER --weights FOLDER``. Features of each network and set are computed
once and kept in --features; a fit of all candidates is a line of --results, and a second run does what is missing. The
fits that the page of benchmarks shows lie packed beside this file and are where a new file of results begins. Choices
were made on seeds 0 to 4, and are judged on seeds 5 to 9. ``--tables`` only prints the tables.

All heads but the discriminant analysis are turned into the few dimensions of the training images first, which changes
no prediction: they depend on inner products alone.
"""

import argparse
import csv
import gzip
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from _datasets import SETS, load_set, take
from _head_tables import MAIN, SIZES, print_tables
from _study import append_record, read_records
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.feature_extraction.ridge import fit_ridge, fit_scaled_ridge, scalings

NETWORKS = {
    "mobilenet_v2": ("mobilenet_v2", "mobilenet_v2-imagenet-tf.pth", 96),
    "efficientnet_lite0": ("efficientnet_lite0", "default", 96),
    "squeezenet1_1": ("squeezenet1_1", "squeezenet1_1-imagenet.pth", 96),
    "tiny_fractal, 48 px": ("tiny_fractal", "default", 48),
    "tiny_fractal, 128 px": ("tiny_fractal", "default", 128),
}
CLASSES = (*SETS, "pacs", "mnist")
COUNTS = ("n_rbc", "n_wbc", "n_platelets")
MAX_IMAGES, MAX_TRAIN, MAX_TEST = 800, 400, 300
KEY = ("task", "set", "network", "n", "seed")
STRENGTHS = np.logspace(-2, 4, 13)


def images_of(folder, name):
    """Return images and classes, or counts, of a set."""
    if name == "mnist":
        file = np.load(folder / "digits_mnist_usps" / "digits_mnist_usps.npz")
        X, y = file["mnist_images"], file["mnist_labels"].ravel()
    elif name in SETS:
        X, y = load_set(folder, name)
    else:
        with open(folder / name / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        X = [str(folder / name / row["file"]) for row in rows]
        if name == "bccd_counts":
            return X, np.array([[float(row[count]) for count in COUNTS] for row in rows])
        y = np.unique([row["label"] for row in rows], return_inverse=True)[1]
    if len(y) > MAX_IMAGES:
        kept = np.sort(train_test_split(np.arange(len(y)), train_size=MAX_IMAGES, stratify=y, random_state=0)[0])
        X, y = take(X, kept), y[kept]
    return X, y


def features_of(options, network, name):
    """Return vectors, targets and the width of each stage, computed or kept."""
    path = options.features / f"{network}~{name}.npz"
    if not path.exists():
        backbone, weights, size = NETWORKS[network]
        weights = str(options.weights / weights) if weights.endswith(".pth") else weights
        extractor = PretrainedFeatureExtractor(
            backbone, weights=weights, layer="all", pooling="avg+std", image_size=size, device="cpu", cache=False
        )
        X, y = images_of(options.data, name)
        Z = extractor.fit_transform(X)
        names = extractor.get_feature_names_out()
        stages = [str(column).rsplit("_", 1)[0] for column in names]
        options.features.mkdir(parents=True, exist_ok=True)
        np.savez(path, Z=Z, y=y, widths=[stages.count(stage) for stage in dict.fromkeys(stages)])
    file = np.load(path)
    return file["Z"].astype(np.float64), file["y"], file["widths"]


def split(y, seed):
    """Return positions to learn from by size, the smaller within the larger, and positions to judge by."""
    part, test = _draw(np.arange(len(y)), y, len(y) - min(MAX_TEST, round(0.3 * len(y))), seed)
    part = _draw(part, y, MAX_TRAIN, seed)[0] if len(part) > MAX_TRAIN else part
    training = {"all": part}
    for size in (200, 100, 50, 25):
        if (y.ndim == 2 or size >= len(np.unique(y))) and size < len(part):
            part = _draw(part, y, size, seed)[0]
            training[str(size)] = part
    return training, test


def _draw(positions, y, n_drawn, seed):
    classes = y[positions] if y.ndim == 1 else None
    return train_test_split(positions, train_size=n_drawn, stratify=classes, random_state=seed)


def columns_of(widths):
    """Return the columns of each choice of features among means and deviations of all stages."""
    ends = np.cumsum(widths)
    means = np.concatenate([np.arange(end - width, end - width // 2) for end, width in zip(ends, widths, strict=True)])
    top = np.arange(ends[-1] - widths[-1], ends[-1])
    return {
        MAIN: np.arange(ends[-1]),
        "all avg": means,
        "top avg+std": top,
        "top avg": top[: len(top) // 2],
    }


def scales_of(X, widths=None):
    """Return what features may be divided by: nothing, the root of the deviation, the deviation, it with a floor."""
    deviation = X.std(axis=0)
    deviation[deviation == 0] = 1
    root, floored = scalings(X, np.ones(len(X)))
    scales = {"none": np.ones_like(deviation), "root": root, "s": deviation, "floored": floored}
    if widths is not None and sum(widths) == len(deviation):
        stages = np.repeat(np.arange(len(widths)), widths)
        typical = (np.bincount(stages, deviation) / np.bincount(stages))[stages]
        scales["s, floored by stage"] = np.hypot(deviation, typical)
    return scales


def turned(A, B):
    """Return rows of training and test in the dimensions of the training rows, features having a mean square of one."""
    factor = np.sqrt(A.shape[1] * len(A) / np.square(A).sum())
    values, directions = np.linalg.eigh(factor**2 * (A @ A.T))
    kept = values > 1e-10 * values[-1]
    values, directions = values[kept], directions[:, kept]
    return directions * np.sqrt(values), factor**2 * (B @ A.T) @ (directions / np.sqrt(values))


def calibrated(left_out, scores, y):
    """Return log-probabilities of test images at the temperature best for images left out, and its log-loss."""

    def loss(log_steepness):
        logs = log_softmax(np.exp(log_steepness) * left_out, axis=1)
        return -(logs[np.arange(len(y)), y].sum() + logs.mean()) / (len(y) + 1)

    best = minimize_scalar(loss, bounds=(-12, 6), method="bounded")
    return log_softmax(np.exp(best.x) * scores, axis=1), best.fun


def discriminant(A, B, y):
    """Fit linear discriminant analysis with scikit-learn's shrinkage, by Woodbury; return log-probabilities."""
    classes, counts = np.unique(y, return_counts=True)
    priors, means = counts / len(y), np.stack([A[y == k].mean(axis=0) for k in classes])
    diagonal, rows = np.zeros(A.shape[1]), []
    for k, prior, mean in zip(classes, priors, means, strict=True):
        scaler = StandardScaler().fit(A[y == k])
        scaled = scaler.transform(A[y == k])
        shrinkage = ledoit_wolf_shrinkage(scaled) if len(scaled) > 1 else 1.0
        diagonal += prior * shrinkage * max(scaled.var(axis=0).mean(), 1e-3) * scaler.scale_**2
        rows.append(np.sqrt(prior * (1 - shrinkage) / len(scaled)) * (A[y == k] - mean))
    rows = np.concatenate(rows)
    thin, solved = rows / diagonal, means / diagonal
    coef = solved - np.linalg.solve(np.eye(len(rows)) + thin @ rows.T, rows @ solved.T).T @ thin
    return log_softmax(B @ coef.T + np.log(priors) - 0.5 * (means * coef).sum(axis=1), axis=1)


def discriminant_path(T, y):
    """Yield, by strength, scores of images left out and coefficients of discriminant analysis with one shrinkage."""
    n, counts = len(y), np.bincount(y)
    means = np.stack([T[y == k].mean(axis=0) for k in range(len(counts))])
    values, directions = np.linalg.eigh((T - means[y]).T @ (T - means[y]) / n)
    values, T, means = np.maximum(values, 0), T @ directions, means @ directions
    R, own, others = T - means[y], np.arange(n), np.maximum(counts[y] - 1, 1)
    for strength in STRENGTHS:
        inverse = 1 / (values + strength * np.square(T).sum() / n / n)
        coef = means * inverse
        r_r, x_r, r_m = (R**2 * inverse).sum(axis=1), (T * R * inverse).sum(axis=1), R @ coef.T
        # Without row i the scatter is less by a multiple of r r', and its class mean by r / (count - 1).
        multiple = np.where(counts[y] > 1, counts[y] / others / n, 0)
        more = multiple / np.maximum(1 - multiple * r_r, 1e-9)
        linear = T @ coef.T + (more * x_r)[:, None] * r_m
        squares = (means * coef).sum(axis=1) + more[:, None] * r_m**2
        r_own, step = r_m[own, y] * (1 + more * r_r), 1 / others
        linear[own, y] -= step * x_r * (1 + more * r_r)
        squares[own, y] += step**2 * r_r * (1 + more * r_r) - 2 * step * r_own
        yield linear - squares / 2, (directions @ coef.T, -0.5 * (means * coef).sum(axis=1))


def discriminant_left_out(T, T_test, y):
    """Choose the shrinkage by the log-loss of images left out."""
    fits = [
        calibrated(left_out, T_test @ coef + intercept, y) for left_out, (coef, intercept) in discriminant_path(T, y)
    ]
    return min(fits, key=lambda fit: fit[1])


def logistic(T, T_test, y, C):
    """Fit a logistic regression; return log-probabilities."""
    return LogisticRegression(C=C, max_iter=500, tol=1e-3).fit(T, y).predict_log_proba(T_test)


def logistic_by_cv(T, T_test, y):
    """Choose C by the log-loss of three folds."""
    choices, losses = (1e-3, 1e-2, 1e-1, 1.0), np.zeros(4)
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(T, y):
        for i, C in enumerate(choices):
            logs = logistic(T[train], T[test], y[train], C)
            losses[i] -= logs[np.arange(len(test)), y[test]].sum()
    return logistic(T, T_test, y, choices[losses.argmin()])


def neighbours(T, T_test, y, n_classes):
    """Vote among the five most similar images, by cosine."""
    A, B = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (T, T_test))
    votes = np.eye(n_classes)[y[np.argsort(-B @ A.T, axis=1)[:, :5]]].sum(axis=1) + 1 / n_classes
    return np.log(votes / votes.sum(axis=1, keepdims=True))


def ridge(A, B, scale, y, n_classes):
    """Fit the shipped ridge; return log-probabilities, and the log-loss of images left out."""
    arguments = (A, np.eye(n_classes)[y], np.ones(len(y)))
    chosen = fit_ridge(*arguments, one_strength=True) if scale is None else None
    fit = chosen or fit_scaled_ridge(*arguments, scale, one_strength=True)
    return calibrated(fit.left_out, B @ fit.coef.T + fit.intercept, y)


def mean_of(first, second):
    """Average probabilities."""
    return np.logaddexp(first, second) - np.log(2)


def candidates(Z, y, train, test, widths, seed):
    """Yield the name and the log-probabilities of each candidate."""
    n_classes, labels = len(np.unique(y)), y[train]
    for features, columns in columns_of(widths).items():
        X, seen = Z[train][:, columns], Z[test][:, columns]
        A, B = X - X.mean(axis=0), seen - X.mean(axis=0)
        yield f"{features} | chosen | ridge", ridge(A, B, None, labels, n_classes)[0]
        scales = scales_of(X, widths if features == MAIN else None)
        T, T_test = turned(A / scales["s"], B / scales["s"])
        yield f"{features} | s | logistic C=.01", logistic(T, T_test, labels, 0.01)
        if features == "top avg":  # as it is usually done: neither scaled nor tuned
            logs = LogisticRegression(max_iter=500, tol=1e-3).fit(X, labels).predict_log_proba(seen)
            yield f"{features} | none | logistic C=1", logs
        if features == MAIN:
            yield f"{features} | s | LDA, own shrinkage", discriminant(A / scales["s"], B / scales["s"], labels)
            yield f"{features} | s | 5 neighbours", neighbours(T, T_test, labels, n_classes)
            for scaling, scale in scales.items():
                of_ridge, loss = ridge(A, B, scale, labels, n_classes)
                yield f"{features} | {scaling} | ridge", of_ridge
                if scaling == "root":
                    yield from others(features, *turned(A / scale, B / scale), labels, of_ridge, loss, seed)


def others(features, T, T_test, y, of_ridge, loss, seed):
    """Yield what else may stand on features divided by the root of their deviation, and averages with the ridge."""
    of_lda, loss_of_lda = discriminant_left_out(T, T_test, y)
    weak = logistic(T, T_test, y, 0.1)
    yield f"{features} | root | logistic C=.1", weak
    yield f"{features} | root | LDA, left out", of_lda
    yield f"{features} | root | ridge or LDA, left out", of_ridge if loss <= loss_of_lda else of_lda
    yield f"{features} | root | mean of ridge and LDA", mean_of(of_ridge, of_lda)
    yield f"{features} | root | mean of ridge and logistic", mean_of(of_ridge, weak)
    yield f"{features} | root | PCA 50, logistic C=.1", logistic(T[:, -50:], T_test[:, -50:], y, 0.1)
    if seed % 5 == 0 and np.bincount(y).min() > 2:  # the dearest by far
        yield f"{features} | root | logistic, C by folds", logistic_by_cv(T, T_test, y)


def judged(logs, y):
    """Return accuracy, log-loss and expected calibration error in 15 bins."""
    sure, right = np.exp(logs.max(axis=1)), logs.argmax(axis=1) == y
    bins = np.minimum((15 * sure).astype(int), 14)
    error = sum(abs((right - sure)[bins == k].sum()) for k in range(15)) / len(y)
    loss = -np.maximum(logs[np.arange(len(y)), y], np.log(1e-10)).mean()
    return [round(float(value), 4) for value in (right.mean(), loss, error)]


def numbers(Z, y, train, test):
    """Yield the name and the predictions of each candidate for a column of numbers."""
    yield "s | RidgeCV", _ridge_cv(Z[train], y[train], Z[test])
    mean = Z[train].mean(axis=0)
    A, B = Z[train] - mean, Z[test] - mean
    arguments = (A, y[train, None], np.ones(len(train)))
    fits = {"chosen": fit_ridge(*arguments, one_strength=False)}
    for scaling, scale in scales_of(Z[train]).items():
        fits[scaling] = fit_scaled_ridge(*arguments, scale, one_strength=False)
    for scaling, fit in fits.items():
        yield f"{scaling} | ridge", B @ fit.coef[0] + fit.intercept[0]


def _ridge_cv(A, y, B):
    scaler = StandardScaler().fit(A)
    model = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(scaler.transform(A), y)
    return model.predict(scaler.transform(B))


def measure(options, task, name, network, seed, done):
    """Fit all candidates on one set, in all sizes."""
    lacking = [size for size in SIZES if (task, name, network, size, seed) not in done]
    if not lacking:
        return
    Z, y, widths = features_of(options, network, name)
    training, test = split(y, seed)
    for size in [size for size in lacking if size in training]:
        train = training[size]
        record = {"task": task, "set": name, "network": network, "n": size, "seed": seed, "n_train": len(train)}
        if task == "classes":
            fits = candidates(Z, y, train, test, widths, seed)
            record |= {"n_classes": len(np.unique(y)), "fits": {key: judged(logs, y[test]) for key, logs in fits}}
        else:
            columns = dict(zip(COUNTS, y.T, strict=True)) if y.ndim == 2 else {"digit": y.astype(float)}
            record["fits"] = {
                f"{column} | {key}": [round(float(r2_score(values[test], predicted)), 4)]
                for column, values in columns.items()
                for key, predicted in numbers(Z, values, train, test)
            }
        append_record(options.results, record)
        done[task, name, network, size, seed] = record


def main():
    """Fit what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--weights", type=Path, help="folder of the weights")
    parser.add_argument("--features", type=Path, default=Path("features"), help="folder to keep features in")
    parser.add_argument("--results", type=Path, default=Path("heads.jsonl"), help="file of fits")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if not options.results.exists():
        options.results.write_bytes(gzip.decompress(Path(__file__).with_name("heads.jsonl.gz").read_bytes()))
    done = read_records(options.results, KEY)
    cases = [("classes", name) for name in CLASSES] + [("numbers", "bccd_counts"), ("numbers", "mnist")]
    for seed in [] if options.tables else options.seeds:
        for network in NETWORKS:
            start = time.perf_counter()
            for task, name in cases:
                measure(options, task, name, network, seed, done)
            print(f"{seed} {network}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print_tables(done.values())


if __name__ == "__main__":
    main()
