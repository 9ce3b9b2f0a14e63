"""
Learning from unlabelled images: which way up?
==============================================

Self-supervision needs no framework: the labels are made up. Turn unlabelled pictures by 0, 90, 180 and 270 degrees, fit
a classifier that says by how much, and take its network as the backbone. Whether that paid is a comparison like any
other.
"""

# %%
# Six hundred images without labels
# ---------------------------------
# Digits that lie anywhere on a page, four times each. Fifty of the other images have labels, on each of five splits.

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from torch import nn

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.backbones import Preprocessing, load_backbone
from sktl.datasets import load_moved_digits

images, digits = load_moved_digits()
unlabelled, X, y = images[:600], images[600:], digits[600:]
turned = np.concatenate([np.rot90(unlabelled, quarters, axes=(1, 2)) for quarters in range(4)])
quarters = np.repeat(np.arange(4), len(unlabelled))
splits = StratifiedShuffleSplit(5, train_size=50, test_size=500, random_state=0)

# %%
# Two starts
# ----------
# A small network that has seen nothing, and the bundled one, which knows fractals. Both learn which way up.


def block(n_in, n_out):
    """Make one stage of a small network."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2))


network = nn.Sequential(block(3, 32), block(32, 64), block(64, 96), nn.AdaptiveAvgPool2d(1), nn.Flatten())
untrained = load_backbone(network, preprocessing=Preprocessing(crop_size=16, mean=(0.5,) * 3, std=(0.25,) * 3))
pretext = {"augment": None, "ensemble": False, "random_state": 0}
small = FineTuneClassifier(untrained, weights=None, unfreeze_depth="all", max_epochs=6, **pretext)
bundled = FineTuneClassifier("tiny_fractal", image_size=32, max_epochs=3, **pretext)
small.fit(turned, quarters)
bundled.fit(turned, quarters)

# %%
# Did the small network profit?
# -----------------------------
# Its rotations help fine-tuning a great deal against training from scratch. But so few labels are too few to train from
# scratch at all: the same network with random weights and a linear model on top is the fairer opponent.


def frozen(backbone, **more):
    """Put a linear model on all stages of a network."""
    extractor = PretrainedFeatureExtractor(backbone, layer="all", pooling="avg+std", **more)
    return make_pipeline(extractor, LinearProbeClassifier())


tuning = {"unfreeze_depth": "all", "max_epochs": 10, "augment": None, "random_state": 0}
candidates = {
    "from scratch": FineTuneClassifier(untrained, weights=None, **tuning),
    "rotations, fine-tuned": FineTuneClassifier(small, **tuning),
    "random weights, frozen": frozen(untrained, weights=None, random_state=0),
    "rotations, frozen": frozen(small),
}
comparison = compare_transfer(
    X, y, candidates=candidates, baseline="random weights, frozen", cv=splits, duplicates="ignore"
)
print(comparison)
comparison.plot().figure_.savefig("rotations_small.png")

# %%
# Did the pretrained one?
# -----------------------
# There is less to gain where the start is better.

tuning = {"image_size": 32, "max_epochs": 10, "augment": None, "random_state": 0}
candidates = {
    "fractals, fine-tuned": FineTuneClassifier("tiny_fractal", **tuning),
    "rotations, fine-tuned": FineTuneClassifier(bundled, **tuning),
    "fractals, frozen": frozen("tiny_fractal", image_size=32),
    "rotations, frozen": frozen(bundled, image_size=32),
}
comparison = compare_transfer(X, y, candidates=candidates, baseline="fractals, frozen", cv=splits, duplicates="ignore")
print(comparison)
comparison.plot().figure_.savefig("rotations_bundled.png")
