"""Labels of any kind as numbers, and back: one label per image, or several at once."""

import warnings

import numpy as np
import torch
from scipy.sparse import issparse
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktl._targets import missing_labels, plain_labels
from sktl._validation import check_y
from sktl.fine_tuning._probe import label_probe, multilabel_probe


class Labels:
    """The labels of a classifier: encoded for training, weighted, and decoded from outputs."""

    is_classifier = True

    def __init__(self, classes, multilabel):
        self.classes = classes
        self.multilabel = multilabel

    def encoding(self):
        """Return the arguments that make these labels again."""
        return {"classes": self.classes, "multilabel": self.multilabel}

    @property
    def n_outputs(self):
        """Number of outputs of the network."""
        return len(self.classes)

    @property
    def criterion(self):
        """The loss."""
        return nn.BCEWithLogitsLoss if self.multilabel else nn.CrossEntropyLoss

    def criterion_options(self, label_smoothing):
        """Return further options of the loss."""
        return {} if self.multilabel else {"label_smoothing": label_smoothing}

    @classmethod
    def found_in(cls, y, classes, estimator):
        """Find the labels in y, one or several columns, or among the classes that are said to come."""
        if y is None:
            raise ValueError("FineTuneClassifier requires y to be passed, but the target y is None.")
        y = plain_labels(y)
        if has_columns(y):
            _hint_at_one_hot(y)
            return cls(np.arange(_shape(y)[1]), multilabel=True)
        return cls(np.unique(check_y(y, estimator=estimator) if classes is None else classes), multilabel=False)

    def encode(self, y, classes, estimator):
        """Return positions among the labels, or the indicator matrix as int8."""
        y = plain_labels(y)
        if y is None or has_columns(y) != self.multilabel:
            raise ValueError("y must have as many columns as before. Got another number instead. Fit anew.")
        if self.multilabel:
            return self._indicator(y, estimator)
        y = check_y(y, estimator=estimator)
        check_classification_targets(y)
        if classes is not None and not np.array_equal(np.unique(classes), self.classes):
            raise ValueError(
                f"classes must be those of the first call, {self.classes.tolist()}. "
                f"Got {np.unique(classes).tolist()} instead. Leave them out, or fit anew."
            )
        found, encoded = np.unique(y, return_inverse=True)
        unknown = found[~np.isin(found, self.classes)]
        if len(unknown):
            raise ValueError(
                f"y must hold labels among {self.classes.tolist()}. Got {unknown.tolist()} as well. A new set of "
                "classes needs a new fit with warm_start=False; partial_fit takes all of them as classes= in its first "
                "call."
            )
        return np.searchsorted(self.classes, found)[encoded.reshape(-1)]

    def _indicator(self, y, estimator):
        y = y.toarray() if issparse(y) else np.asarray(y)
        if y.shape[1] != len(self.classes):
            raise ValueError(f"y must have {len(self.classes)} columns, as before. Got {y.shape[1]} instead.")
        # scikit-learn takes any two numbers for an indicator.
        if not np.isin(y, (0, 1)).all() or type_of_target(y, input_name="y") != "multilabel-indicator":
            raise ValueError(
                "y must be a matrix of zeros and ones with one column per label, as before. "
                f"Got a matrix of shape {y.shape} with other values instead. Fit anew."
            )
        for name, neutral in (("class_weight", None), ("teacher", None), ("label_smoothing", 0)):
            if getattr(estimator, name) != neutral:
                raise ValueError(
                    f"{name} must be {neutral} when an image may have several labels. "
                    f"Got {getattr(estimator, name)!r} instead."
                )
        return y.astype(np.int8)

    def counted(self, targets, weights):
        """Return the weights of images, zero where nothing is known of one."""
        return weights

    def check_enough(self, targets, weights, classes):
        """Raise ValueError unless there are classes to be told apart."""
        n_classes = int((self.totals(targets, weights) > 0).sum())
        if not self.multilabel and (n_classes if classes is None else len(self.classes)) < 2:
            raise ValueError(
                "FineTuneClassifier must see at least two classes with a positive sample weight. "
                f"Got {n_classes} class instead."
            )

    def prepare(self, targets, weights, class_weight):
        """Return targets for the probe, and weights of images times those of their classes."""
        if self.multilabel:
            return torch.as_tensor(targets, dtype=torch.float32), weights
        return torch.as_tensor(targets, dtype=torch.int64), self.weigh(targets, weights, class_weight)

    def labels(self, targets):
        """Return labels for positions among them, or the indicator matrix."""
        return targets.astype(int) if self.multilabel else self.classes[targets]

    def totals(self, targets, weights):
        """Return the sum of the weights of each label."""
        return weights @ targets if self.multilabel else np.bincount(targets, weights, minlength=len(self.classes))

    def weigh(self, targets, weights, class_weight):
        """Return weights of images times those of their classes."""
        if class_weight is None:
            return weights
        if isinstance(class_weight, list):
            raise ValueError(
                "class_weight must be a dictionary, 'balanced' or None when y is one column of labels. "
                f"Got a list of {len(class_weight)} instead: lists are for several columns."
            )
        if class_weight == "balanced":
            totals = self.totals(targets, weights)
            of_class = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
            return weights * of_class[targets]
        labels = self.classes[targets]
        weights = weights * compute_class_weight(class_weight, classes=self.classes, y=labels)[targets]
        if weights.min() < 0 or not weights.any():
            raise ValueError(
                "class_weight must not be negative, and must leave an image with a positive weight. "
                f"Got {class_weight} for the labels {np.unique(labels).tolist()} instead."
            )
        return weights

    def loss_targets(self, targets, *, mixed):
        """Return targets for the loss: of mixed images, the share of each label."""
        soft = mixed and not self.multilabel
        return nn.functional.one_hot(targets, len(self.classes)).float() if soft else targets

    def by_column(self, targets):
        """Yield the images whose label is known, their targets, and weights of classes beside those of images."""
        yield np.arange(len(targets)), targets, np.ones(len(targets), dtype=np.float32)

    def strata(self, targets):
        """Return what the inner split keeps the shares of, or None."""
        return None if self.multilabel else targets

    def probe(self, features, targets, weights):
        """Fit a linear model; see `label_probe` and `multilabel_probe`."""
        if self.multilabel:
            return multilabel_probe(features, targets, weights)
        return label_probe(features, targets, weights, len(self.classes))

    def share_beside_probe(self, features, targets, weights):
        """Return the share of a trained network in the mean with a probe: logits say themselves how sure they are."""
        return np.full(self.n_outputs, 0.5)

    def decode(self, outputs):
        """Return labels for logits."""
        return (outputs > 0).astype(int) if self.multilabel else self.classes[outputs.argmax(axis=1)]

    def probabilities(self, outputs):
        """Return probabilities for logits."""
        return expit(outputs) if self.multilabel else softmax(outputs, axis=1)

    def scores(self, outputs):
        """Return the decision function for logits."""
        return outputs[:, 1] - outputs[:, 0] if len(self.classes) == 2 and not self.multilabel else outputs

    def accuracy(self, y, predicted, sample_weight=None):
        """Return the share of images with the right label, or labels."""
        return accuracy_score(y, predicted, sample_weight=sample_weight)


