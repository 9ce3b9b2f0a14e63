"""
Transfer through an intermediate task
=====================================

What comes out of a training is a backbone again. Here the bundled network, which knows fractals, first learns the
digits 0 to 4, of which there are many; then its features have to do for the digits 5 to 9, with four labels each.
"""

# %%
# Two tasks
# ---------
# Plenty of labels for the one, twenty in all for the other.

from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone

digits = load_digits()
is_source = digits.target < 5
X, y = digits.images[~is_source], digits.target[~is_source]
splits = StratifiedShuffleSplit(5, train_size=20, random_state=0)

# %%
# The intermediate task
# ---------------------
# The two top stages learn from 450 digits. The record of what has become of the network says what it was trained on.

size = {"image_size": 32, "value_range": (0, 16)}
source = FineTuneClassifier(unfreeze_depth=2, max_epochs=5, augment=None, random_state=0, **size)
source.fit(digits.images[is_source][:450], digits.target[is_source][:450])
print(load_backbone(source).source)

# %%
# Its network for other classes
# -----------------------------
# The fitted estimator goes where the name of a network would go. Clones keep it as it is, so cross-validation works;
# among the values of a grid write ``load_backbone(source)`` instead, since a search clones those.

for name, backbone in {"fractals": "tiny_fractal", "fractals, then digits 0 to 4": source}.items():
    model = make_pipeline(PretrainedFeatureExtractor(backbone, **size), LinearProbeClassifier())
    scores = cross_val_score(model, X, y, cv=splits)
    print(f"{name}: accuracy {scores.mean():.2f} (standard deviation {scores.std():.2f} over {len(scores)} splits)")
