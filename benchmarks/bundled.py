"""Measure the bundled networks as frozen feature extractors, beside random weights, HOG and pixels.

One command prints a markdown table::

    OMP_NUM_THREADS=1 python benchmarks/bundled.py --data ../shared/data

Each figure is the accuracy in per cent, on random stratified splits, of a shrinkage linear discriminant analysis; of a
network on average and standard deviation of the maps of all stages. The recipe of the pretraining was chosen on splits
0 to 4 of the first eight sets: the splits measured here and the other five sets were not used for it. Beside them, at
64 pixels, stand two small networks that were pretrained on the photographs of CIFAR-10, cifar10_test1k's own kind.
Without the folder only scikit-learn's digits are measured.
"""

import argparse
import csv
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sktl.backbones import Preprocessing, load_backbone
from sktl.exceptions import PhotographsWarning
from sktl.feature_extraction import PretrainedFeatureExtractor

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# Training images where it is not three quarters.
N_TRAIN = {"cifar10_test1k": 700, "hymenoptera": 244, "digits": 300, "doodles6": 300, "mnist": 300, "usps": 300}
N_TEST = 600  # at most
N_EIGHT = 8  # sets that the recipe was chosen on
SPLITS = range(5, 10)
HOG_SIZE, PIXELS_SIZE, CELL, N_DIRECTIONS = 48, 16, 8, 9


def from_index(folder, **wanted):
    """Return paths and classes of a folder with index.csv, of the rows with the wanted values."""
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]
    return [Image.open(folder / row["file"]) for row in rows], np.array([row["class"] for row in rows])


def from_arrays(arrays):
    """Make grey pictures of 0-255 arrays."""
    return [Image.fromarray(array) for array in np.asarray(arrays, np.uint8)]


def data_sets(folder):
    """Yield name, pictures and classes: the eight that the recipe was chosen on, then the others."""
    if folder.is_dir():
        for name in ("cifar10_test1k", "clothing10", "hymenoptera", "caltech15"):
            yield name, *from_index(folder / name)
        for domain in ("photo", "sketch"):
            yield f"pacs {domain}", *from_index(folder / "pacs", domain=domain)
        file = np.load(folder / "doodles6" / "doodles6.npz")
        yield "doodles6", from_arrays(file["images"][::2]), file["labels"][::2]
    digits = load_digits()
    yield "digits", from_arrays(digits.images * 255 / 16), digits.target
    if folder.is_dir():
        yield "rsscn7", *from_index(folder / "rsscn7")
        yield "pacs art", *from_index(folder / "pacs", domain="art_painting")
        file = np.load(folder / "digits_mnist_usps" / "digits_mnist_usps.npz")
        yield "mnist", from_arrays(file["mnist_images"][::2]), file["mnist_labels"][::2]
        yield "usps", from_arrays(file["usps_test_images"]), file["usps_test_labels"]
        file = np.load(folder / "pneumonia28" / "pneumonia28.npz")
        yield "pneumonia28", from_arrays(file["train_images"]), file["train_labels"].ravel()


def squares(images, size):
    """Reduce pictures to squares: the shorter side to the size, then the centre."""
    upright = [ImageOps.exif_transpose(image).convert("RGB") for image in images]
    return np.stack([np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)) for image in upright])


def pixels(images):
    """Reduce pictures to 16 × 16 pixels, as vectors."""
    return squares(images, PIXELS_SIZE).reshape(len(images), -1).astype(np.float32)


def hog(images):
    """Histograms of oriented gradients: 9 directions in cells of 8 pixels, normalised in blocks of 2 by 2 cells."""
    values = np.sqrt(squares(images, HOG_SIZE) / np.float32(255))
    vertical, horizontal = np.gradient(values, axis=(1, 2))
    largest = np.hypot(vertical, horizontal).argmax(3)[..., None]
    vertical, horizontal = (np.take_along_axis(part, largest, 3)[..., 0] for part in (vertical, horizontal))
    direction = (np.arctan2(vertical, horizontal) % np.pi) * (N_DIRECTIONS / np.pi) - 0.5
    below = np.floor(direction)
    above, n_cells = direction - below, HOG_SIZE // CELL
    cells = np.empty((len(images), N_DIRECTIONS, n_cells, n_cells), np.float32)
    for k in range(N_DIRECTIONS):
        share = (below % N_DIRECTIONS == k) * (1 - above) + ((below + 1) % N_DIRECTIONS == k) * above
        strength = np.hypot(vertical, horizontal) * share
        cells[:, k] = strength.reshape(-1, n_cells, CELL, n_cells, CELL).sum((2, 4))
    blocks = [cells[:, :, i : n_cells - 1 + i, j : n_cells - 1 + j] for i in (0, 1) for j in (0, 1)]
    blocks = np.stack(blocks, 1)
    for _ in range(2):  # normalised, cut off at 0.2, normalised again
        blocks = np.minimum(blocks / np.sqrt((blocks**2).sum((1, 2), keepdims=True) + 1e-3), 0.2)
    return (blocks / np.sqrt((blocks**2).sum((1, 2), keepdims=True) + 1e-3)).reshape(len(images), -1)


