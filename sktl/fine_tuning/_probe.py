"""Linear probes: linear models on frozen features, the whole of depth 0 and the start of a linear head elsewhere.

A head that starts at random sends noise through the stages below it before it has learnt anything, which distorts
pretrained features (Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
out-of-distribution", arXiv:2202.10054).
"""

import numpy as np

from sktl.feature_extraction.probes import classification_probe

# A probe that separates the training images has a loss, and so gradients, near zero: the stages below would learn
# nothing. Logits times this factor give the same labels with less certainty, which leaves something to be learnt.
LOGIT_SCALE = 0.3


def label_probe(features, labels, weights, n_classes):
    """Fit a linear model whose softmax are probabilities; None where a class has no image."""
    if len(np.unique(labels)) < n_classes:
        return None
    return classification_probe(features, labels, weights, n_classes)[:2]


def multilabel_probe(features, targets, weights):
    """Fit a linear model for each label."""
    n_images, n_labels = targets.shape
    coefficients, intercepts = np.zeros((n_labels, features.shape[1])), np.zeros(n_labels)
    for k, column in enumerate(targets.T):
        pair = label_probe(features, column.astype(int), weights, 2)
        if pair is None:
            intercepts[k] = np.log(n_images) * np.sign(column[0] - 0.5)
        else:
            coefficients[k], intercepts[k] = pair[0][1] - pair[0][0], pair[1][1] - pair[1][0]
    return coefficients, intercepts
