"""
Images without labels
=====================

Embeddings need no labels. They say which images are alike: for a search, for clusters, for a map, and for the choice of
the images that are worth a label first. Labels are used here to judge the results, and for nothing else.
"""

# %%
# Embeddings
# ----------
# Digits that lie anywhere on a page. They are centred and brought to length one, so that distances are angles, and
# twenty components of them are kept.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.datasets import load_moved_digits
from sktl.displays import EmbeddingMapDisplay
from sktl.feature_extraction import PixelFeatures
from sktl.label_efficiency import label_first

images, digits = load_moved_digits()
X, y, X_test, y_test = images[:800], digits[:800], images[800:], digits[800:]


def reduced(features):
    """Keep twenty components of what features say."""
    return make_pipeline(features, StandardScaler(with_std=False), Normalizer(), PCA(20, random_state=0))


Z = reduced(PretrainedFeatureExtractor()).fit_transform(X)

# %%
# Which images are alike?
# -----------------------
# The five nearest neighbours of an image.

nearest = NearestNeighbors(n_neighbors=5).fit(Z).kneighbors(return_distance=False)
print(f"neighbours with the same label: {np.mean(y[nearest] == y[:, None]):.2f}")
figure, axes = plt.subplots(4, 6, figsize=(6, 4.2), layout="constrained")
for row, query in zip(axes, range(4), strict=True):
    for ax, i in zip(row, [query, *nearest[query]], strict=True):
        ax.imshow(X[i], cmap="gray")
        ax.set(xticks=[], yticks=[], title="image" if i == query else "")
figure.savefig("neighbours.png")

# %%
# Clusters
# --------
# Adjusted mutual information is 0 for clusters drawn by lot and 1 for those of the labels. ``HDBSCAN`` finds the number
# of clusters by itself and leaves out what it is unsure of: of embeddings, most.

for name, features in {
    "embeddings": PretrainedFeatureExtractor(),
    "random weights": PretrainedFeatureExtractor(weights=None, random_state=0),
    "pixels": PixelFeatures(),
}.items():
    points = reduced(features).fit_transform(X)
    mixture = GaussianMixture(10, covariance_type="diag", n_init=3, random_state=0).fit_predict(points)
    print(f"Gaussian mixture of {name}: {adjusted_mutual_info_score(y, mixture):.2f}")
dense = HDBSCAN(min_cluster_size=10, copy=True).fit_predict(Z)
agreement = adjusted_mutual_info_score(y, dense)
print(f"HDBSCAN: {agreement:.2f}, {dense.max() + 1} clusters, {np.mean(dense < 0):.0%} left out")

# %%
# A map
# -----
# PCA keeps what is far apart, t-SNE what is near. Labels, where there are any, or clusters give the colours.

figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
EmbeddingMapDisplay.from_embeddings(Z, y).plot(ax=axes[0])
positions = TSNE(random_state=0).fit_transform(Z)
EmbeddingMapDisplay(positions, y, axis_names=("t-SNE 1", "t-SNE 2")).plot(ax=axes[1])
figure.savefig("map.png")

# %%
# What to label first?
# --------------------
# Images unlike those chosen before, with many images like them. Against images drawn by lot, twenty times:

embeddings = PretrainedFeatureExtractor().fit_transform(X)
extractor = PretrainedFeatureExtractor(layer="all", pooling="avg+std").fit(X)
features, features_test = extractor.transform(X), extractor.transform(X_test)


def accuracy(chosen):
    """Learn from the chosen images alone, and score the test images."""
    return LinearProbeClassifier().fit(features[chosen], y[chosen]).score(features_test, y_test)


rng = np.random.default_rng(0)
for n in (20, 40, 80):
    drawn = [accuracy(rng.permutation(len(X))[:n]) for _ in range(20)]
    chosen = accuracy(label_first(embeddings, n))
    print(f"{n} labels: chosen {chosen:.2f}, drawn {np.mean(drawn):.2f} ({min(drawn):.2f} to {max(drawn):.2f})")
