"""
Odd images, and where
=====================

``PatchAnomalyDetector`` learns from normal images alone. It says of new ones how unlike these they are, and where.
"""

# %%
# Fabric
# ------
# Woven threads, drawn by formula, never twice alike. Nobody has to collect defects; these three are for looking only.

import numpy as np

from sktl import PatchAnomalyDetector
from sktl.displays import AnomalyMapDisplay

rng = np.random.default_rng(0)
rows, columns = np.mgrid[:64, :64]


def weave():
    """Draw a piece of fabric."""
    phases = rng.uniform(0, 2 * np.pi, 2)
    threads = np.sin(rows / 1.5 + phases[0]) + np.sin(columns / 1.5 + phases[1])
    cloth = 130 + 30 * threads[..., None] + rng.normal(0, 8, (64, 64, 3))
    return cloth.clip(0, 255).astype(np.uint8)


normal = np.array([weave() for _ in range(40)])
new = np.array([weave() for _ in range(8)])
new[1, 12:20, 40:50] = (180, 70, 60)  # a stain
new[3, 10:50, 28:31] = 90  # a missing thread
new[5, 44:56, 20:32] = new[5, 44:56, 20:32].mean(axis=(0, 1)).astype(np.uint8)  # a worn place

# %%
# Learn from normal images
# ------------------------
# For photographs write ``PatchAnomalyDetector("efficientnet_lite0")``, a network that has seen some.

detector = PatchAnomalyDetector(image_size=96, random_state=0).fit(normal)
for image, (label, score) in enumerate(zip(detector.predict(new), detector.score_samples(new), strict=True)):
    print(f"image {image}: {'normal' if label == 1 else 'odd'}, score {score:.2f}")

# %%
# Where
# -----
# The most abnormal images come first, with their maps laid over them.

AnomalyMapDisplay.from_estimator(detector, new).plot().figure_.savefig("odd_images.png")
