"""Linear probes: linear models on frozen features, the whole of depth 0 and the start of a linear head elsewhere.

A head that starts at random sends noise through the stages below it before it has learnt anything, which distorts
pretrained features (Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
out-of-distribution", arXiv:2202.10054).
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV

# On standardised features this strength did as well as one chosen by cross-validation.
_C = 0.1
_ALPHAS = np.logspace(-1, 4, 6)
# A probe that separates the training images has a loss, and so gradients, near zero: the stages below would learn
# nothing. Logits times this factor give the same labels with less certainty, which leaves something to be learnt.
LOGIT_SCALE = 0.3


def logistic_probe(features, labels, weights, n_classes):
    """Fit a logistic regression."""
    if len(np.unique(labels)) < n_classes:
        return None
    model = LogisticRegression(C=_C, max_iter=1000)
    with warnings.catch_warnings():
        # What is left after so many steps makes no difference to the predictions.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels, sample_weight=weights)
    coefficients, intercepts = model.coef_, model.intercept_
    if n_classes == 2:
        coefficients, intercepts = np.r_[-coefficients, coefficients] / 2, np.r_[-intercepts, intercepts] / 2
    return coefficients, intercepts


def multilabel_probe(features, targets, weights):
    """Fit a logistic regression for each label."""
    n_images, n_labels = targets.shape
    coefficients, intercepts = np.zeros((n_labels, features.shape[1])), np.zeros(n_labels)
    for k, column in enumerate(targets.T):
        pair = logistic_probe(features, column.astype(int), weights, 2) if 0 < column.sum() < n_images else None
        if pair is None:
            intercepts[k] = np.log(n_images) * np.sign(column[0] - 0.5)
        else:
            coefficients[k], intercepts[k] = pair[0][1] - pair[0][0], pair[1][1] - pair[1][0]
    return coefficients, intercepts


def ridge_probe(features, targets, weights):
    """Fit a ridge regression, its strength chosen by leave-one-out."""
    model = RidgeCV(alphas=_ALPHAS).fit(features, targets, sample_weight=weights)
    return np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
