"""The training loop: a network with a split point and a head, its batches and views, and the skorch net."""

from sktl.training._activations import Activations, FrozenPart, frozen_record
from sktl.training._batches import TrainingData
from sktl.training._heads import build_head
from sktl.training._net import build_net, train, validation_loss
from sktl.training._network import FineTuneNetwork, trained_tensors
from sktl.training._schedule import OptimizerSettings, base_learning_rate, n_epochs
from sktl.training._show_augmentation import show_augmentation
from sktl.training._stage_probe import StageProbe, stage_probe
from sktl.training._training_set import (
    TrainingSet,
    canonical,
    given_split,
    inner_split,
    merged_groups,
    split_of_labelled,
)
from sktl.training._users_callbacks import (
    check_callbacks,
    cloned,
    parameters_of,
    that_can_be_pickled,
    that_need_no_validation,
    with_parameters,
)
from sktl.training._views import AUGMENTATIONS, AugmentedImages, check_augment, mirrored, prepared_already

__all__ = [
    "AUGMENTATIONS",
    "Activations",
    "AugmentedImages",
    "FineTuneNetwork",
    "FrozenPart",
    "OptimizerSettings",
    "StageProbe",
    "TrainingData",
    "TrainingSet",
    "base_learning_rate",
    "build_head",
    "build_net",
    "canonical",
    "check_augment",
    "check_callbacks",
    "cloned",
    "frozen_record",
    "given_split",
    "inner_split",
    "merged_groups",
    "mirrored",
    "n_epochs",
    "parameters_of",
    "prepared_already",
    "show_augmentation",
    "split_of_labelled",
    "stage_probe",
    "that_can_be_pickled",
    "that_need_no_validation",
    "train",
    "trained_tensors",
    "validation_loss",
    "with_parameters",
]
