"""Training data and its batches: activations, targets, weights and labels."""

import numpy as np
import torch

from sktl.training._mixing import mix
from sktl.training._schedule import n_batches


class TrainingData(torch.utils.data.Dataset):
    """Some of the training images: activations, targets of the loss, weights, and labels or numbers as users know them.

    Metrics in callbacks compare the last with predictions, whatever the loss is told.
    """

    def __init__(self, activations, targets, weights, labels, positions=None, teacher=None):
        self.activations = activations
        self.targets = targets
        self.weights = weights
        self.labels = labels
        self.positions = np.arange(len(targets)) if positions is None else positions
        self.teacher = teacher

    def __len__(self):
        return len(self.positions)

    def at(self, positions):
        """Return the training data at other positions."""
        return TrainingData(self.activations, self.targets, self.weights, self.labels, positions, self.teacher)

    def batch(self, selected, view=0):
        """Return inputs and labels for an array of indices into `positions`, of one view of the images."""
        positions = self.positions[selected]
        inputs = {
            "activations": self.activations.view(positions, view),
            "targets": self.targets[positions],
            "sample_weight": self.weights[positions],
        }
        if self.teacher is not None:
            inputs["teacher"] = self.teacher[positions]
        return inputs, self.labels[positions]


class PredictionData(torch.utils.data.Dataset):
    """Activations alone: whatever gives those at an array of positions."""

    def __init__(self, activations):
        self.activations = activations

    def __len__(self):
        return len(self.activations)

    def batch(self, selected):
        """Return inputs and no labels."""
        return {"activations": self.activations[selected]}, None


class Batches:
    """Whole batches of nearly equal size, shuffled anew in each pass when a generator is given.

    A DataLoader would collate image by image, and draws from torch's global generator even without shuffling.
    """

    def __init__(self, dataset, batch_size, generator=None, first_view=1, mixup=0.0, cutmix=0.0):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator
        self.view = first_view
        self.mixup = mixup
        self.cutmix = cutmix

    def __len__(self):
        return n_batches(len(self.dataset), self.batch_size)

    def __iter__(self):
        order = np.arange(len(self.dataset))
        if self.generator is None:
            for selected in np.array_split(order, len(self)):
                yield self.dataset.batch(selected)
            return
        self.generator.shuffle(order)
        view, self.view = self.view, self.view + 1
        for selected in np.array_split(order, len(self)):
            batch = self.dataset.batch(selected, view)
            yield self._mixed(*batch) if self.mixup or self.cutmix else batch

    def _mixed(self, inputs, labels):
        targets = inputs["targets"]
        n_targets = targets.shape[1]
        teacher = inputs.get("teacher", targets[:, :0])
        activations, both, weights = mix(
            inputs["activations"],
            torch.cat([targets, teacher], dim=1),
            inputs["sample_weight"],
            self.mixup,
            self.cutmix,
            self.generator,
        )
        mixed = {"activations": activations, "targets": both[:, :n_targets], "sample_weight": weights}
        if "teacher" in inputs:
            mixed["teacher"] = both[:, n_targets:]
        return mixed, labels
