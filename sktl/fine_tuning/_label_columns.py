"""Several columns of labels, each with classes of its own: one network with a head per column."""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length
from torch import nn

from sktl._targets import missing_labels
from sktl.fine_tuning._labels import Labels, has_columns, is_indicator
from sktl.fine_tuning._unlabelled import UNLABELLED, plain_cells


def find_labels(y, classes, estimator):
    """Find out what y holds, or is said to hold: one label per image, several at once, or columns of labels."""
    by_column = classes is not None and all(np.ndim(each) == 1 for each in classes)
    if has_columns(y) and (by_column or not is_indicator(y)):
        return LabelColumns.found_in(y, classes if by_column else None, estimator)
    return Labels.found_in(y, classes, estimator)


def labels_of(classes, multilabel):
    """Make labels again of what they were written down as."""
    return LabelColumns(classes) if isinstance(classes, list) else Labels(classes, multilabel)


class LabelColumns:
    """Columns of labels, each encoded, weighted and decoded as one label per image is; labels may be missing.

    Positions among the classes of a column are -1 where the label is missing. The training gets, side by side for all
    columns, a one in the place of each label times the weight of its class, and zeros for a label that is missing.
    """

    is_classifier = True
    multilabel = False

    def __init__(self, classes):
        self.columns = [Labels(each, multilabel=False) for each in classes]
        self.sizes = [len(each) for each in classes]

    @property
    def classes(self):
        """The labels of each column."""
        return [column.classes for column in self.columns]

    def encoding(self):
        """Return the arguments that make these labels again."""
        return {"classes": self.classes, "multilabel": False}

    @property
    def n_outputs(self):
        """Number of outputs of the network."""
        return sum(self.sizes)

    @property
    def criterion(self):
        """The loss."""
        return ColumnsLoss

    def criterion_options(self, label_smoothing):
        """Return further options of the loss."""
        return {"sizes": self.sizes, "label_smoothing": label_smoothing}

    @classmethod
    def found_in(cls, y, classes, estimator):
        """Find the labels in each column of y, or among the classes that are said to come."""
        cells, missing = _cells(y)
        _check_columns("classes", classes, cells.shape[1])
        found = []
        for j in range(cells.shape[1]):
            with _in_column(j):
                known = plain_cells(cells[~missing[:, j], j]) if classes is None else np.asarray(classes[j])
                found.append(Labels.found_in(known, None, estimator).classes if len(known) else known)
        return cls(found)

    def encode(self, y, classes, estimator):
        """Return positions (n_images, n_columns) among the labels."""
        if estimator.teacher is not None:
            raise ValueError(
                f"teacher must be None when y has several columns. Got {type(estimator.teacher).__name__} instead. Fit "
                "one student per column."
            )
        _check_columns("classes", classes, len(self.columns))
        cells, missing = _cells(y, len(self.columns))
        encoded = np.full(cells.shape, UNLABELLED)
        for j, column in enumerate(self.columns):
            known = ~missing[:, j]
            if known.any():
                with _in_column(j):
                    own = None if classes is None else classes[j]
                    encoded[known, j] = column.encode(plain_cells(cells[known, j]), own, estimator)
        return encoded

    def unlabelled(self, targets):
        """Return which images have no label and count all the same: none."""
        return np.zeros(len(targets), dtype=bool)

    def counted(self, targets, weights):
        """Return the weights of images, zero where no label is known."""
        counted = np.where((targets != UNLABELLED).any(axis=1), weights, 0.0)
        if not counted.any():
            raise ValueError("y must have a label for one image at least. Got none instead.")
        return counted

    def check_enough(self, targets, weights, classes):
        """Raise ValueError unless each column has classes to be told apart."""
        for j, column in enumerate(self.columns):
            known = targets[:, j] != UNLABELLED
            with _in_column(j):
                column.check_enough(targets[known, j], weights[known], None if classes is None else classes[j])

    def prepare(self, targets, weights, class_weight):
        """Return targets for the probe, with the weights of the classes in them, and the weights of the images."""
        by_column = class_weight if isinstance(class_weight, list) else [class_weight] * len(self.columns)
        _check_columns("class_weight", by_column, len(self.columns))
        prepared = np.zeros((len(targets), self.n_outputs))
        for j, (column, start) in enumerate(zip(self.columns, self._starts(), strict=False)):
            known = np.flatnonzero((targets[:, j] != UNLABELLED) & (weights > 0))
            own, shares = targets[known, j], weights[known]
            if len(known):
                with _in_column(j):
                    weighed = column.weigh(own, shares, by_column[j])
                # The columns count alike, whatever the weights of their classes.
                prepared[known, start + own] = weighed / shares * (shares.sum() / weighed.sum())
        return torch.as_tensor(prepared, dtype=torch.float32), weights

    def labels(self, targets):
        """Return labels for positions among them, None for those that are missing."""
        joined = _joined([column.classes[targets[:, j]] for j, column in enumerate(self.columns)])
        missing = targets == UNLABELLED
        if missing.any():
            joined = joined.astype(object)
            joined[missing] = None
        return joined

    def loss_targets(self, targets, *, mixed, opinions=None):
        """Return targets for the loss, which may be mixed as they are."""
        return targets

    def by_column(self, targets):
        """Yield, of each column, the images whose label is known, positions of their labels, and weights of classes."""
        for start, end in pairwise(self._starts()):
            own = targets[:, start:end]
            weights = own.sum(axis=1)
            known = np.flatnonzero(weights)
            yield known, own[known].argmax(axis=1), weights[known]

    def strata(self, targets):
        """Return what the inner split keeps the shares of: combinations of labels."""
        positions = np.full((len(targets), len(self.columns)), UNLABELLED)
        for j, (known, own, _) in enumerate(self.by_column(targets)):
            positions[known, j] = own
        return np.unique(positions, axis=0, return_inverse=True)[1].reshape(-1)

    def probe(self, features, targets, weights):
        """Fit a linear model to each column, on the images whose label is known; see `label_probe`."""
        solutions = [
            column.probe(features[known], own, weights[known] * of_class)
            for column, (known, own, of_class) in zip(self.columns, self.by_column(targets), strict=True)
        ]
        if any(solution is None for solution in solutions):
            return None
        return tuple(np.concatenate(part) for part in zip(*solutions, strict=True))

    def share_beside_probe(self, features, targets, weights):
        """Return the share of a trained network in the mean with a probe; see Labels."""
        return np.full(self.n_outputs, 0.5)

    def decode(self, outputs):
        """Return labels (n_images, n_columns) for logits."""
        return _joined([column.decode(own) for column, own in self._split(outputs)])

    def probabilities(self, outputs):
        """Return the probabilities of each column for logits."""
        return [column.probabilities(own) for column, own in self._split(outputs)]

    def scores(self, outputs):
        """Return the decision function of each column for logits."""
        return [column.scores(own) for column, own in self._split(outputs)]

    def accuracy(self, y, predicted, sample_weight=None):
        """Return the share of images whose known labels are all right."""
        cells, missing = _cells(y, len(self.columns))
        check_consistent_length(cells, predicted, sample_weight)
        right = missing | np.equal(np.where(missing, None, cells), predicted.astype(object)).astype(bool)
        counted = ~missing.all(axis=1)
        weights = None if sample_weight is None else np.asarray(sample_weight)[counted]
        return float(np.average(right.all(axis=1)[counted], weights=weights))

    def _starts(self):
        return np.cumsum([0, *self.sizes])

    def _split(self, outputs):
        return zip(self.columns, np.split(outputs, self._starts()[1:-1], axis=1), strict=True)


