"""The choice of augment="auto": whether training images may be mirrored, as digits, road signs and hands may not.

A linear model on the features of the network, as it is before training, is shown images that it has not seen and their
mirror images. Where it knows clearly fewer of the mirror images, left and right carry part of the answer.
"""

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from sktl.training import mirrored, prepared_already

# Images that are compared: enough to see what would matter in training, and quick whatever the number of all.
_ENOUGH = 1000
_FOLDS = 5
# Standard errors by which mirror images must do worse: in 6 of 1000 sets this happens by chance, and costs little.
_CLEARLY = 2.5


def augmentation_of(estimator, frozen_part, images, targets, weights, whole):
    """Return the augmentation of an estimator, "auto" resolved, and the number of images compared for it."""
    if not (isinstance(estimator.augment, str) and estimator.augment == "auto"):
        return estimator.augment, 0
    if not (whole and estimator._augments) or estimator._is_probe():
        return None, 0
    if min(images[0].shape[:2]) == 1:  # features of something else, with no place to cut out
        return None, 0
    few = images.subset(slice(_ENOUGH))
    part = slice(len(few))
    if not mirror_matters(frozen_part, few, targets[part], weights[part], estimator._preprocessing()):
        return "light", len(few)
    if estimator.verbose:
        print("sktl: images are not mirrored in training: a linear model takes their mirror images for something else")
    return "unmirrored", len(few)


def mirror_matters(frozen_part, images, targets, weights, preprocessing):
    """Whether a linear model on the features knows clearly fewer of the mirror images."""
    plain = frozen_part.features(images).double().numpy()
    mirror = frozen_part.features(mirrored(images, preprocessing), prepared_already(preprocessing)).double().numpy()
    lost = weights * labels_lost(plain, mirror, targets, weights)
    return bool(lost.sum() > _CLEARLY * np.sqrt(np.square(lost).sum()))


def labels_lost(plain, mirror, targets, weights):
    """Count, per image, the labels that a linear model gets right on the image and wrong on its mirror image."""
    lost = np.zeros(len(targets), dtype=int)
    if len(targets) < _FOLDS:
        return lost
    for train, test in KFold(_FOLDS).split(plain):
        if (targets[train] == targets[train[0]]).all():  # one class only: nothing to be told apart
            continue
        scaler = StandardScaler().fit(plain[train], sample_weight=weights[train])
        # As many features as there are want a strength of their order; the very value matters little.
        model = RidgeClassifier(alpha=plain.shape[1])
        model.fit(scaler.transform(plain[train]), targets[train], sample_weight=weights[train])
        right, right_in_mirror = (
            (model.predict(scaler.transform(features[test])) == targets[test]).reshape(len(test), -1).sum(axis=1)
            for features in (plain, mirror)
        )
        lost[test] = right - right_in_mirror
    return lost