def _hint_at_one_hot(y):
    ones = np.asarray((y != 0).sum(axis=1)) if issparse(y) else np.count_nonzero(np.asarray(y), axis=1)
    if (ones == 1).all():
        warnings.warn(
            "y should have rows with several ones, or none, where an image may have several labels (multilabel). Got "
            "exactly one in every row: the columns are learnt apart from each other. If each image has one class, pass "
            "y.argmax(axis=1), or the names of the classes.",
            stacklevel=2,
        )


def has_columns(y):
    """Whether y is a matrix of two columns or more."""
    shape = _shape(y)
    return len(shape) == 2 and shape[1] > 1


def is_indicator(y):
    """Whether a matrix holds zeros and ones alone, which say what labels an image has; scikit-learn sees it so."""
    if missing_labels(y).any():
        return False
    values = y.data if issparse(y) else np.asarray(plain_labels(y))
    return values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all())


def _shape(y):
    return y.shape if issparse(y) else np.asarray(y).shape


def softened(teacher, X, classes, temperature):
    """Return the probabilities of a teacher for images, softened by a temperature."""
    check_is_fitted(
        teacher,
        msg="teacher must be fitted. Got a %(name)s that is not, instead. clone() forgets what was fitted: give "
        "sklearn.frozen.FrozenEstimator(teacher) to cross-validation and grid search.",
    )
    if not np.array_equal(np.unique(teacher.classes_), classes):
        raise ValueError(
            f"teacher must know the classes {classes.tolist()}, and no others. "
            f"Got a teacher of {np.asarray(teacher.classes_).tolist()} instead."
        )
    probabilities = np.asarray(teacher.predict_proba(X))[:, np.argsort(teacher.classes_)]
    logits = torch.as_tensor(np.log(np.clip(probabilities, 1e-12, None)), dtype=torch.float32)
    return (logits / temperature).softmax(1)
