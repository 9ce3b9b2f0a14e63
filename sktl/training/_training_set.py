"""The training set in canonical form, which depends on images and weights but not on their order, and its split.

Images of weight zero are dropped, copies of one image with one target are merged and their weights added, and the rest
is sorted by content. A weight of two then is exactly the same as listing the image twice.
"""

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit


def canonical(images, targets, weights):
    """Merge copies and sort; return positions of the images that are left, and their weights."""
    # Batches, dropout and the inner split draw by position, so positions must follow from content: the same images in
    # any order give the same fit. The key holds the target too: one image under two labels stays two.
    total: dict = {}
    first: dict = {}
    for i in np.flatnonzero(weights):
        key = (images.digest(i), targets[i].tobytes())
        total[key] = total.get(key, 0.0) + float(weights[i])
        first.setdefault(key, i)
    keys = sorted(total)
    indices = np.array([first[key] for key in keys], dtype=np.intp)
    return indices, np.array([total[key] for key in keys], dtype=np.float64)


def inner_split(targets, stratify, validation_fraction, seed):
    """Set aside part of the training images for early stopping."""
    n_images = len(targets)
    n_validation = max(1, round(validation_fraction * n_images))
    if n_images - n_validation < 2:
        raise ValueError(
            "early_stopping=True must leave at least two distinct images to train on. "
            f"Got {n_images} of which {n_validation} would be set aside instead (n_samples={n_images}). "
            "Use early_stopping=False, or give more images."
        )
    splitter = ShuffleSplit(1, test_size=n_validation, random_state=seed)
    if stratify:
        counts = np.unique(targets, return_counts=True)[1]
        n_validation = max(n_validation, len(counts))
        if counts.min() >= 2 and n_images - n_validation >= len(counts):
            splitter = StratifiedShuffleSplit(1, test_size=n_validation, random_state=seed)
    train, validation = next(splitter.split(np.zeros(n_images), targets if stratify else None))
    return np.sort(train), np.sort(validation)
