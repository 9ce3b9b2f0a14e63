"""
How deep to unfreeze, by GridSearchCV
=====================================

``unfreeze_depth`` says how many stages of the network are trained, counted from the top. It is a parameter like any
other, so ``GridSearchCV`` can choose it.
"""

# %%
# The digits that ship inside scikit-learn
# ----------------------------------------
# Sixty labelled ones to learn from. White is 16 here, and saying so is safer than letting `fit` find it.

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sktl import FineTuneClassifier
from sktl.displays import DepthSweepDisplay

digits = load_digits()
X_train, y_train = digits.images[:60], digits.target[:60]
X_test, y_test = digits.images[60:400], digits.target[60:400]

# %%
# Search
# ------
# Thirty epochs keep this example short; without ``max_epochs`` each fit would take at least 300 optimizer steps.

search = GridSearchCV(
    FineTuneClassifier(max_epochs=30, value_range=(0, 16), random_state=0),
    {"unfreeze_depth": [0, 1, "all"]},
    cv=3,
)
search.fit(X_train, y_train)
for depth, mean in zip(search.cv_results_["param_unfreeze_depth"], search.cv_results_["mean_test_score"], strict=True):
    print(f"unfreeze_depth={depth}: mean accuracy {mean:.2f}")
DepthSweepDisplay.from_search(search).plot().figure_.savefig("depths.png")

# %%
# The winner
# ----------
# On sixty images the differences between depths are small and noisy; do not read much into them.

best = search.best_estimator_
print(f"chosen: {best.unfreeze_depth_} stages of {list(best.backbone_.stage_names)}")
print(f"{best.n_trained_parameters_:,} weights trained, accuracy on other digits {best.score(X_test, y_test):.2f}")

# %%
# What happened while it trained
# ------------------------------
# ``history_`` is skorch's: one entry per epoch. At depth 0 there is none, since the head is solved for.

if best.unfreeze_depth_:
    print([round(float(loss), 3) for loss in best.history_[:, "train_loss"]][::5])
