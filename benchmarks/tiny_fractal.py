"""Measure the bundled network `tiny_fractal` as a frozen feature extractor, beside its twin of random weights.

One command prints a markdown table::

    OMP_NUM_THREADS=1 python benchmarks/tiny_fractal.py --data ../shared/data/datasets

Without the folder of real photos only scikit-learn's digits are measured. Columns: accuracy in per cent of
(a) the average of the last maps, standardised, with a logistic regression of C = 0.1;
(b) average and standard deviation of the maps of all stages with a shrinkage linear discriminant analysis;
each with the pretrained weights and with random weights (as torch initialises them, batch norm not calibrated; mean of
three seeds), and the same classifiers on the pixels reduced to 16 × 16.
"""

import argparse
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sktl.backbones.sources._bundled import IMAGE_SIZE, MEAN, STD, TinyResNet

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "sktl" / "backbones" / "weights" / "tiny_fractal.safetensors"
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)
HEADS = {
    "a": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
    "b": make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
}


def square(image, size):
    """Shorter side to the size, then the centre, with the roundings of torchvision."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    shorter = min(image.size)
    image = image.resize([size * side // shorter for side in image.size], Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def from_arrays(arrays):
    """Make grey pictures of 0-255 arrays."""
    return [Image.fromarray(np.asarray(array, dtype=np.uint8)) for array in arrays]


def from_index(folder, **wanted):
    """Read pictures and classes of a folder with index.csv, of the rows with the wanted values."""
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]
    return [Image.open(folder / row["file"]) for row in rows], np.array([row["class"] for row in rows])


def given(n_train, n_test):
    """Train on the first pictures, test on the rest."""
    return PredefinedSplit([-1] * n_train + [0] * n_test)


def data_sets(folder):
    """Yield name, pictures, classes, split and what the split is."""
    digits = load_digits()
    splits = StratifiedShuffleSplit(10, train_size=300, random_state=0)
    yield "digits, n=300", from_arrays(digits.images * 255 / 16), digits.target, splits, "10 random splits"
    if not folder.is_dir():
        return
    for name in ("clothing10", "caltech15", "rsscn7", "hymenoptera"):
        yield name, *from_index(folder / name), FOLDS, "5-fold"
    for domain in ("sketch", "photo"):
        yield f"pacs {domain}", *from_index(folder / "pacs", domain=domain), FOLDS, "5-fold"
    file = np.load(folder / "doodles6" / "doodles6.npz")
    yield "doodles6", from_arrays(file["images"]), file["labels"], FOLDS, "5-fold"
    file = np.load(folder / "digits_mnist_usps" / "digits_mnist_usps.npz")
    yield "mnist, n=2000", from_arrays(file["mnist_images"]), file["mnist_labels"], FOLDS, "5-fold"
    train, test = (file[f"usps_{part}_images"] for part in ("train", "test"))
    y = np.concatenate([file["usps_train_labels"], file["usps_test_labels"]])
    yield "usps", from_arrays([*train, *test]), y, given(len(train), len(test)), "given split"
    file = np.load(folder / "pneumonia28" / "pneumonia28.npz")
    train, test = file["train_images"], file["test_images"]
    y = np.concatenate([file["train_labels"], file["test_labels"]])
    yield "pneumonia28", from_arrays([*train, *test]), y, given(len(train), len(test)), "given split"


@torch.no_grad()
def features(network, images):
    """Return (a) the average of the last maps and (b) average and standard deviation of the maps of all stages."""
    network.eval()
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    last, everything = [], []
    for start in range(0, len(images), 128):
        x = torch.from_numpy(images[start : start + 128]).permute(0, 3, 1, 2) / 255
        x, pooled = (x - mean) / std, []
        for stage in (network.stem, network.stage1, network.stage2, network.stage3, network.stage4):
            x = stage(x)
            pooled += [x.mean((2, 3)), x.flatten(2).std(2)]
        last.append(pooled[-2])
        everything.append(torch.cat(pooled, 1))
    return {"a": torch.cat(last).numpy(), "b": torch.cat(everything).numpy()}


def pretrained(path):
    """Load the network with its weights."""
    state = load_file(path)
    network = TinyResNet(len(state["fc.bias"]))
    network.load_state_dict(state)
    return network


def random_twin(seed):
    """Make the network as torch initialises it."""
    torch.manual_seed(seed)
    return TinyResNet()


def scores(X, y, split):
    """Score every head on its features, in per cent."""
    return {name: 100 * cross_val_score(head, X[name], y, cv=split) for name, head in HEADS.items()}


def measure(path, folder, size):
    """Print the table."""
    networks = [pretrained(path)] + [random_twin(seed) for seed in range(3)]
    print(
        "| data set | images / classes | split | a: pretrained | a: random | gain | b: pretrained | b: random | gain ",
        end="",
    )
    print("| pixels a | pixels b |\n|" + "---|" * 11)
    rows = []
    for name, images, y, split, kind in data_sets(folder):
        pixels = np.stack([square(image, 16) for image in images]).reshape(len(y), -1).astype(np.float32)
        images = np.stack([square(image, size) for image in images])
        ours, *twins = (scores(features(network, images), y, split) for network in networks)
        row = []
        for head in HEADS:
            random = np.mean([twin[head].mean() for twin in twins])
            row += [ours[head].mean(), random, ours[head].mean() - random]
        row += [value.mean() for value in scores({"a": pixels, "b": pixels}, y, split).values()]
        rows.append(row)
        count = f"{len(y)} / {len(np.unique(y))}"
        print(f"| {name} | {count} | {kind} | " + format_row(row, ours), flush=True)
    print("| **mean** | | | " + format_row(np.mean(rows, axis=0)))


def format_row(row, ours=None):
    """Format the figures of one line, with the standard deviation over the splits where there are several."""
    cells = [f"{value:+.1f}" if k in (2, 5) else f"{value:.1f}" for k, value in enumerate(row)]
    if ours is not None:
        for k, head in ((0, "a"), (3, "b")):
            if len(ours[head]) > 1:
                cells[k] += f" ± {ours[head].std(ddof=1):.1f}"
    return " | ".join(cells) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "datasets")
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ConvergenceWarning)
    measure(options.weights, options.data, options.image_size)
