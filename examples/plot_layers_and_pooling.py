"""
Which layer, which pooling
==========================

The top of a network knows its own classes best, and lower stages know edges and texture. When your pictures look
unlike those that the network was pretrained on, a lower stage, or several together, can be the better choice.
"""

# %%
# Stages have names
# -----------------

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone

backbone = load_backbone("tiny_fractal")
print(backbone.stage_names)

# %%
# Layer and pooling as parameters to search over
# ----------------------------------------------
# An index counts from the top: 0 is the top stage, 1 the one below. A list concatenates.

digits = load_digits()
X, y = digits.images[:150], digits.target[:150]
pipeline = Pipeline(
    [
        ("embed", PretrainedFeatureExtractor(value_range=(0, 16))),
        ("classify", LinearProbeClassifier()),
    ]
)
search = GridSearchCV(
    pipeline,
    {"embed__layer": ["penultimate", "stage3", ["stage3", "stage4"]], "embed__pooling": ["avg", "avg+max"]},
    cv=3,
)
search.fit(X, y)
results = search.cv_results_
for options, mean in zip(results["params"], results["mean_test_score"], strict=True):
    print(f"{options}: mean accuracy {mean:.2f}")

labels = [f"{options['embed__layer']}, {options['embed__pooling']}" for options in results["params"]]
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.errorbar(results["mean_test_score"], labels, xerr=results["std_test_score"], fmt="o")
ax.invert_yaxis()
ax.set(xlabel="accuracy: mean and standard deviation of three folds")
figure.savefig("layers.png")

# %%
# Features say where they come from
# ---------------------------------

extractor = search.best_estimator_["embed"]
names = extractor.get_feature_names_out()
print(len(names), names[0], names[-1])
