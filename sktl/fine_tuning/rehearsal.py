"""How long fits take, told by short ones on a few images, which leave no trace."""

import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone

from sktl.fine_tuning._classifier import FineTuneClassifier
from sktl.fine_tuning._regressor import FineTuneRegressor
from sktl.images import take_rows
from sktl.inference import resolve_placement, unwarned_of_photographs
from sktl.inference.forward_passes import counted_forward_passes
from sktl.inference.progress import kept_work, told_to
from sktl.store import looked_up_only
from sktl.training import Activations, n_epochs
from sktl.training.callbacks import TrainingOption

__all__ = ["FitCost", "can_be_rehearsed", "rehearsed"]

# Images of the first short fit; each of the next ones has twice as many, up to a batch, or until one has taken so many
# seconds. The first finds nothing prepared, which matters little where it takes so much longer.
FEWEST, ENOUGH, LONG = 8, 0.4, 1.6
EPOCHS, MANY_EPOCHS = 2, 6  # the first finds nothing prepared; of the others the median counts
SHARE = 0.05  # of the images in all epochs of the fits: what short ones may have


@dataclass(frozen=True)
class FitCost:
    """What a fit takes, with its predictions."""

    seconds: float
    per_new_image: float  # seconds besides, for each training image that no fit has had before: the store keeps it

    def at_most(self, n_train):
        """Return the seconds where all of so many training images are new."""
        return self.seconds + n_train * self.per_new_image


def can_be_rehearsed(estimator):
    """Whether a few steps tell how long a fit takes: nothing but the number of epochs ends it."""
    if type(estimator) not in (FineTuneClassifier, FineTuneRegressor):
        return False
    if getattr(estimator, "teacher_cv", None) is not None:  # how long it takes to fit a teacher is not known
        return False
    return not (estimator.early_stopping or estimator.callbacks or getattr(estimator, "_skl_callbacks", None))


def rehearsed(estimator, X, y, sizes, *, share=SHARE, in_full=False):
    """Return what fits on so many training images cost, with predictions of so many others.

    Results, random states and stores are left as they are.

    Parameters
    ----------
    estimator : FineTuneClassifier or FineTuneRegressor
        Unfitted; it is cloned.
    X, y : sequence of images and array of shape (n_images,)
        Those of one of the fits.
    sizes : list of (n_train, n_test)
        One for each of the fits.
    share : float, default=0.02
        Of the images in all epochs of the fits, how many short ones may have.
    in_full : bool, default=False
        Whether the last short fit has a whole batch and more epochs, however long that takes, as far as `share` allows.

    Returns
    -------
    dict of (n_train, n_test) to FitCost
        Empty where short fits would be no small part of the work.
    """
    in_all = sum(n_train * n_epochs(estimator.max_epochs, n_train, estimator.batch_size) for n_train, _ in sizes)
    whole = min(estimator.batch_size, len(y))
    most = int(min(whole, share * in_all / (2 * (MANY_EPOCHS if in_full else EPOCHS))))
    if most < min(FEWEST, whole):
        return {}
    with ExitStack() as stack:
        for context in (counted_forward_passes(), looked_up_only(), unwarned_of_photographs(), told_to(None)):
            stack.enter_context(context)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        model, images, parts = _last_short_fit(estimator, X, y, most, in_full)
        return {size: _cost(estimator, model, images, parts, *size) for size in set(sizes)}


def _last_short_fit(estimator, X, y, most, in_full):
    """Return a short fit that found everything prepared, with its images and what its parts have taken."""
    order = np.argsort(y, kind="stable")  # images of all classes, as far as possible
    n_images = fewest = min(FEWEST, most)
    while True:
        rows = order[np.linspace(0, len(order) - 1, n_images).round().astype(np.intp)]
        few, parts = take_rows(X, rows), _Parts(n_images)
        epochs = MANY_EPOCHS if in_full and n_images == most else EPOCHS
        model = clone(estimator).set_params(max_epochs=epochs, random_state=0, callbacks=[_Clock(parts)], verbose=0)
        with kept_work() as parts.kept:
            parts.mark("start")
            model.fit(few, y[rows])
            parts.mark("fitted")
            model.predict(few)
            parts.mark("predicted")
        is_enough = parts.between("start", "predicted")[0] > (LONG if n_images == fewest else ENOUGH)
        if n_images == most or (is_enough and not in_full):
            return model, model._images(few), parts
        n_images = most if in_full else min(2 * n_images, most)


@dataclass
class _Parts:
    """When each part of a fit has begun, with the seconds of work until then whose outcome is kept."""

    n_images: int
    kept: list = field(default_factory=list)
    marks: dict = field(default_factory=dict)

    def mark(self, name):
        """Take note that something begins or ends."""
        self.marks.setdefault(name, []).append(np.array([time.perf_counter(), sum(self.kept)]))

    def between(self, begin, end, which=-1):
        """Return the seconds of a part, and those of them whose outcome is kept."""
        return self.marks[end][which] - self.marks[begin][which]

    def typical(self, begin, end):
        """Return the same for a part of each epoch but the first, the median over them."""
        return np.median([self.between(begin, end, epoch) for epoch in range(1, len(self.marks[begin]))], axis=0)


class _Clock(TrainingOption):
    """Notes the parts of an epoch; an exact probe, which has none, stays one."""

    def __init__(self, parts):
        self.parts = parts

    def on_epoch_begin(self, net, **kwargs):
        """Note that the images are asked for."""
        self.parts.mark("epoch")

    def on_batch_begin(self, net, **kwargs):
        """Note that they are there."""
        self.parts.mark("step")

    def on_epoch_end(self, net, **kwargs):
        """Note that the step is done, of which a short fit has one an epoch."""
        self.parts.mark("end")

    def _clear(self, net):
        """Keep the notes."""


def _cost(estimator, model, images, parts, n_train, n_test):
    """Scale what a short fit has taken to so many images, epochs and views."""
    taken, is_stored = parts.between("start", "fitted"), True
    if "epoch" in parts.marks:
        epochs = n_epochs(estimator.max_epochs, n_train, estimator.batch_size)
        n_views, is_stored = _plan(model, images.subset(np.zeros(n_train, dtype=np.intp)), epochs)
        is_plain = model.augment_ is None  # these images are there already in the second epoch
        view = parts.between("epoch", "step", 0) if is_plain else parts.typical("epoch", "step")
        taken = taken - sum(parts.between("epoch", "end", epoch) for epoch in range(len(parts.marks["epoch"])))
        taken = taken + n_views * view + epochs * parts.typical("step", "end")
    seconds, kept = taken / parts.n_images
    predicting = n_test * parts.between("fitted", "predicted")[0] / parts.n_images
    if not is_stored:
        return FitCost(n_train * seconds + predicting, 0.0)
    return FitCost(n_train * (seconds - kept) + predicting, kept)


def _plan(model, images, epochs):
    """Return how many views of the images are computed, and whether the store keeps them."""
    frozen_part = model._frozen_part(model.module_, resolve_placement(model.device, model.precision))
    options = {"augment": model.augment_, "n_views": model.n_views}
    return Activations(frozen_part, images, model.module_.preprocessing, **options).plan(epochs)
