"""The training loop: a network with a split point and a head, its batches and views, and the skorch net."""

from sktl.training._activations import Activations, FrozenPart, frozen_record
from sktl.training._batches import TrainingData
from sktl.training._heads import build_head
from sktl.training._net import build_net, train, validation_loss
from sktl.training._network import FineTuneNetwork, trained_tensors
from sktl.training._schedule import OptimizerSettings, base_learning_rate, n_epochs
from sktl.training._show_augmentation import show_augmentation
from sktl.training._training_set import canonical, inner_split
from sktl.training._views import AUGMENTATIONS, check_augment, mirrored, prepared_already

__all__ = [
    "AUGMENTATIONS",
    "Activations",
    "FineTuneNetwork",
    "FrozenPart",
    "OptimizerSettings",
    "TrainingData",
    "base_learning_rate",
    "build_head",
    "build_net",
    "canonical",
    "check_augment",
    "frozen_record",
    "inner_split",
    "mirrored",
    "n_epochs",
    "prepared_already",
    "show_augmentation",
    "train",
    "trained_tensors",
    "validation_loss",
]
