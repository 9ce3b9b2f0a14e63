"""
Transfer through an intermediate task
=====================================

What comes out of a training is a backbone again. Here the bundled network, which knows fractals, first learns another
task, and then its features have to do for the digits 5 to 9, with five labels each. Two tasks are tried in between: a
near one, the digits 0 to 4, and a distant one, fractals of other kinds.
"""

# %%
# The target
# ----------
# Digits that lie anywhere on a page: 25 labels in all to learn from, drawn anew for each of ten splits.

from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.backbones import load_backbone
from sktl.datasets import load_moved_digits, make_fractals

images, digits = load_moved_digits()
is_near = digits < 5
X, y = images[~is_near], digits[~is_near]
splits = StratifiedShuffleSplit(10, train_size=25, test_size=200, random_state=0)

# %%
# The intermediate tasks
# ----------------------
# All stages learn from 450 pictures. The record of what has become of the network says what it was trained on.

training = {"unfreeze_depth": "all", "max_epochs": 5, "augment": None, "ensemble": False, "random_state": 0}
near = FineTuneClassifier(image_size=32, **training).fit(images[is_near][:450], digits[is_near][:450])
distant = FineTuneClassifier(image_size=32, **training).fit(*make_fractals(450, n_classes=5, random_state=1))
print(load_backbone(near).source)

# %%
# Its network for other classes
# -----------------------------
# The fitted estimator goes where the name of a network would go. All three get the same head on the features of all
# stages, and the same splits.


def frozen(backbone):
    """Put a linear model on all stages of a network."""
    extractor = PretrainedFeatureExtractor(backbone, layer="all", pooling="avg+std", image_size=32)
    return make_pipeline(extractor, LinearProbeClassifier())


starts = {"fractals": "tiny_fractal", "fractals, digits 0 to 4": near, "fractals, other fractals": distant}
candidates = {name: frozen(start) for name, start in starts.items()}
comparison = compare_transfer(X, y, candidates=candidates, baseline="fractals", cv=splits, duplicates="ignore")
print(comparison)

# %%
# The near task pays, though it costs 450 labels of its own: worth it where they are there already. The distant one, as
# many labels and as long a training, gains too little to tell.

display = comparison.plot()
display.figure_.savefig("intermediate_task.png")