def of_network(images, backbone, size=None, weights="default"):
    """Average and standard deviation of the maps of all stages."""
    options = {"layer": "all", "pooling": "avg+std", "image_size": size, "cache": False, "random_state": 0}
    return PretrainedFeatureExtractor(backbone, weights=weights, **options).fit_transform(images)


class CifarBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut without parameters."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.stride, self.more = 1 + (n_in != n_out), (n_out - n_in) // 2
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, self.stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)

    def forward(self, x):
        """Add what the convolutions make to the input."""
        branch = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return torch.relu(branch + x)


class CifarResNet(nn.Module):
    """The residual network for 32 × 32 pixels of 6n + 2 layers, to be loaded with weights of CIFAR-10."""

    def __init__(self, n):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        for k, (n_in, n_out) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            blocks = [CifarBlock(n_in if i == 0 else n_out, n_out) for i in range(n)]
            setattr(self, f"layer{k}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        """Return the logits."""
        x = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def cifar_resnet(folder, depth):
    """Load one of the two networks of CIFAR-10, to see 64 pixels."""
    preprocessing = Preprocessing(crop_size=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    stages = [("stem", ["conv1", "bn1", "relu"]), "layer1", "layer2", "layer3"]
    weights = folder / f"resnet{depth}-cifar10.pth"
    return load_backbone(CifarResNet((depth - 2) // 6), weights, preprocessing=preprocessing, stages=stages)


def methods(folder, sizes):
    """Return a function for each column, from pictures to vectors."""
    columns = {"pixels": pixels, "HOG": hog}
    columns["random weights"] = partial(of_network, backbone="tiny_formula", weights=None)
    for name in ("tiny_fractal", "tiny_formula"):
        for size in sizes:
            columns[f"{name} {size} px"] = partial(of_network, backbone=name, size=size)
    if folder.is_dir():
        for depth in (20, 56):
            columns[f"ResNet-{depth} of CIFAR-10"] = partial(of_network, backbone=cifar_resnet(folder, depth))
    return columns


def accuracy(X, y, n_train):
    """Mean over the splits, in per cent."""
    head = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
    n_test = min(N_TEST, len(y) - n_train)
    scores = []
    for seed in SPLITS:
        split = StratifiedShuffleSplit(1, train_size=n_train, test_size=n_test, random_state=seed)
        scores.append(cross_val_score(head, X, y, cv=split, error_score="raise")[0])
    return 100 * np.mean(scores)


def measure(options):
    """Print the table."""
    columns = methods(options.data / "weights", options.sizes)
    columns = {name: vectors_of for name, vectors_of in columns.items() if name in (options.only or columns)}
    print("| data set | training images / classes | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 2))
    rows = []
    for name, images, y in data_sets(options.data / "datasets"):
        n_train = N_TRAIN.get(name, 3 * len(y) // 4)
        rows.append([accuracy(vectors_of(images), y, n_train) for vectors_of in columns.values()])
        print(f"| {name} | {n_train} / {len(np.unique(y))} | {line(rows[-1])}", flush=True)
    if len(rows) > 1:
        print(f"| **mean of the first {N_EIGHT}** | | {line(np.mean(rows[:N_EIGHT], 0))}")
        print(f"| **mean of the others** | | {line(np.mean(rows[N_EIGHT:], 0))}")


def line(row):
    """Format the figures of a line."""
    return " | ".join(f"{value:.1f}" for value in row) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with datasets and weights")
    parser.add_argument("--sizes", type=int, nargs="+", default=[48, 64], help="image sizes in pixels")
    parser.add_argument("--only", nargs="+", help="columns to measure (default: all)")
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", PhotographsWarning)
    measure(parser.parse_args())
