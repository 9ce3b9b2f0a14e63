"""
Frozen features in a Pipeline
=============================

The cheapest way to use a pretrained network: it turns each picture into a vector, and any classifier of scikit-learn
does the rest. Nothing in the network is trained.
"""

# %%
# A small data set
# ----------------
# Four classes of fractals, drawn by formula: twelve pictures each to learn from, the others to test on.

import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.datasets import make_fractals

images, target = make_fractals(200, n_classes=4, difficulty=1.0, random_state=0)
X_train, y_train = images[:48], target[:48]
X_test, y_test = images[48:], target[48:]

figure, axes = plt.subplots(2, 4, figsize=(6, 3.2), layout="constrained")
for ax, image, label in zip(axes.flat, X_train, y_train, strict=False):
    ax.imshow(image)
    ax.set(xticks=[], yticks=[], title=f"class {label}")
figure.savefig("fractals.png")

# %%
# One Pipeline
# ------------
# The extractor takes pictures and gives vectors. The probe is a linear classifier made for them, which scales and
# tunes itself; any other of scikit-learn may take its place.

model = make_pipeline(PretrainedFeatureExtractor("tiny_fractal"), LinearProbeClassifier())
model.fit(X_train, y_train)

# %%
# How often it is right about the others:

print(f"frozen features: accuracy {model.score(X_test, y_test):.2f}")

# %%
# What pretraining adds
# ---------------------
# ``weights=None`` is the same network with random weights. Its features are not useless, so it is the right thing to
# compare with.

model.set_params(pretrainedfeatureextractor__weights=None, pretrainedfeatureextractor__random_state=0)
model.fit(X_train, y_train)
print(f"random weights: accuracy {model.score(X_test, y_test):.2f}")

# %%
# Vectors with names
# ------------------
# As with every transformer of scikit-learn, ``set_output`` gives a data frame.

extractor = PretrainedFeatureExtractor().set_output(transform="pandas").fit(X_train)
print(extractor.transform(X_test[:3]).iloc[:, :4])
