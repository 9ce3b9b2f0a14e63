"""How long a fit takes, predicted from one batch of images and a few steps: no result, store or seed knows of it."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from sktl.backbones import seeded
from sktl.backbones.torch_defaults import torch_defaults
from sktl.fine_tuning._fitting import new_net
from sktl.images import take_rows
from sktl.inference import StoreInfo, block_rows, resolve_placement, run_in_blocks
from sktl.inference.forward_passes import counted_forward_passes
from sktl.training import (
    AugmentedImages,
    fit_into_memory,
    n_batches,
    n_epochs,
    prepared_already,
    views_that_come_back,
)

__all__ = ["ExpectedSeconds", "expected_seconds"]

LONGEST, MOST_STEPS = 0.5, 8  # seconds and number of the steps that are timed, after one that warms up
COMPARED = 1000  # images that are mirrored to find out whether left and right matter
LIGHT = "light"  # what augment="auto" most often means; its other choice costs the same


@dataclass(frozen=True)
class ExpectedSeconds:
    """Seconds of the parts that a fit consists of, and how many of each there are."""

    estimator: Any
    part: Any  # the frozen part
    start: float  # to make the network
    plain: float  # to read an image and send it through the frozen part
    view: float  # the same with an augmented view
    above: float  # to send what comes from there through the rest
    step: float  # of training
    n_bytes: int  # of an image at the split point

    def of_fit(self, n_images):
        """Predict one fit on so many images that were never seen before."""
        return self._once(n_images) + self._always(n_images)

    def of_folds(self, n_train, n_test, n_trained, n_tested):
        """Predict the fits and predictions of splits with so many images each.

        `n_trained` different ones are trained on in all, and `n_tested` others are only tested on.
        """
        if self._is_stored(n_trained):
            new = self._once(n_trained) + n_tested * self.plain
        else:
            new = sum(map(self._once, n_train)) + sum(n_test) * self.plain
        return float(new + sum(map(self._always, n_train)) + sum(n_test) * self.above)

    def _once(self, n_images):
        """Seconds of what is computed once for each image and kept."""
        return n_images * (self.plain + self._n_made(n_images) * self.view) + self._n_mirrored(n_images) * self.plain

    def _always(self, n_images):
        """Seconds of what every fit does anew."""
        passes = (self.estimator.weights is not None) * n_images + 2 * self._n_mirrored(n_images)
        n_steps = self._n_epochs(n_images) * n_batches(n_images, self.estimator.batch_size)
        return self.start + n_steps * self.step + passes * self.above

    def _n_mirrored(self, n_images):
        is_auto = isinstance(self.estimator.augment, str) and self.estimator.augment == "auto"
        return min(n_images, COMPARED) if is_auto and self._n_epochs(n_images) else 0

    def _n_epochs(self, n_images):
        """Epochs of all trainings of a fit."""
        one = self.estimator
        if one._is_probe():
            return 0
        n_trainings = 1 + bool(one.early_stopping and one.refit)
        return n_trainings * n_epochs(one.max_epochs, n_images, one.batch_size)

    def _n_views(self, n_images):
        if self.estimator.augment is None:
            return 0
        return views_that_come_back(self.estimator.n_views, n_images * self.n_bytes)

    def _n_made(self, n_images):
        """How many views of each image are made: in memory and in the store they come back."""
        n_views, n_passes = self._n_views(n_images), self._n_epochs(n_images)
        if n_views is None:
            return n_passes
        comes_back = fit_into_memory(n_images * self.n_bytes * (1 + n_views)) or self._is_stored(n_images)
        return min(n_views, n_passes) if comes_back or n_views == 0 else n_passes

    def _is_stored(self, n_images):
        return self.part.may_store(n_images * (1 + (self._n_views(n_images) or 0)))


@torch_defaults()
def expected_seconds(estimator, X, y):
    """Measure the parts of a fit of an unfitted estimator, on one batch of the images that it will be fitted on."""
    mine = clone(estimator).set_params(random_state=0, verbose=0)
    n_rows = -(-len(y) // n_batches(len(y), mine.batch_size))
    rows = np.unique(np.linspace(0, len(y) - 1, n_rows).astype(int))
    placement = resolve_placement(mine.device, mine.precision)
    with counted_forward_passes(), seeded(0, placement.device):
        classes = np.unique(y) if is_classifier(mine) else None
        few = mine._training_set(take_rows(X, rows), y[rows], None, False, classes)
        mine._start(few.images)
        mine.store_info_ = StoreInfo()
        images = few.images.with_value_range(mine.value_range_, learned=mine._range_is_learned)
        start, network = _timed(lambda: mine._new_network(placement))
        part = mine._frozen_part(network, placement)
        plain, activations = _timed(lambda: part(images, use_store=False), warm_up=True)
        view = 0.0 if mine.augment is None else _of_view(mine, part, images)
        above = _above(mine, network, activations, placement)
        step = 0.0 if mine._is_probe() else _step(mine, network, activations, few, placement)
    n = len(images)
    return ExpectedSeconds(
        mine, part, start, plain / n, view / n, above / n, step, n_bytes=part.bytes_per_image(images)
    )


def _timed(function, *, warm_up=False):
    if warm_up:
        function()
    start = time.perf_counter()
    outcome = function()
    return time.perf_counter() - start, outcome


def _of_view(estimator, part, images):
    """Seconds to make one view of each image and send it through the frozen part."""
    augment = LIGHT if isinstance(estimator.augment, str) and estimator.augment == "auto" else estimator.augment
    preprocessing = estimator._preprocessing()
    views = AugmentedImages(images, preprocessing, augment, 1)
    return _timed(lambda: part(views, prepared_already(preprocessing), use_store=False))[0]


def _above(estimator, network, activations, placement):
    """Seconds to send activations through the trained part, as prediction does."""
    rows = block_rows(network.preprocessing.crop_size, placement.device, estimator.batch_size)

    def function(batch):
        return network.above_cut(batch if network.n_frozen else network.below_cut(batch))

    return _timed(lambda: run_in_blocks(function, activations, placement, rows), warm_up=True)[0]


def _step(estimator, network, activations, few, placement):
    """Seconds of one training step, the median of a few."""
    net = new_net(estimator, network, placement)
    inputs = {
        "activations": activations,
        "targets": estimator._loss_targets(few.targets),
        "sample_weight": few.weights,
    }
    batch, taken = (inputs, few.labels), []
    net.train_step(batch)
    while len(taken) < MOST_STEPS and sum(taken) < LONGEST:
        taken.append(_timed(lambda: net.train_step(batch))[0])
    return float(np.median(taken))
