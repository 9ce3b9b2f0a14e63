"""Are the results of two versions of sktl the same bits? Record them with one, check them with the other.

    python benchmarks/same_bits.py record FOLDER    # with the version before a change
    python benchmarks/same_bits.py check FOLDER     # with the version after it

What is compared: embeddings of one network of every family of torchvision (random weights from one seed) and of the
bundled one, with every pooling; fitted networks at several depths, classifier and regressor; the scores of a comparison
and of a label-efficiency curve; and a store that was filled while recording, from which every vector must be read while
checking. One thread, and only names that both versions have.
"""

import argparse
import json
import os
import sys
import warnings
from hashlib import sha256
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor, compare_transfer
from sktl.comparison import (
    corrected_interval,
    corrected_p_value,
    correlated_t_probabilities,
    label_efficiency,
)
from sktl.datasets import make_fractals

FAMILIES = {  # name → side of the image; None where the network takes one size only
    **dict.fromkeys(["alexnet", "vgg11", "vgg11_bn", "resnet18", "resnext50_32x4d", "wide_resnet50_2"], 64),
    **dict.fromkeys(["squeezenet1_1", "densenet121", "googlenet", "shufflenet_v2_x0_5", "mobilenet_v2"], 64),
    **dict.fromkeys(["mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_s", "mnasnet0_5"], 64),
    **dict.fromkeys(["regnet_y_400mf", "convnext_tiny", "swin_t", "swin_v2_t"], 64),
    **dict.fromkeys(["inception_v3", "vit_b_32", "maxvit_t"], None),
}
POOLINGS = ("auto", "avg", "max", "avg+max", "avg+std", "gem", "pyramid", "flatten")
QUICK = {"max_epochs": 2, "random_state": 0}


def digest(array):
    """Identify an array by its type, shape and bytes."""
    array = np.ascontiguousarray(array)
    return f"{array.dtype} {array.shape} {sha256(array.tobytes()).hexdigest()}"


def embeddings(images):
    """Embed images by one network of every family, and by the bundled one with every pooling."""
    for pooling in POOLINGS:
        extractor = PretrainedFeatureExtractor(layer="all", pooling=pooling, cache=False)
        yield f"tiny_fractal {pooling}", extractor.fit_transform(images)
    for name, size in FAMILIES.items():
        options = {"weights": None, "image_size": size, "cache": False, "random_state": 0}
        yield name, PretrainedFeatureExtractor(name, **options).fit_transform(images[:2])


def fits(images, target):
    """Fit a few networks of every kind."""
    numbers = np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], axis=1)
    for depth in (0, 1, "all"):
        options = {"unfreeze_depth": depth, "cache": False, **QUICK}
        yield f"classifier {depth}", FineTuneClassifier(**options).fit(images, target).predict_proba(images)
        yield f"regressor {depth}", FineTuneRegressor(**options).fit(images, numbers).predict(images)
    several = np.stack([target == 0, target < 2], axis=1).astype(int)
    yield "multilabel", FineTuneClassifier(cache=False, **QUICK).fit(images, several).predict_proba(images)
    scratch = FineTuneClassifier(weights=None, early_stopping=True, cache=False, **QUICK)
    yield "from scratch", scratch.fit(images, target).predict_proba(images)
    mixed = FineTuneClassifier(mixup=0.2, cutmix=1.0, augment="trivial", label_smoothing=0.1, cache=False, **QUICK)
    yield "mixed", mixed.fit(images, target).predict_proba(images)


def comparisons(digits):
    """Compare on digits, at one size and at two."""
    X, y = digits.images[:120], digits.target[:120] % 2
    comparison = compare_transfer(X, y, max_epochs=2, cv=3)
    for name, scores in comparison.scores.items():
        yield f"comparison {name}", scores
    sizes = comparison.n_train, comparison.n_test
    for name in comparison.candidates:  # the interval of a row may be another one
        differences = comparison.differences(name)
        values = [*corrected_interval(differences, *sizes), corrected_p_value(differences, *sizes)]
        values += correlated_t_probabilities(differences, *sizes, rope=0.01)
        yield f"row {name}", np.array([differences.mean(), *values], dtype=float)
    curve = label_efficiency(X, y, sizes=(0.5, 1.0), max_epochs=1, cv=3)
    for name, scores in curve.scores.items():
        yield f"label efficiency {name}", scores


def from_store(images, folder, checking):
    """Embed and train by way of a store, which is full already while checking."""
    extractor = PretrainedFeatureExtractor(layer="all", pooling="avg+std", cache=folder)
    yield "from the store", extractor.fit_transform(images)
    tuned = FineTuneClassifier(unfreeze_depth=1, augment=None, cache=folder, **QUICK).fit(
        images, np.arange(len(images)) % 3
    )
    yield "trained from the store", tuned.predict_proba(images)
    if checking:
        n_misses = extractor.store_info_.n_misses + tuned.store_info_.n_misses
        yield "vectors that were not in the store", np.array(n_misses)
    else:
        yield "vectors that were not in the store", np.array(0)


def main():
    """Record or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["record", "check"])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ["SKTL_CACHE_DIR"] = str(options.folder / "own store")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    images, target = make_fractals(60, n_classes=3, random_state=0)
    found = {}
    for results in (
        embeddings(images),
        fits(images, target),
        comparisons(load_digits()),
        from_store(images, options.folder / "store", options.what == "check"),
    ):
        for name, array in results:
            found[name] = digest(array)
            print(name, found[name][-8:], flush=True)
    file = options.folder / "digests.json"
    if options.what == "record":
        file.write_text(json.dumps(found, indent=1))
        return
    recorded = json.loads(file.read_text())
    others = [name for name in recorded.keys() | found.keys() if recorded.get(name) != found.get(name)]
    print(
        f"{len(found) - len(others)} of {len(recorded)} results are the same bits."
        + f" Others: {others}" * bool(others)
    )
    sys.exit(bool(others))


if __name__ == "__main__":
    main()
