"""A comparison made of known numbers, for what is drawn and written from it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktl.comparison import Run, TransferComparison

CLASSES = 3
NETWORK = {
    "name": "tiny_fractal",
    "weights": "embedded",
    "source": "fractals",
    "license": "BSD-3-Clause",
    "digest": "0123456789abcdef" * 4,
}
SCORES = {
    "dummy": [0.3, 0.3, 0.4],
    "frozen": [0.9, 0.8, 0.85],
    "fine_tuned": [0.92, 0.9, 0.88],
    "from_scratch": [0.6, 0.62, 0.55],
}
COSTS = {  # fit seconds, parameters kept, images through the network
    "dummy": (0.001, None, None),
    "frozen": (0.5, 600_000, 10),
    "fine_tuned": (5.0, 700_000, 200),
    "from_scratch": (20.0, 700_000, 800),
}


def history(n_epochs, start):
    return [
        {"epoch": epoch, "train_loss": start / epoch, "valid_loss": 1.5 * start / epoch}
        for epoch in range(1, n_epochs + 1)
    ]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def make_comparison():
    """A maker of comparisons: 30 images of three classes, each tested once in three splits."""

    def make(names=tuple(SCORES), *, y=None, task="classification", wrong=None, **settings):
        rng = np.random.default_rng(0)
        y = np.arange(30) % CLASSES if y is None else np.asarray(y)
        folds = rng.permutation(30).reshape(3, 10)
        splits = tuple((np.setdiff1d(np.arange(30), fold), np.sort(fold)) for fold in folds)
        runs = []
        for name in names:
            seconds, kept, passes = COSTS.get(name, (1.0, None, None))
            for split, (_, test) in enumerate(splits):
                labels = y[test].tolist()
                sure = rng.uniform(0.4, 0.9, len(test)).tolist()
                for place, index in enumerate(test.tolist()):
                    if index in (wrong or {}).get(name, {}):
                        labels[place], sure[place] = wrong[name][index]
                trained = name in ("fine_tuned", "from_scratch")
                runs.append(
                    Run(
                        name,
                        split,
                        {"accuracy": SCORES.get(name, [0.5, 0.52, 0.51])[split]},
                        fit_seconds=seconds * (1 + split / 10),
                        predict_seconds=0.1,
                        n_trained_parameters=kept if trained else None,
                        n_parameters=kept,
                        n_images_through_network=passes,
                        peak_memory=2**20 * (100 + split),
                        predicted=labels,
                        confidence=sure,
                        history=history(4 + split, 2.0) if trained else None,
                        network=None if kept is None else NETWORK,
                    )
                )
        return TransferComparison(
            runs=tuple(runs),
            splits=splits,
            y=y,
            seeds=(11, 12, 13),
            baseline="from_scratch" if "from_scratch" in names else names[-1],
            scoring="accuracy",
            rope=0.01,
            transfer={name: name in ("frozen", "fine_tuned") for name in names},
            settings={"task": task, "cv": "3", "n_repeats": 1, "random_state": 0, "n_images": 30, **settings},
        )

    return make


@pytest.fixture(scope="session")
def pictures():
    """Thirty pictures in colour, no two alike."""
    return np.random.default_rng(1).integers(0, 256, (30, 20, 24, 3), dtype=np.uint8)
