"""The choice of augment="auto": whether training images may be mirrored, and whether they may be cut out and varied.

Linear models on the features of the network, as it is before training, are judged on images that they have not seen.
Where one knows clearly fewer of the mirror images, left and right carry part of the answer, as with digits, road signs
and hands. Where one that has learnt from views errs clearly more on whole images than one that has not, views take away
part of the answer: sizes, places, or what is near the edge.
"""

from functools import partial

import numpy as np
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from sktl.training import AugmentedImages, mirrored, prepared_already

# Images that are compared: enough to see what would matter in training, and quick whatever the number of all.
_ENOUGH = 1000
_FOLDS = 5
# Standard errors by which mirror images must do worse: in 6 of 1000 sets this happens by chance, and costs little.
_CLEARLY = 2.5
# Views come back in training, from the store. Two of each image see what four would see.
_NUMBERS_OF_VIEWS, _ENOUGH_FOR_VIEWS = (1, 2), 500
# One is enough here, where errors grow by this share as well: views that take something away cost 5 to 30 points, plain
# images where they do not cost one or two. What costs a linear model less is made up for by training.
_CLEARLY_WITH_VIEWS, _MUCH = 1.0, 0.1


def augmentation_of(estimator, frozen_part, images, targets, weights, whole):
    """Return the augmentation of an estimator, "auto" resolved, and the number of images compared for it."""
    if not (isinstance(estimator.augment, str) and estimator.augment == "auto"):
        return estimator.augment, 0
    if not (whole and estimator._augments) or estimator._is_probe():
        return None, 0
    if min(images[0].shape[:2]) == 1:  # features of something else, with no place to cut out
        return None, 0
    few = images.subset(slice(_ENOUGH))
    features = partial(_features, frozen_part, estimator._preprocessing())
    plain, targets, weights = features(few), targets[: len(few)], weights[: len(few)]
    coding = estimator._coding
    columns = [*coding.by_column(targets)]
    sided = mirror_matters(plain, features(few, mirrored), columns, weights, are_labels=coding.is_classifier)
    name, part, hurt = "unmirrored" if sided else "light", slice(_ENOUGH_FOR_VIEWS), False
    # Random features say nothing about views: what they lose by them, a network that is trained from scratch gains.
    if estimator.weights is not None:
        make_views = [partial(AugmentedImages, augment=name, view=number) for number in _NUMBERS_OF_VIEWS]
        views = [features(few.subset(part), make) for make in make_views]
        hurt = views_hurt(plain[part], views, [*coding.by_column(targets[part])], weights[part])
    if estimator.verbose and hurt:
        print("sktl: training sees plain images only: a linear model that learns from views as well knows them less")
    elif estimator.verbose and sided:
        print("sktl: images are not mirrored in training: a linear model takes their mirror images for something else")
    return None if hurt else name, len(few)


def _features(frozen_part, preprocessing, images, changed=None):
    """Return the features of images, or of what is made of them."""
    if changed is None:
        return frozen_part.features(images).double().numpy()
    return frozen_part.features(changed(images, preprocessing), prepared_already(preprocessing)).double().numpy()


def mirror_matters(plain, mirror, columns, weights, *, are_labels=True):
    """Whether a linear model on the features of images knows clearly less of their mirror images."""

    def lost(known, targets, weights):
        own, other = plain[known], mirror[known]
        if are_labels:
            return labels_lost(own, other, targets, weights)
        return squared_errors([own], other, targets, weights) - squared_errors([own], own, targets, weights)

    return _is_clear(_over_columns(lost, columns, weights), _CLEARLY)


def views_hurt(plain, views, columns, weights):
    """Whether a linear model that learns from views as well errs clearly, and much, more on images."""

    def errors(kinds):
        def of_column(known, targets, weights):
            targets = targets if targets.ndim == 2 else (targets[:, None] == np.unique(targets)).astype(float)
            return squared_errors([kind[known] for kind in kinds], plain[known], targets, weights)

        return _over_columns(of_column, columns, weights)

    alone, both = errors([plain]), errors([plain, *views])
    return _is_clear(both - alone, _CLEARLY_WITH_VIEWS) and bool(both.sum() > (1 + _MUCH) * alone.sum())


def _over_columns(function, columns, weights):
    """Return, per image, the weighted sum over columns of targets of what is found where its target is known."""
    total = np.zeros(len(weights))
    for known, targets, of_class in columns:
        shares = weights[known] * of_class
        total[known] += shares * function(known, targets, shares)
    return total


def _is_clear(lost, n_errors):
    """Whether the sum over images is positive by so many standard errors."""
    lost = lost.round(9)  # what differs in the last bits is the same
    return bool(lost.sum() > n_errors * np.sqrt(np.square(lost).sum()))


def squared_errors(learnt, shown, targets, weights):
    """Return, per image, the squared error on features that are shown of a linear model that has not seen the image.

    It learns from several features of each image, and predicts no target beyond those that it has learnt.
    """
    errors, n_kinds = np.zeros(len(targets)), len(learnt)
    if len(targets) < _FOLDS:
        return errors
    for train, test in KFold(_FOLDS).split(targets):
        features, answers = np.concatenate([each[train] for each in learnt]), np.concatenate([targets[train]] * n_kinds)
        shares = np.tile(weights[train] / n_kinds, n_kinds)
        scaler = StandardScaler().fit(features, sample_weight=shares)
        # As many features as there are want a strength of their order; the very value matters little.
        model = Ridge(alpha=features.shape[1]).fit(scaler.transform(features), answers, sample_weight=shares)
        predicted = model.predict(scaler.transform(shown[test])).reshape(len(test), -1)
        predicted = predicted.clip(answers.min(axis=0), answers.max(axis=0))
        errors[test] = np.square(predicted - targets[test]).sum(axis=1)
    return errors


def labels_lost(plain, mirror, targets, weights):
    """Count, per image, the labels that a linear model gets right on the image and wrong on its mirror image."""
    lost = np.zeros(len(targets), dtype=int)
    if len(targets) < _FOLDS:
        return lost
    for train, test in KFold(_FOLDS).split(plain):
        if (targets[train] == targets[train[0]]).all():  # one class only: nothing to be told apart
            continue
        scaler = StandardScaler().fit(plain[train], sample_weight=weights[train])
        model = RidgeClassifier(alpha=plain.shape[1])
        model.fit(scaler.transform(plain[train]), targets[train], sample_weight=weights[train])
        right, right_in_mirror = (
            (model.predict(scaler.transform(features[test])) == targets[test]).reshape(len(test), -1).sum(axis=1)
            for features in (plain, mirror)
        )
        lost[test] = right - right_in_mirror
    return lost
