"""What the classifier and the regressor share: from checked images and targets to a trained network, and back."""

from abc import ABCMeta, abstractmethod
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from sktl._validation import Interval, StrOptions, check_sample_weight
from sktl.backbones import load_backbone, seeded
from sktl.fine_tuning._freezing import FineTuneNetwork
from sktl.fine_tuning._heads import build_head
from sktl.fine_tuning._prefix import Activations
from sktl.fine_tuning._schedule import base_learning_rate, n_epochs
from sktl.fine_tuning._training import Recipe, TrainingData, build_net, train
from sktl.fine_tuning._training_set import canonical, inner_split
from sktl.fine_tuning._weights import load_weights, save_weights
from sktl.images import check_images
from sktl.inference import block_rows, embedding_widths, map_images, resolve_placement, run_in_blocks


class FineTuneEstimator(BaseEstimator, metaclass=ABCMeta):
    """Abstract: the parameters and the order of work of FineTuneClassifier and FineTuneRegressor."""

    _parameter_constraints: dict = {
        "backbone": "no_validation",  # load_backbone judges these two, with a hint what to write instead
        "weights": "no_validation",
        "unfreeze_depth": [Interval(Integral, 0, None, closed="left"), StrOptions({"all"})],
        "head": [StrOptions({"linear"}), "array-like", callable],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "layer_decay": [Interval(Real, 0, 1, closed="right")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": ["array-like", None],
        "image_size": [Interval(Integral, 1, None, closed="left"), None],
        "image_shape": [tuple, list, None],
        "value_range": [tuple, list, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",  # resolve_placement does
        # float16 would need its losses scaled to train; bfloat16 has the same speed and does not.
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone="tiny_fractal",
        *,
        weights="default",
        unfreeze_depth=1,
        head="linear",
        dropout=0.0,
        max_epochs="auto",
        learning_rate="auto",
        layer_decay=0.8,
        weight_decay=0.05,
        early_stopping=False,
        validation_fraction=0.1,
        patience=10,
        warm_start=False,
        callbacks=None,
        image_size=None,
        image_shape=None,
        value_range=None,
        batch_size=32,
        device="auto",
        precision="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.unfreeze_depth = unfreeze_depth
        self.head = head
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.image_size = image_size
        self.image_shape = image_shape
        self.value_range = value_range
        self.batch_size = batch_size
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # What the two kinds of target need.

    @abstractmethod
    def _check_targets(self, y, reset, classes):
        """Return labels as numbers, or numbers as float64; with `reset`, learn which labels there are."""

    @abstractmethod
    def _prepare_targets(self, targets, weights, reset, classes):
        """Return what the loss takes, and the weights times those of the classes; both in canonical order."""

    @abstractmethod
    def _probe(self, features, targets, weights):
        """Return coefficients and intercepts of a linear model on standardised features, or None."""

    @abstractmethod
    def _encoding(self):
        """Return what turns outputs into predictions, for JSON."""

    def _check_encoding(self, encoding):
        """Raise if outputs mean something else here."""

    def _take_encoding(self, encoding):
        """Take over what turns outputs into predictions."""

    @abstractmethod
    def _n_outputs(self):
        """Return the number of outputs of the network."""

    # fit

    def _fit(self, X, y, sample_weight, *, keep, whole, classes=None):
        """Train; the one way through which `fit` and `partial_fit` go.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        keep : bool
            Go on from the network as it stands.
        whole : bool
            A whole training, with schedule and early stopping, rather than one more pass.
        classes : array-like or None, default=None
            All labels that will ever come, when `y` may not have them all.
        """
        if not keep:
            # What fails from here on must not leave the network of an earlier fit under new labels.
            self.__dict__.pop("net_", None)
        images, targets, weights = self._training_set(X, y, sample_weight, keep, classes)
        placement = resolve_placement(self.device, self.precision)
        if keep:
            self._check_structure()
            self.net_.refresh(self._recipe(), placement, self.batch_size)
        else:
            self._start(images)
        images = images.with_value_range(self.value_range_, learned=self.value_range is None)
        seed = int(np.random.SeedSequence([self._seed, self._n_trainings]).generate_state(1)[0])
        positions, held_out = np.arange(len(targets)), None
        if whole and self.early_stopping:
            positions, held_out = inner_split(targets.numpy(), self._stratify, self.validation_fraction, seed)
        with seeded(seed, placement.device):
            network = self.module_ if keep else self._build_network().to(placement.device)
            activations = Activations(
                network,
                images,
                placement,
                batch_size=self.batch_size,
                n_jobs=self.n_jobs,
                verbose=self.verbose,
                key=(self.backbone_.digest, network.n_frozen, placement, network.preprocessing.crop_size),
            )
            if not keep:
                self._start_head(network, activations, targets, weights, placement, positions)
                self.n_trained_parameters_ = sum(p.numel() for p in network.parameters() if p.requires_grad)
            net = self.net_ if keep else self._build_net(network, placement)
            data = TrainingData(activations, targets, weights, positions)
            validation = None if held_out is None else TrainingData(activations, targets, weights, held_out)
            self._train(net, data, validation, seed, whole)
        self.net_ = net
        self._n_trainings += 1
        return self

    def _training_set(self, X, y, sample_weight, keep, classes):
        """Return images, targets and weights in canonical form; the weights have mean one."""
        images = check_images(self, X, reset=not keep, image_shape=self.image_shape)
        sample_weight = self._check_weights(sample_weight, images)
        targets = self._check_targets(y, not keep, classes)
        check_consistent_length(images, targets)
        indices, weights = canonical(images, targets, sample_weight)
        images = images.subset(indices)
        targets, weights = self._prepare_targets(targets[indices], weights, not keep, classes)
        return images, targets, torch.as_tensor(weights / weights.mean(), dtype=torch.float32)

    def _check_weights(self, sample_weight, images):
        weights = check_sample_weight(sample_weight, np.empty(len(images)), dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight must be positive for at least one sample. Got zeros only instead.")
        return weights

    def _start(self, images):
        """Learn what depends on the images alone, and draw the seed of this estimator's life."""
        self.value_range_ = images.learn_value_range() if self.value_range is None else tuple(self.value_range)
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._n_trainings = 0
        self.backbone_ = load_backbone(self.backbone, self.weights, random_state=self._seed)
        self.unfreeze_depth_ = self._depth()
        # One image through the network: a size that it cannot take is found out before the work.
        embedding_widths(self.backbone_, ["penultimate"], "auto", self._preprocessing())

    def _depth(self):
        """Return how many stages are trained; from scratch there is nothing worth freezing."""
        n_stages = len(self.backbone_.stages)
        depth = n_stages if self.unfreeze_depth == "all" or self.weights is None else self.unfreeze_depth
        if depth > n_stages:
            raise ValueError(
                f"unfreeze_depth must be at most {n_stages} for {self.backbone_.name}, whose stages are "
                f"{list(self.backbone_.stage_names)}. Got {depth} instead. Use 'all' to train everything."
            )
        return depth

    def _preprocessing(self):
        own = self.backbone_.preprocessing
        return own if self.image_size is None else own.resized(self.image_size)

    def _check_structure(self):
        """Raise if the network that is trained on is not the one that the parameters describe."""
        wrong = [
            *(["unfreeze_depth"] if self._depth() != self.unfreeze_depth_ else []),
            *(["image_size"] if self._preprocessing() != self.module_.preprocessing else []),
        ]
        if wrong:
            raise ValueError(
                f"{wrong[0]} must stay what it was when training goes on. Got {getattr(self, wrong[0])!r} instead. "
                "Use warm_start=False to start anew."
            )

    def _build_network(self):
        backbone = self.backbone_
        head = build_head(deepcopy(self.head), backbone.n_features, self._n_outputs(), self.dropout)
        stages = deepcopy(backbone.stages)
        network = FineTuneNetwork(
            stages,
            head,
            len(stages) - self.unfreeze_depth_,
            self._preprocessing(),
            backbone.own_pooling,
            update_statistics=self.weights is None,
        )
        return network.to(memory_format=torch.channels_last)

    def _start_head(self, network, activations, targets, weights, placement, positions):
        """Let the head standardise pretrained features and start from a probe; random ones soon look different."""
        if self.weights is None:
            return
        rows = block_rows(network.preprocessing.crop_size, placement.device, self.batch_size)

        def features(x):
            return network.features(x if network.n_frozen else network.below_cut(x))

        key = (self.backbone_.digest, "features", network.n_frozen, placement, network.preprocessing.crop_size)
        parts = [
            run_in_blocks(features, activations[part], placement, rows, key=key)
            for part in np.array_split(positions, -(-len(positions) // self.batch_size))
        ]
        network.head.standardise(torch.cat(parts))
        network.head.start_from(self._probe, torch.cat(parts), targets[positions], weights[positions])

    def _recipe(self):
        from_scratch = self.weights is None
        rate = base_learning_rate(self.learning_rate, self.backbone_.family, from_scratch)
        return Recipe(rate, self.layer_decay, self.weight_decay, from_scratch)

    def _build_net(self, network, placement):
        return build_net(
            network, self._criterion, self._recipe(), placement, batch_size=self.batch_size, verbose=self.verbose
        )

    def _train(self, net, data, validation, seed, whole):
        network = net.module_
        if network.update_statistics and len(data) < 2:
            raise ValueError(
                "A network from scratch must be trained on at least two distinct images, since batch norm compares "
                f"them. Got {len(data)} instead (n_samples={len(data)})."
            )
        frozen = network.frozen_digest()
        try:
            train(
                net,
                data,
                validation,
                epochs=n_epochs(self.max_epochs, len(data), self.batch_size) if whole else 1,
                seed=seed,
                schedule=whole,
                patience=self.patience,
                callbacks=self.callbacks,
            )
        finally:
            network.eval()
        network.check_frozen(frozen)

    # predict

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __getstate__(self):
        """Pickle the weights once: those of the fitted network, and not the file that training started from."""
        state = dict(super().__getstate__())
        if "backbone_" in state:
            state["backbone_"] = state["backbone_"].without_weights()
        return state

    def _outputs(self, X):
        """Return the outputs of the network as float64 (n_images, n_outputs)."""
        check_is_fitted(self)
        images = check_images(self, X, reset=False, image_shape=self.image_shape)
        images = images.with_value_range(self.value_range_, learned=self.value_range is None)
        placement = resolve_placement(self.device, self.precision)
        network = self.module_.to(placement.device)
        batches = map_images(
            network,
            images,
            network.preprocessing,
            placement,
            batch_size=self.batch_size,
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            key=(self.backbone_.digest, "all", placement, network.preprocessing.crop_size),
        )
        return torch.cat(list(batches)).double().numpy()

    # the fitted network

    @property
    def module_(self):
        """The fitted network: an nn.Module with ``stages`` and ``head``."""
        return self.net_.module_

    @property
    def history_(self):
        """The skorch history: one entry per epoch."""
        return self.net_.history

    def save_weights(self, path):
        """Write the weights of the fitted network to a safetensors file.

        Parameters
        ----------
        path : str or Path
            File to write, in one step: an interrupted call leaves the old file.
        """
        check_is_fitted(self)
        save_weights(self.module_, path, backbone=self.backbone_, encoding=self._encoding())

    def load_weights(self, path):
        """Replace the weights of the fitted network by those of a safetensors file.

        Parameters
        ----------
        path : str or Path
            File written by `save_weights` of an estimator with the same backbone, head and number of outputs.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        WeightsNotFoundError
            If there is no such file.
        WeightsMismatchError
            If names, shapes or labels differ; nothing is loaded then.
        """
        check_is_fitted(self)
        self._take_encoding(load_weights(self.module_, path, check=self._check_encoding))
        return self
