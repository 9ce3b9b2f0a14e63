"""Small pictures with two or three kinds of pattern, quick to learn."""

import numpy as np
import pytest


def make_patterns(n_images, n_classes=2, size=16, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_images) % n_classes
    X = rng.integers(0, 60, (n_images, size, size, 3))
    for image, label in zip(X, y, strict=True):
        stripe = image[:, :: 2 + label] if label else image[::2]
        stripe += 150
    return X.astype(np.uint8), y


@pytest.fixture
def patterns():
    return make_patterns(24)


@pytest.fixture
def three_patterns():
    return make_patterns(30, n_classes=3)
