"""
Augmented views: look first, then train
=======================================

``augment`` changes the training images, so that a network cannot learn them by heart. ``FineTuneClassifier`` makes
light changes by default. Whether that helps depends on the images, and so does which changes leave them what they are.
"""

# %%
# What the network would see
# --------------------------
# One row per image: first the plain one, then views of it.

from sklearn.model_selection import GridSearchCV
from torchvision.transforms import v2

from sktl import FineTuneClassifier
from sktl.datasets import make_fractals
from sktl.fine_tuning import show_augmentation

X, y = make_fractals(60, n_classes=3, random_state=0)
ax = show_augmentation(X[:3], "light", n_views=5)
ax.figure.savefig("views_light.png")

# %%
# A transform of your own
# -----------------------
# ``"light"`` and ``"trivial"`` mirror and cut, ``"unmirrored"`` only cuts. Where less may happen, say yourself what.

gentle = v2.Compose([v2.RandomAffine(degrees=8, translate=(0.05, 0.05)), v2.ColorJitter(0.2, 0.2)])
ax = show_augmentation(X[:3], gentle, n_views=5)
ax.figure.savefig("views_gentle.png")

# %%
# Does it help?
# -------------
# ``"auto"``, the default, mirrors unless left and right seem to matter. ``n_views=2`` makes two views of each image,
# which take turns; what the frozen stages make of them is computed once for the whole grid. Few epochs keep this
# example short, and augmented images take longer to learn, so do not read much into the scores.

search = GridSearchCV(
    FineTuneClassifier(max_epochs=4, random_state=0),
    [{"augment": [None], "mixup": [0, 0.2]}, {"augment": ["auto", gentle], "n_views": [2]}],
    cv=3,
)
search.fit(X, y)
for params, mean in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    augment = params["augment"]
    print(f"{'gentle' if augment is gentle else augment}, mixup={params.get('mixup', 0)}: mean accuracy {mean:.2f}")
