"""
Images beside a table
=====================

A data frame with a column of files and columns of numbers, and one model that reads both: a ColumnTransformer turns the
pictures into a few numbers, and gradient boosting takes them with the others. Then a table whose pictures tell nothing,
and features of a trained network, which have to be made out of fold.
"""

# %%
# Parcels
# -------
# A parcel has a weight, a width, and a label with a handwritten digit somewhere on it: the zone that it goes to. What
# it costs follows from weight and zone, so neither the table nor the picture knows it alone. Is it dear or cheap?

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from sktl import FineTuneClassifier, FineTunedFeatures, PretrainedFeatureExtractor
from sktl.datasets import load_moved_digits

images, zone = load_moved_digits()
images, zone = images[:900], zone[:900]
folder = Path(tempfile.mkdtemp())
files = [str(folder / f"{i:03}.png") for i in range(len(images))]
for file, image in zip(files, images, strict=True):
    Image.fromarray(image).save(file)

rng = np.random.default_rng(0)
parcels = pd.DataFrame({"file": files, "weight": rng.uniform(0, 10, 900), "width": rng.uniform(0, 50, 900)})
price = parcels["weight"] + zone + rng.normal(0, 1, 900)
y = np.where(price > price.median(), "dear", "cheap")
train, test = slice(0, 240), slice(240, 900)

# %%
# One model for both
# ------------------
# A network as it is makes some hundred numbers of each picture, of which a tree takes one at a time; PCA leaves thirty.
# The columns of numbers pass through. The extractor does not look at the labels, so that nothing can leak.

numbers = ["weight", "width"]
pictures = make_pipeline(
    PretrainedFeatureExtractor(layer="all", pooling="avg+std", image_size=32), PCA(30, random_state=0)
)
results = {}


def score(name, model, X):
    """Fit on some parcels, and keep accuracy and log-loss of the others."""
    probabilities = model.fit(X[train], y[train]).predict_proba(X[test])
    results[name] = model.score(X[test], y[test]), log_loss(y[test], probabilities)


def boosting(*columns):
    """Make boosting on some columns."""
    return make_pipeline(make_column_transformer(*columns), HistGradientBoostingClassifier(random_state=0))


score("numbers", boosting(("passthrough", numbers)), parcels)
score("pictures", boosting((pictures, "file")), parcels)
both = boosting((pictures, "file"), ("passthrough", numbers))
score("both", both, parcels)

# %%
# Pictures that tell nothing
# --------------------------
# The same pictures, each beside the numbers of another parcel. Thirty columns of noise are not free: the model is as
# often right as with the numbers alone, and surer of itself where it is wrong. So score the table without them, too.

score("both, wrong pictures", both, parcels.assign(file=np.roll(files, 100)))

# %%
# Features of a trained network
# -----------------------------
# A network trained on these labels has learnt some by heart, since no picture tells the weight. What it says of the 240
# parcels it was trained on is too good: boosting believes it, and leaves the weight aside. ``fit_transform`` gives each
# of them what a network says that has not seen it, as a ColumnTransformer would; ``transform`` is for new parcels.

network = FineTuneClassifier(unfreeze_depth=2, n_views=2, image_size=32)
features = FineTunedFeatures(network, cv=3, random_state=0)
out_of_fold = features.fit_transform(parcels["file"][train], y[train])
naive = features.transform(parcels["file"][train])
new = features.transform(parcels["file"][test])
for name, columns in {"naive": naive, "out of fold": out_of_fold}.items():
    table = np.c_[np.concatenate([columns, new]), parcels[numbers]]
    score(f"both, trained, {name}", HistGradientBoostingClassifier(random_state=0), table)

# %%
# What it was worth
# -----------------
# Out of fold the features of the trained network no longer make the model too sure. That does not make them better than
# those of the network as it is: here the latter win, since half of what decides is no matter of the picture.

for name, (accuracy, loss) in results.items():
    print(f"{name:28} accuracy {accuracy:.2f}, log-loss {loss:.2f}")

fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for ax, values, label in zip(axes, zip(*results.values(), strict=True), ["Accuracy", "Log-loss"], strict=True):
    ax.barh(list(results), values)
    ax.set(xlabel=f"{label} on 660 new parcels")
axes[0].invert_yaxis()
plt.show()
