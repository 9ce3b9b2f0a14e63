"""
Pictures of a comparison
========================

Every display takes its numbers from somewhere, draws them with ``plot``, and gives them as a data frame with ``frame``.
"""

# %%
# A comparison to draw
# --------------------
# Few images, folds and epochs keep this example short.

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV

from sktl import FineTuneClassifier, compare_transfer
from sktl.datasets import make_fractals
from sktl.displays import (
    CostDisplay,
    DepthSweepDisplay,
    EmbeddingMapDisplay,
    MistakesDisplay,
    TrainingCurveDisplay,
    confusion_display,
)

X, y = make_fractals(48, n_classes=4, random_state=0)
names = ["fern", "dragon", "tree", "cloud"]
comparison = compare_transfer(
    X, y, candidates=("dummy", "frozen", "fine_tuned", "from_scratch"), max_epochs=3, cv=2, random_state=0
)
comparison.plot().figure_.savefig("comparison.png")

# %%
# What a score costs
# ------------------
# Nobody beats the blue ones in both.

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, cost in zip(axes, ("fit_seconds", "n_images_through_network"), strict=True):
    CostDisplay.from_comparison(comparison, cost=cost).plot(ax=ax)
figure.savefig("costs.png")

# %%
# How training went
# -----------------

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, name in zip(axes, ("fine_tuned", "from_scratch"), strict=True):
    TrainingCurveDisplay.from_comparison(comparison, name).plot(ax=ax)
figure.savefig("training.png")

# %%
# Which classes, and which images
# -------------------------------
# Predictions for test images only, so no image is judged by a fit that trained on it.

confusion_display(comparison, "from_scratch", target_names=names).plot(cmap="Blues").figure_.savefig("confusion.png")
mistakes = MistakesDisplay.from_comparison(comparison, X, "from_scratch", n=8, target_names=names)
mistakes.plot().figure_.savefig("mistakes.png")
print(mistakes.frame())

# %%
# How deep to unfreeze
# --------------------

search = GridSearchCV(FineTuneClassifier(max_epochs=2, random_state=0), {"unfreeze_depth": [0, 1, "all"]}, cv=2)
DepthSweepDisplay.from_search(search.fit(X, y)).plot().figure_.savefig("depths.png")

# %%
# What the network sees
# ---------------------

EmbeddingMapDisplay.from_images(X, y, target_names=names).plot().figure_.savefig("map.png")

# %%
# All of it on one page
# ---------------------

print(comparison.report("report.html", X=X, target_names=names))
