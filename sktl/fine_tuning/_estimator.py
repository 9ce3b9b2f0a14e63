"""The base of classifier and regressor: from images and targets to a trained network, and back to predictions."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from sktl._validation import callback_support, check_sample_weight
from sktl.backbones import load_backbone, seeded, tensor_digest
from sktl.backbones.estimators import NetworkEstimator, trained_record
from sktl.backbones.torch_defaults import torch_defaults
from sktl.fine_tuning._bad_images import without_bad_images
from sktl.fine_tuning._choice_of_views import augmentation_of
from sktl.fine_tuning._epoch_tasks import EpochTasks
from sktl.fine_tuning._fitting import Fitting
from sktl.fine_tuning._parameters import SHARED_CONSTRAINTS, check_structure, check_together, depth_of, settings_of
from sktl.fine_tuning._validation_data import ValidationData
from sktl.fine_tuning.network_outputs import NetworkOutputs
from sktl.images import check_images, read_once
from sktl.images.value_range import fit_value_range
from sktl.inference import StoreInfo, embedding_widths, resolve_placement, warn_of_photographs
from sktl.store import open_store, share_settings
from sktl.training import (
    Activations,
    FineTuneNetwork,
    FrozenPart,
    TrainingData,
    TrainingSet,
    build_head,
    canonical,
    cloned,
    frozen_record,
    mirrored,
    parameters_of,
    prepared_already,
    stage_probe,
    that_can_be_pickled,
    with_parameters,
)
from sktl.training.callbacks import training_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


class FineTuneEstimator(callback_support(), NetworkEstimator, metaclass=ABCMeta):  # type: ignore[misc]
    """Abstract: the parameters and the order of work of FineTuneClassifier and FineTuneRegressor."""

    _parameter_constraints: dict = SHARED_CONSTRAINTS
    on_error, ensemble = "raise", False  # in pickles of versions that did not have these parameters
    _has_unlabelled = False
    callbacks: Any

    @abstractmethod
    def _check_targets(self, y, reset, classes):
        """Return labels as numbers, or numbers as float64; with `reset`, learn which labels there are."""

    @abstractmethod
    def _prepare_targets(self, targets, weights, reset, classes):
        """Return targets for the probe, and weights times those of the classes; both in canonical order."""

    @property
    @abstractmethod
    def _coding(self):
        """What encodes targets for the network and decodes its outputs: Labels or Numbers."""

    def _counted(self, targets, weights):
        """Return the weights of images, zero for those of which nothing is known."""
        return weights

    def _encoding(self):
        """Return what turns outputs into predictions, by name."""
        return self._coding.encoding()

    @abstractmethod
    def _take_encoding(self, **encoding):
        """Take over what turns outputs into predictions."""

    def _unlabelled(self, targets):
        """Return which images have no label."""
        return np.zeros(len(targets), dtype=bool)

    def _teach(self, X, training_set, groups, held_out):
        """Return what a teacher says, or None, and let it name the images that have no label."""

    def _criterion_options(self):
        """Return further options of the loss."""
        return {}

    # fit

    @torch_defaults()
    def _fit(self, X, y, sample_weight, *, keep, whole, classes=None, groups=None, validation=None):
        """Train; the one way through which `fit` and `partial_fit` go."""
        if not keep:
            # What fails from here on must not leave the network of an earlier fit under new labels.
            self.__dict__.pop("net_", None)
        for name in ("_reload", "_trained_record"):
            self.__dict__.pop(name, None)
        validation = ValidationData(self, validation, whole)
        check_together(self, watched=validation.is_wanted)
        passed = X, y, groups
        X, y, sample_weight, groups = self._that_can_be_read(X, y, sample_weight, groups, keep)
        training_set = self._training_set(X, y, sample_weight, keep, classes)
        placement = resolve_placement(self.device, self.precision)
        if keep:
            check_structure(self)
            criterion = self._coding.criterion(reduction="none", **self._criterion_options())
            self.net_.refresh(settings_of(self), placement, self.batch_size, criterion, self._coding)
            self.module_.update_statistics = self._updates_statistics()
        else:
            self._start(training_set.images)
        self.store_info_ = StoreInfo()
        validation.find(training_set, groups, passed, [error.index for error in self.bad_images_])
        teaching = self._teach(X, training_set, groups, validation.held_out)
        validation.ask(teaching)
        tasks = EpochTasks(self, X, y, sample_weight)
        self._train(training_set, teaching, validation, tasks, placement, keep, whole)
        tasks.end_fit()
        return self

    def _train(self, training_set, teaching, validation, tasks, placement, keep, whole):
        """Train the network on what was found in X and y."""
        images = training_set.images.with_value_range(self.value_range_, learned=self._range_is_learned)
        targets, weights = training_set.targets, training_set.weights
        seed = int(np.random.SeedSequence([self._seed, self._n_trainings]).generate_state(1)[0])
        with seeded(seed, placement.device):
            network = self.module_ if keep else self._new_network(placement, averaged=whole and self._is_averaged())
            frozen_part = self._frozen_part(network, placement)
            labelled = np.flatnonzero(~training_set.unlabelled)
            known = images.subset(labelled), targets[labelled].numpy(), weights[labelled].numpy()
            augment, n_mirrored = augmentation_of(self, frozen_part, *known, whole)
            # Each pass may be over other images: the number of passes says little about the views an image has had.
            n_views = self.n_views if whole or self.n_views != "auto" else None
            activations = Activations(
                frozen_part, images, network.preprocessing, augment=augment, n_views=n_views, verbose=self.verbose
            )
            loss_targets = self._loss_targets(targets, teaching)
            teacher = teaching and teaching.softened(teaching.probabilities)
            data = TrainingData(activations, loss_targets, weights, training_set.labels, teacher=teacher)
            fitting = Fitting(self, data, targets, labelled, validation, tasks, placement, seed, whole)
            net = fitting.go_on(self.net_) if keep else fitting.start(network)
        self.net_, self.augment_, self.n_mirrored_ = net, augment, n_mirrored
        self._n_trainings += 1

    def _loss_targets(self, targets, teaching=None):
        opinions = None if teaching is None else teaching.probabilities
        return self._coding.loss_targets(targets, mixed=bool(self.mixup or self.cutmix), opinions=opinions)

    def _that_can_be_read(self, X, y, sample_weight, groups, keep):
        """Return the arguments of `fit` without the images that cannot be read, where these are to be skipped."""
        self.bad_images_ = []
        parts = X, y, sample_weight, groups
        if self.on_error == "skip":
            X, y = read_once(X), y.tocsr() if issparse(y) else y
            sample_weight = np.full(len(X), sample_weight) if np.isscalar(sample_weight) else sample_weight
            parts = X, y, sample_weight, groups
            images = check_images(self, X, reset=not keep, image_shape=self.image_shape)
            self.bad_images_, parts = without_bad_images(images, *parts, name="X", n_jobs=self.n_jobs)
        return parts

    def _training_set(self, X, y, sample_weight, keep, classes):
        """Check images and targets, and bring them into canonical form."""
        images = check_images(self, X, reset=not keep, image_shape=self.image_shape)
        sample_weight = self._check_weights(sample_weight, images)
        targets = self._check_targets(y, not keep, classes)
        check_consistent_length(images, targets)
        unlabelled = self._unlabelled(targets)
        rows, weights, place = canonical(images, targets, self._counted(targets, sample_weight), unlabelled)
        targets, unlabelled = targets[rows], unlabelled[rows]
        self._has_unlabelled = bool(unlabelled.any())
        prepared, weights = self._prepare_targets(targets, weights, not keep, classes)
        weights = torch.as_tensor(weights / weights.mean(), dtype=torch.float32)
        return TrainingSet(
            images.subset(rows), rows, place, prepared, weights, self._coding.labels(targets), unlabelled
        )

    def _check_weights(self, sample_weight, images):
        weights = check_sample_weight(sample_weight, np.empty(len(images)), dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight must be positive for at least one sample. Got zeros only instead.")
        return weights

    def _start(self, images):
        """Learn the data range, load the backbone, and draw the seed of all trainings of this estimator."""
        self._range_is_learned = self.value_range is None
        self.value_range_ = fit_value_range(images, self.value_range)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._n_trainings = 0
        self.backbone_ = self._record = load_backbone(self.backbone, self.weights, random_state=self._seed)
        warn_of_photographs(self.backbone_, images)
        self.unfreeze_depth_ = self._depth()
        # One image through the network: a size that it cannot take is found out before the work.
        embedding_widths(self.backbone_, ["penultimate"], "auto", self._preprocessing())

    def _depth(self):
        return depth_of(self.unfreeze_depth, self.backbone_, from_scratch=self.weights is None)

    def _preprocessing(self):
        own = self.backbone_.preprocessing
        return own if self.image_size is None else own.resized(self.image_size)

    def _new_network(self, placement, *, averaged):
        backbone = self.backbone_
        head = build_head(deepcopy(self.head), backbone.n_features, self._coding.n_outputs, self.dropout)
        stages = deepcopy(backbone.stages)
        network = FineTuneNetwork(
            stages,
            head,
            len(stages) - self.unfreeze_depth_,
            self._preprocessing(),
            backbone.own_pooling,
            update_statistics=self._updates_statistics(),
        )
        if averaged:
            network.probe = stage_probe(network, backbone, self._coding.n_outputs)
        network.to(memory_format=torch.channels_last).to(placement.device)
        self.n_trained_parameters_ = sum(p.numel() for p in network.parameters() if p.requires_grad)
        return network

    def _updates_statistics(self):
        return self.batch_norm == "update" or (self.batch_norm == "auto" and self.weights is None)

    def _frozen_part(self, network, placement):
        if "_record" not in self.__dict__:
            self._record = frozen_record(network, self.backbone_)
        return FrozenPart(
            network,
            self._record,
            placement,
            store=open_store(self.cache),
            info=self.store_info_,
            batch_size=self.batch_size,
            n_jobs=self.n_jobs,
        )

    def _is_probe(self):
        """Whether the exact linear probe is all that the parameters ask for."""
        linear = self.unfreeze_depth == 0 and self.weights is not None and isinstance(self.head, str)
        linear = linear and self._learns_labels()
        augmented = self.augment not in (None, "auto")
        # The options of sktl.training.callbacks say how stages are trained, which a probe has none of.
        others = len(self.callbacks or ()) > len(training_options(self.callbacks))
        return linear and not any((self.dropout, augmented, self.mixup, self.cutmix, others))

    def _learns_labels(self):
        """Whether targets are all that is learnt from, as a probe does."""
        return True

    def _is_averaged(self):
        """Whether the outputs are averaged with those of a probe on the network as it was before training."""
        return self.ensemble and self.weights is not None and self._learns_labels() and not self._is_probe()

    def _distillation(self):
        """Return temperature and share of a teacher."""
        return {}

    # parameters: some transforms of torchvision have a get_params of another kind

    _not_opened = ("backbone", "augment")

    def get_params(self, deep: bool = True) -> Any:
        """Return the parameters by name, those of callbacks among them as ``callbacks__NAME__PARAMETER``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into parameters that are estimators, and into callbacks.

        Returns
        -------
        dict of str to object
        """
        params = super().get_params(deep=deep)
        return params | parameters_of(self.callbacks) if deep else params

    def set_params(self, **params: Mapping[str, Any]) -> Self:
        """Set parameters by name, those of callbacks among them as ``callbacks__NAME__PARAMETER``.

        Parameters
        ----------
        **params : dict
            The name of a callback is the user's own, from a pair ``("name", callback)``, or that of its class.

        Returns
        -------
        self : estimator
            The estimator.
        """
        inner = {name: params.pop(name) for name in list(params) if name.startswith("callbacks__")}
        super().set_params(**params)
        if inner:
            self.callbacks = with_parameters(self.callbacks, inner)
        return self

    def __sklearn_clone__(self):
        share_settings(self.cache)  # searches and folds fit clones, on a cluster maybe
        other = super(FineTuneEstimator, self._without("augment", "callbacks")).__sklearn_clone__()
        other.augment, other.callbacks = deepcopy(self.augment), cloned(self.callbacks)
        return other

    # out of training comes a backbone

    def __sktl_backbone__(self):
        """Return the trained stages, with the image size that they were trained with."""
        if self.unfreeze_depth_ == 0 and not next(self.backbone_.stages.parameters()).is_meta:
            return load_backbone(self.backbone_, preprocessing=self.module_.preprocessing)
        found = self.__dict__.get("_trained_record")
        # The network may have been trained on, or changed by hand.
        if found is None or found.digest != tensor_digest(found.name, stages=self.module_.stages):
            found = trained_record(self.backbone_, self.module_, type(self).__name__, self.__dict__.get("_reload"))
            self._trained_record = found
        return found

    # predict

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __getstate__(self):
        """Pickle the weights once, not those that training started from; once fitted, no callback that cannot be."""
        state = dict(super().__getstate__())
        if "net_" in state:
            state["callbacks"] = that_can_be_pickled(state["callbacks"])
        for name in ("_record", "_reload", "_trained_record"):
            state.pop(name, None)
        if "backbone_" in state:
            state["backbone_"] = state["backbone_"].without_weights()
        return state

    @torch_defaults()
    def _outputs(self, X):
        """Return the outputs of the network as float64 (n_images, n_outputs)."""
        if isinstance(X, NetworkOutputs):
            return X.values()
        check_is_fitted(self)
        images = self._images(X)
        placement = resolve_placement(self.device, self.precision)
        return self._outputs_of(images, _moved(self.module_, placement.device), placement)

    def _outputs_of(self, images, network, placement):
        """Return the outputs of the network, or of a copy of it elsewhere, for opened images."""
        frozen_part = self._frozen_part(network, placement)
        outputs = frozen_part.predict(images, verbose=self.verbose)
        if self.test_time_augmentation:
            own = network.preprocessing
            mirror_images = frozen_part.predict(mirrored(images, own), prepared_already(own), verbose=self.verbose)
            outputs = (outputs + mirror_images) / 2
        return outputs.double().numpy()

    def _images(self, X):
        """Return the images of another X than that of `fit`."""
        images = check_images(self, X, reset=False, image_shape=self.image_shape)
        return images.with_value_range(self.value_range_, learned=self._range_is_learned)

    # the fitted network

    @property
    def module_(self) -> Any:
        """The fitted network: an nn.Module with ``stages`` and ``head``.

        It takes prepared pictures, bytes of shape (n_images, 3, image_size, image_size) as
        ``module_.preprocessing.prepare`` makes them, normalises them itself, and returns logits, or standardised
        targets. Normalised pictures are an error, since they would be normalised twice.
        """
        return self.net_.module_

    @property
    def history_(self) -> Any:
        """The skorch history: one entry per epoch."""
        return self.net_.history


def _moved(network, device):
    """Move a network where it is not yet: to pass over all of its modules takes as long as a small image."""
    return network if next(network.head.parameters()).device == device else network.to(device)
