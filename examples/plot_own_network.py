"""
A network of your own
=====================

Any ``torch.nn.Module`` that takes pictures can be a backbone. Here it is a small one that we train ourselves on the
digits 0 to 4, and then use for the digits 5 to 9.
"""

# %%
# A network
# ---------
# sktl cuts it into stages by itself, wherever a single tensor crosses; ``stages=`` says it otherwise.

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, load_backbone
from sktl.displays import EmbeddingMapDisplay

network = nn.Sequential(
    nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU()),
    nn.Sequential(nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
    nn.AdaptiveAvgPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 5),
)

# %%
# Its record
# ----------
# ``Preprocessing`` says what its pictures look like: 16 × 16 pixels, grey around zero. The last linear layer is the
# classifier, which a backbone does without.

preprocessing = Preprocessing(crop_size=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
backbone = load_backbone(network, preprocessing=preprocessing)
print(backbone)

# %%
# Pretrain it
# -----------
# With ``weights=None`` every weight is drawn anew and trained. The fitted estimator is a backbone itself.

digits = load_digits()
options = {"max_epochs": 15, "value_range": (0, 16), "random_state": 0}
is_source = digits.target < 5
source = FineTuneClassifier(backbone, weights=None, **options).fit(digits.images[is_source], digits.target[is_source])
print(load_backbone(source))

# %%
# Use it
# ------
# Forty images of the other five digits to learn from. The estimator goes where the name of a network would go.

X, y = digits.images[~is_source], digits.target[~is_source]
for name, weights in {"pretrained on 0 to 4": "default", "from scratch": None}.items():
    model = FineTuneClassifier(source, weights=weights, unfreeze_depth=0, **options).fit(X[:40], y[:40])
    print(f"{name}: accuracy {np.mean(model.predict(X[40:]) == y[40:]):.2f}")

# %%
# What it has learnt
# ------------------
# Digits that it has never seen, on two components of what it says of them: the 6 lies apart, 5 and 9 are mixed.

extractor = PretrainedFeatureExtractor(source, value_range=(0, 16))
EmbeddingMapDisplay.from_images(X, y, extractor=extractor).plot().figure_.savefig("map.png")
