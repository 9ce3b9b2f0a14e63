"""
Text beside images
==================

Pictures often come with a caption. A ``ColumnTransformer`` turns both into numbers, inside every fold, and a comparison
says whether the text adds anything, how to bring both together, and whether the file names give the answer away.
"""

# %%
# Pictures with captions
# ----------------------
# A made-up survey: which of three plants, in sun or in shade? The picture shows the plant, a fractal. Where it stood is
# known from the caption at best, if at all: half of its words mean nothing, and a third of the captions have nothing to
# tell.

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.datasets import make_fractals

SUN, SHADE = ["meadow", "noon", "dry", "slope"], ["forest", "moss", "damp", "north"]
PLAIN = ["seen", "near", "a", "path", "by", "the", "old", "wall", "in", "may"]

images, plants = make_fractals(150, n_classes=3, difficulty=1.0, random_state=0)
rng = np.random.default_rng(0)
in_sun = rng.random(len(images)) < 0.5
captions = []
for sunny in in_sun:
    telling = rng.choice(SUN if sunny else SHADE, 2 if rng.random() < 2 / 3 else 0)
    captions.append(" ".join(rng.permutation([*telling, *rng.choice(PLAIN, 4)])))
y = [f"plant {plant}, {'sun' if sunny else 'shade'}" for plant, sunny in zip(plants, in_sun, strict=True)]
folder = Path("survey")
folder.mkdir(exist_ok=True)
files = [folder / f"{number:04}.png" for number in rng.permutation(len(images))]
for image, file in zip(images, files, strict=True):
    Image.fromarray(image).save(file)
X = pd.DataFrame({"file": [str(file) for file in files], "caption": captions})
print(X.caption[:4].tolist(), y[:4])

# %%
# One model on both
# -----------------
# A column by its name is what a vectoriser of text takes, a list of one column what the extractor takes. Words and
# weights are learnt in each fold anew, so nothing of the test images leaks. ``StringEncoder`` of skrub may take the
# place of ``TfidfVectorizer``.


def model(*columns):
    """Put a linear model on columns, each turned into numbers."""
    return make_pipeline(ColumnTransformer(columns, sparse_threshold=0), LinearProbeClassifier())


extractor = PretrainedFeatureExtractor(layer="all", pooling="avg+std")
image = ("image", extractor, ["file"])
few = ("image", make_pipeline(extractor, StandardScaler(), PCA(10, random_state=0)), ["file"])
text = ("text", TfidfVectorizer(), "caption")
names = ("name", TfidfVectorizer(analyzer="char", ngram_range=(1, 3)), "file")

# %%
# Does the text add anything?
# ---------------------------
# Beside 768 features of the network some twenty words are drowned. Two ways out: few components of the image, or a
# model of each that a third one stacks by their predictions out of fold. File names are text as well: where ``names
# alone`` is better than chance, they or their folders hold the label, and are to be kept out of the model.

candidates = {
    "dummy": "dummy",
    "names alone": model(names),
    "text": model(text),
    "image": model(image),
    "side by side": model(image, text),
    "few components": model(few, text),
    "stacked": StackingClassifier([("image", model(image)), ("text", model(text))], LogisticRegression()),
}
comparison = compare_transfer(X, y, candidates=candidates, baseline="image", n_repeats=2)
print(comparison)
comparison.plot().figure_.savefig("text_beside_images.png")
