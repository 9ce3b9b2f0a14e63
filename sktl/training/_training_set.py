"""The training set in canonical form, which depends on images and weights but not on their order, and its splits.

Images of weight zero are dropped, copies of one image with one target are merged and their weights added, and the rest
is sorted by content. A weight of two then is exactly the same as listing the image twice.
"""

import warnings
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import GroupKFold, ShuffleSplit, StratifiedGroupKFold, StratifiedShuffleSplit


@dataclass
class TrainingSet:
    """Images, targets and the like in canonical form, and where the rows of X are among them."""

    images: object
    rows: np.ndarray  # of X, the first of each image
    place: np.ndarray  # of each row of X; -1 for those of weight zero
    targets: object  # as tensor
    weights: object  # with mean one, as tensor
    labels: np.ndarray  # or numbers, as users know them
    unlabelled: np.ndarray  # whether an image has no label


def canonical(images, targets, weights, unlabelled=None):
    """Merge copies and sort; return positions of the images that are left, their weights, and where each row went.

    A row of weight zero went nowhere, which is -1, and so did an unlabelled copy of an image that has a label.
    """
    # Batches, dropout and the inner split draw by position, so positions must follow from content: the same images in
    # any order give the same fit. The key holds the target too: one image under two labels stays two.
    copies: dict = defaultdict(list)
    for i in np.flatnonzero(weights):
        copies[images.digest(i), targets[i].tobytes()].append(i)
    if unlabelled is not None and unlabelled.any():
        known = {digest for (digest, _), rows in copies.items() if not unlabelled[rows[0]]}
        copies = {key: rows for key, rows in copies.items() if not unlabelled[rows[0]] or key[0] not in known}
    groups = [copies[key] for key in sorted(copies)]
    place = np.full(len(targets), -1, dtype=np.intp)
    for number, rows in enumerate(groups):
        place[rows] = number
    total = [sum(map(float, weights[rows])) for rows in groups]
    return np.array([rows[0] for rows in groups], dtype=np.intp), np.array(total, dtype=np.float64), place


def merged_groups(groups, place):
    """Return the group of each image in canonical form; groups that share an image are one."""
    codes = np.unique(groups, return_inverse=True)[1][place >= 0]
    rows, shape = place[place >= 0], (place.max() + 1, codes.max() + 1)
    held_by = coo_array((np.ones(len(rows)), (rows, codes)), shape=shape).tocsr()
    merged = connected_components(held_by.T @ held_by, directed=False)[1]
    return merged[np.ravel(held_by.argmax(axis=1))]


def split_of_labelled(unlabelled, groups, split):
    """Split the images with a label, and train on those without, but for those of groups that are set aside.

    `split` takes the groups of the images that it is to split, and returns positions among them.
    """
    labelled = np.flatnonzero(~unlabelled)
    train, held_out = (labelled[part] for part in split(None if groups is None else groups[labelled]))
    further = np.flatnonzero(unlabelled)
    if groups is not None:
        further = further[~np.isin(groups[further], groups[held_out])]
    return np.union1d(train, further), held_out


def inner_split(targets, stratify, validation_fraction, seed, groups=None):
    """Set aside part of the training images for early stopping, and with groups whole ones."""
    n_images = len(targets)
    n_validation = max(1, round(validation_fraction * n_images))
    _check_enough(n_images, n_validation)
    if groups is not None:
        return _group_split(targets, stratify, validation_fraction, seed, groups)
    splitter = ShuffleSplit(1, test_size=n_validation, random_state=seed)
    if stratify:
        counts = np.unique(targets, return_counts=True)[1]
        n_validation = max(n_validation, len(counts))
        if counts.min() >= 2 and n_images - n_validation >= len(counts):
            splitter = StratifiedShuffleSplit(1, test_size=n_validation, random_state=seed)
    train, validation = next(splitter.split(np.zeros(n_images), targets if stratify else None))
    return np.sort(train), np.sort(validation)


def _check_enough(n_images, n_validation):
    if n_images - n_validation < 2:
        raise ValueError(
            "early_stopping=True must leave at least two distinct images to train on. "
            f"Got {n_images} of which {n_validation} would be set aside instead (n_samples={n_images}). "
            "Use early_stopping=False, or give more images."
        )


def _group_split(targets, stratify, validation_fraction, seed, groups):
    """Set aside the fold of groups that is nearest to the fraction in size and leaves most classes to train on."""
    n_images, n_groups = len(targets), len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "groups must be two at least when part of the images is set aside: one group is never split. "
            f"Got {n_groups} instead. Use early_stopping=False, or pass images of other groups as validation=."
        )
    n_folds = min(max(2, round(1 / min(validation_fraction, 1 - validation_fraction))), n_groups)
    # Stratifying is refused where every class is smaller than the number of folds.
    stratify = stratify and np.unique(targets, return_counts=True)[1].max() >= n_folds
    splitter = (StratifiedGroupKFold if stratify else GroupKFold)(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer images than there are folds
        folds = [fold for pair in splitter.split(targets, targets, groups) for fold in [pair[1], pair[0]]]

    def cost(held_out):
        left = np.setdiff1d(np.arange(n_images), held_out)
        lost = 1 - len(np.unique(targets[left])) / len(np.unique(targets)) if stratify else 0.0
        is_too_large = n_images - len(held_out) < 2
        return is_too_large, lost + abs(len(held_out) / n_images - validation_fraction)

    held_out = min((fold for fold in folds if 0 < len(fold) < n_images), key=cost)
    _check_enough(n_images, len(held_out))
    return np.setdiff1d(np.arange(n_images), held_out), np.sort(held_out)


def given_split(splitter, X, y, groups, place, unlabelled):
    """Return the first split of a splitter of rows as one of images in canonical form; copies of one stay together.

    What is set aside without a label is neither trained on nor watched.
    """
    train, held_out = (np.arange(len(place))[rows] for rows in next(iter(splitter.split(X, y, groups))))
    if groups is not None and len(shared := np.intersect1d(groups[train], groups[held_out])):
        raise ValueError(
            f"validation must keep groups together. Got {type(splitter).__name__}, with group {shared[0]!r} on both "
            "sides, instead. Take GroupShuffleSplit, GroupKFold, StratifiedGroupKFold or LeaveOneGroupOut."
        )
    train = np.unique(place[train])
    train, held_out = train[train >= 0], np.setdiff1d(place[held_out], [-1, *train])
    held_out = held_out[~unlabelled[held_out]]
    if len(train) < 2 or len(held_out) == 0:
        raise ValueError(
            "validation must leave at least two distinct images to train on, and set one aside at least. "
            f"Got {type(splitter).__name__}, which leaves {len(train)} and sets {len(held_out)} aside, instead."
        )
    return train, held_out