class ColumnsLoss(nn.Module):
    """The mean over columns of the cross-entropy of each image, whose targets are shares of labels times weights."""

    def __init__(self, sizes, label_smoothing=0.0, reduction="none"):
        super().__init__()
        self.sizes, self.label_smoothing = list(sizes), label_smoothing

    def forward(self, outputs, targets):
        """Return the loss of each image; a label that is missing adds none."""
        losses = torch.zeros(len(outputs), device=outputs.device)
        for logits, shares in zip(outputs.split(self.sizes, 1), targets.split(self.sizes, 1), strict=True):
            smooth = torch.lerp(shares, shares.mean(1, keepdim=True).expand_as(shares), self.label_smoothing)
            losses = losses - (smooth * logits.log_softmax(1)).sum(1)
        return losses / len(self.sizes)


def _cells(y, n_columns=None):
    """Return the labels of all columns as an array, and which of them are missing."""
    y = y.toarray() if issparse(y) else y
    missing = missing_labels(y)
    if missing.ndim != 2 or n_columns not in (None, missing.shape[1]):
        raise ValueError(
            f"y must have {n_columns} columns of labels, as before. Got shape {missing.shape} instead. Fit anew."
        )
    if np.ma.isMaskedArray(y):
        return np.ma.getdata(y), missing
    # In an array that is not of objects, words would turn numbers into words.
    return np.asarray(y, dtype=object if isinstance(y, (list, tuple)) else None), missing


def _check_columns(name, given, n_columns):
    """Raise ValueError unless a list of what is said of each column is as long as y is wide."""
    if given is not None and len(given) != n_columns:
        raise ValueError(
            f"{name} must have an entry for each of the {n_columns} columns of y where it is a list. "
            f"Got {len(given)} instead."
        )


def _joined(columns):
    """Return columns side by side, numbers beside words as objects."""
    is_mixed = len({column.dtype.kind in "biuf" for column in columns}) > 1
    return np.stack([column.astype(object) if is_mixed else column for column in columns], axis=1)


@contextmanager
def _in_column(j):
    """Name the column in errors about its labels."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"In column {j} of y: {error}") from error
