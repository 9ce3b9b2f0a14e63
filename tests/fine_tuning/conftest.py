"""Small pictures with two or three kinds of pattern, quick to learn."""

import numpy as np
import pytest

from sktl.inference import _embed


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


@pytest.fixture
def passes(monkeypatch):
    """How many images went through a frozen network, and through which of its stages."""
    counted = []

    def counting(backbone, cuts, *args, **kwargs):
        function = make(backbone, cuts, *args, **kwargs)

        def counted_function(batch):
            counted.append(cuts)
            return function(batch)

        return counted_function

    make = _embed.frozen_function
    monkeypatch.setattr(_embed, "frozen_function", counting)
    return counted
