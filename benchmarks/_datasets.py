"""Real, small data sets for studies of accuracy: how they are read, and how they are split.

A folder holds one folder per set: photos with an ``index.csv`` (columns file, class), or one ``.npz`` of grey pictures
of 28 x 28 pixels. Sets are for development: what MedMNIST sets aside as its test part is left alone.
"""

import csv

import numpy as np
from PIL import Image, ImageOps
from sklearn.model_selection import train_test_split

PHOTOS = ("hymenoptera", "clothing10", "caltech15", "rsscn7", "cifar10_test1k")
ARRAYS = {
    "doodles6": (("images", "labels"),),
    "pneumonia28": (("train_images", "train_labels"), ("val_images", "val_labels")),
}
SETS = (*PHOTOS, *ARRAYS)
SIZES = ("50", "200", "all")
MAX_TRAIN, MAX_TEST, TEST_SHARE = 400, 300, 0.3


def load_set(folder, name):
    """Read a set.

    Parameters
    ----------
    folder : Path
        Where the sets are.
    name : str
        One of SETS.

    Returns
    -------
    X : list of str or ndarray of shape (n_images, 28, 28), uint8
        Paths, or grey pictures.
    y : ndarray of shape (n_images,), int
        Classes, counted from 0.
    """
    if name in ARRAYS:
        file = np.load(folder / name / f"{name}.npz")
        X = np.concatenate([file[images] for images, _ in ARRAYS[name]])
        labels = np.concatenate([file[labels].ravel() for _, labels in ARRAYS[name]])
    else:
        with open(folder / name / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        X = [str(folder / name / row["file"]) for row in rows]
        labels = [row["class"] for row in rows]
    return X, np.unique(labels, return_inverse=True)[1]


def take(X, positions):
    """Return some of the images."""
    return X[positions] if isinstance(X, np.ndarray) else [X[i] for i in positions]


def pictures(X):
    """Open images as a person sees them: in colour and upright."""
    opened = (Image.fromarray(x) if isinstance(x, np.ndarray) else Image.open(x) for x in X)
    return [ImageOps.exif_transpose(image).convert("RGB") for image in opened]


def split(y, seed):
    """Split a set once: one test part, and training parts of which the smaller lie within the larger.

    Parameters
    ----------
    y : ndarray of shape (n_images,)
        Classes; all parts keep their shares.
    seed : int
        Which split.

    Returns
    -------
    training : dict of str to ndarray
        Positions by size. "all" is 70 % of the set and 400 images at most; sizes that reach it are left out.
    test : ndarray
        Positions: 30 % of the set, 300 images at most.
    """
    n_test = min(MAX_TEST, round(TEST_SHARE * len(y)))
    part, test = _draw(np.arange(len(y)), y, len(y) - n_test, seed)
    if len(part) > MAX_TRAIN:
        part, _ = _draw(part, y, MAX_TRAIN, seed)
    training = {"all": part}
    for size in sorted((int(size) for size in SIZES if size != "all"), reverse=True):
        if size < len(part):
            part, _ = _draw(part, y, size, seed)
            training[str(size)] = part
    return {size: training[size] for size in SIZES if size in training}, test


def _draw(positions, y, n_drawn, seed):
    return train_test_split(positions, train_size=n_drawn, stratify=y[positions], random_state=seed)
