"""What a choice of network or strategy is judged by: scores on images set aside, of fits that were really run.

A set is split once for a seed: 200 images to learn from, 50 of them for the smaller size, and up to 400 of the others
to judge by. Every fit is a line of a file; a second run does what is missing. Networks of random weights are trained
from scratch, which is what FineTuneClassifier does with them.
"""

import sys
import time
import warnings

import numpy as np
from _datasets import load_set, take
from _study import append_record
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from sktl import FineTuneClassifier
from sktl.feature_extraction.frozen_pipeline import frozen_pipeline

SETS = ("hymenoptera", "clothing10", "caltech15", "rsscn7", "pneumonia28", "doodles6")
SIZES = (50, 200)
MAX_TEST = 400
# A name of our own: the network, its weights (a file of the folder of weights, or as the estimators take them), and
# the top-1 accuracy on ImageNet that is published for it, where there is one.
NETWORKS = {
    "tiny_fractal": ("tiny_fractal", "default", None),
    "mobilenet_v2": ("mobilenet_v2", "mobilenet_v2-imagenet-tf.pth", 0.71878),
    "mobilenet_v2 birds": ("mobilenet_v2", "mobilenet_v2-inat_bird-tf.pth", None),
    "squeezenet1_1": ("squeezenet1_1", "squeezenet1_1-imagenet.pth", 0.58178),
    "efficientnet_lite0": ("efficientnet_lite0", "default", 0.755),
    "mobilenet_v2 random": ("mobilenet_v2", None, None),
}
RANDOM = "mobilenet_v2 random"
DEFAULT_STRATEGY = "depth 1"
STRATEGIES = {"frozen": None, "depth 0": 0, DEFAULT_STRATEGY: 1, "depth 2": 2, "all": "all", "from scratch": "all"}
KEY = ("set", "network", "n", "seed", "strategy", "image_size")


def weights_of(folder, network):
    """Return the weights of a network as the estimators take them."""
    weights = NETWORKS[network][1]
    return str(folder / weights) if str(weights).endswith(".pth") else weights


def split(y, seed):
    """Split a set once.

    Parameters
    ----------
    y : ndarray of shape (n_images,)
        Classes; all parts keep their shares.
    seed : int
        Which split.

    Returns
    -------
    training : dict of int to ndarray
        Positions by size, the smaller within the larger.
    test : ndarray
        Positions of up to 400 of the other images.
    """
    large, rest = _draw(np.arange(len(y)), y, max(SIZES), seed)
    small, _ = _draw(large, y, min(SIZES), seed)
    test = rest if len(rest) <= MAX_TEST else _draw(rest, y, MAX_TEST, seed)[0]
    return {min(SIZES): small, max(SIZES): large}, test


def _draw(positions, y, n_drawn, seed):
    return train_test_split(positions, train_size=n_drawn, stratify=y[positions], random_state=seed)


def estimator_of(strategy, network, folder, *, image_size, seed, cache=True):
    """Make the unfitted estimator of a strategy, with defaults but for network, image size and seed."""
    weights = None if strategy == "from scratch" else weights_of(folder, network)
    shared = {"backbone": NETWORKS[network][0], "weights": weights, "image_size": image_size, "device": "cpu"}
    shared["cache"] = cache
    if strategy == "frozen":
        return frozen_pipeline("classification", **shared, random_state=seed)
    return FineTuneClassifier(**shared, unfreeze_depth=STRATEGIES[strategy], random_state=seed)


def truths(cases, folder, path, done, cache=True):
    """Run the cases that are not in a file of fits, seed by seed as they come, and return all of them.

    Parameters
    ----------
    cases : iterable of dict
        Each with the names in KEY.
    folder : Path
        With a folder ``datasets``, as _datasets.py describes it, and a folder ``weights``.
    path : Path
        File of fits, which grows.
    done : dict
        What it holds, by KEY.
    cache : bool, default=True
        Whether fits share an embedding store; where seconds matter, False.

    Returns
    -------
    list of dict
        The cases with score (accuracy), balanced (balanced accuracy), seconds, cpu_seconds.
    """
    results = []
    for case in cases:
        key = tuple(case[name] for name in KEY)
        if key not in done:
            done[key] = _run(case, folder, cache)
            append_record(path, done[key])
            print(*key[:5], f"{done[key]['score']:.3f} in {done[key]['seconds']:.1f} s", file=sys.stderr, flush=True)
        results.append(done[key])
    return results


def _run(case, folder, cache):
    X, y = load_set(folder / "datasets", case["set"])
    training, test = split(y, case["seed"])
    train = training[case["n"]]
    given = {"image_size": case["image_size"], "seed": case["seed"], "cache": cache}
    model = estimator_of(case["strategy"], case["network"], folder / "weights", **given)
    start, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(take(X, train), y[train])
    took, used = time.perf_counter() - start, time.process_time() - cpu
    predicted = model.predict(take(X, test))
    return case | {
        "score": float(np.mean(predicted == y[test])),
        "balanced": float(balanced_accuracy_score(y[test], predicted)),
        "seconds": round(took, 2),
        "cpu_seconds": round(used, 2),
        "n_test": len(test),
    }
