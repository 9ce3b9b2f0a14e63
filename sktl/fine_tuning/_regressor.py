"""FineTuneRegressor: numbers in, numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import RegressorMixin

from sktl._targets import plain_labels
from sktl._validation import check_y, fit_context
from sktl.fine_tuning._estimator import FineTuneEstimator
from sktl.fine_tuning._numbers import Numbers

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.random import RandomState
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


class FineTuneRegressor(RegressorMixin, FineTuneEstimator):
    """Fine-tune a pretrained image network, its top stages or all of it, to predict numbers.

    The top `unfreeze_depth` stages and a new head are trained together by a skorch net. The stages below the split
    point are frozen: weights and batch-norm statistics are bit-identical after `fit`, and the activations of each
    training image, or view of an image, are computed once and not in every epoch.

    Parameters
    ----------
    backbone : str, Backbone, torch.nn.Module, callable or fitted estimator, default="tiny_fractal"
        The network: a name from :func:`~sktl.backbones.list_backbones`, a record from
        :func:`~sktl.backbones.load_backbone`, a module or function of yours, or a fitted estimator of sktl.
    weights : str, Path, torchvision weights or None, default="default"
        ``"default"`` takes the best that torchvision has (or what ships with sktl), ``"IMAGENET1K_V1"`` names one of
        several, a path ending in ``.pth``, ``.pt`` or ``.safetensors`` reads a local file. None trains the same
        network from scratch: random weights, all stages trained at any `unfreeze_depth`.
    unfreeze_depth : int or "all", default=1
        Number of trained stages, counted from the top. 0 trains the head alone: a linear head is then solved for
        exactly, as :class:`~sktl.LinearProbeRegressor` does. ``"all"`` trains everything. The same scale on every
        backbone; :attr:`Backbone.stage_names <sktl.backbones.Backbone>` lists the stages.
    head : "linear", sequence of int, torch.nn.Module or callable, default="linear"
        The new layers, on pooled features standardised over the training images: one linear layer, hidden layers of
        these widths with ReLU, your own module, or a function ``head(n_features, n_outputs)`` that makes it.
    dropout : float, default=0.0
        Share of the features, and of each hidden layer, dropped in training.
    max_epochs : int or "auto", default="auto"
        Passes over the training images. ``"auto"`` is 20, but at least 300 and at most 3000 optimizer steps [1]_.
    learning_rate : float or "auto", default="auto"
        AdamW's rate for the top stage, reached after a warm-up over the first tenth of the steps and followed by a
        cosine to zero. A linear head starts from a linear probe and learns at a tenth of the rate, other heads at the
        whole. ``"auto"`` is 1e-3 for ``"tiny_fractal"``, 3e-4 for convolutional networks, 1e-4 for ConvNeXt, 5e-5 for
        transformers [2]_, and 1e-3 from scratch. The most important parameter: search over a third and three times it.
    layer_decay : float, default=0.8
        Factor on the learning rate from each stage to the stage below [3]_. Not used from scratch.
    weight_decay : float, default=0.05
        Decoupled weight decay of kernels and matrices [2]_; biases and normalisation are left alone.
    batch_norm : {"auto", "frozen", "update"}, default="auto"
        Statistics of batch norm above the split point: ``"frozen"`` keeps the pretrained statistics, ``"update"``
        normalises by batches and learns new statistics, which may help with images unlike those of the source;
        ``"auto"`` updates only from scratch. Below the split point statistics never change.
    augment : {"auto", "light", "unmirrored", "trivial"}, callable or None, default="auto"
        ``"light"`` crops, mirrors and varies brightness and contrast, ``"unmirrored"`` does the same without mirroring,
        ``"trivial"`` is TrivialAugmentWide on top [4]_, a callable is a transform of your own, for instance from
        ``torchvision.transforms.v2`` (in the lists of a grid search within a ``v2.Compose``), and None leaves images
        as they are. ``"auto"`` is ``"light"``, ``"unmirrored"`` where a linear model on the features knows less of
        mirror images, or None where one that learns from views as well knows the images less, as where sizes or places
        are the target, and from scratch. Views depend on the image alone, not on `random_state`.
    n_views : int, "auto" or None, default="auto"
        Number of augmented views of each image, which take turns over the epochs; the frozen part is computed once for
        each view that fits into memory or, unless `augment` is a callable of your own, into the store. ``"auto"`` is 8,
        or as many as fit into 2 GiB with the plain images, and two at least. None makes a new view in every epoch, as
        does ``"auto"`` in `partial_fit`: the frozen part is computed anew for each.
    mixup : float, default=0.0
        Parameter of the Beta distribution by which pairs of training images are blended, as activations at the split
        point [5]_; 0 is off, 0.2 is common.
    cutmix : float, default=0.0
        The same for pasting a box of one image into another [6]_; 1 is common. With both, batches take either.
    test_time_augmentation : bool, default=False
        Average the outputs over each image and its mirror image in prediction.
    ensemble : bool, default=True
        Average the predictions with those of a linear probe on all stages as they were before training [7]_, and fit a
        linear head once more, as a probe, to the trained features. The share of the network is half the correlation of
        a target with what the probe predicts for images left out. Prediction runs the trained stages twice. False
        predicts with the network as training leaves it; so does training from scratch.
    early_stopping : bool, default=False
        Watch the loss on images set aside from the training set, and restore the best weights: those of an epoch, or
        those of the probe that the training started from. Below some 500 images, images are better trained on.
    validation_fraction : float, default=0.1
        Share of the distinct training images set aside.
    patience : int, default=10
        Epochs without improvement before training stops.
    refit : bool, default=False
        After early stopping, train once more from the start on all images, for as many epochs as were best.
    warm_start : bool, default=False
        Whether `fit` goes on from the network of the last `fit`.
    callbacks : list of skorch callbacks or None, default=None
        Training options from :mod:`sktl.training.callbacks` (L2-SP, an average of the weights, gradual unfreezing,
        compilation) and skorch callbacks, with names as ``("name", callback)``. The net that they see predicts targets
        in their own units. A skorch LRScheduler takes the place of warm-up and cosine.
    image_size : int or None, default=None
        Side in pixels of the network's input; None takes the side that its weights were trained with.
    image_shape : tuple of int or None, default=None
        Shape (height, width) or (height, width, channels) of the pictures when `X` holds flattened rows.
    value_range : tuple of (float, float) or None, default=None
        Values of black and white in arrays, and in files of more than 8 bits. None: bytes are 0 to 255, other numbers
        in [0, 1] are taken as they are, and beyond that the least and greatest value seen in `fit` are black and white.
    on_error : {"raise", "skip"}, default="raise"
        What `fit` does with an image that cannot be read: stop with its index, path and reason, or leave it out with
        its label, warn, and list it in `bad_images_`. Predictions, which have a row for each image, always raise.
    batch_size : int, default=32
        Greatest number of images per optimizer step, two at least; batches are made nearly equal.
    device : str or torch.device, default="auto"
        Where to compute: an accelerator when there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the network; ``"auto"`` is bfloat16 on a CUDA device that has it, float32 elsewhere.
        On a CPU with instructions for bfloat16 the frozen part and larger networks gain by ``"bfloat16"``.
    n_jobs : int or None, default=None
        Number of threads that read and resize images.
    cache : bool, str, Path or list, default=True
        Keep the activations at the split point in the embedding store, where folds, grids, processes and sessions find
        them; see `PretrainedFeatureExtractor`. False does without, a path takes another folder, a list adds
        folders of segments.
    random_state : int, RandomState instance or None, default=None
        Fixes the head, the order of the images, dropout, the inner split, and the random weights from scratch. The
        global random states of torch and numpy are left as they are, for which fits in several threads of one process
        take turns; None draws a seed from numpy's, as elsewhere in scikit-learn.
    verbose : int, default=0
        Progress bars, and a line per epoch with loss and R², when positive.

    Attributes
    ----------
    module_ : torch.nn.Module
        The fitted network, ``module_.stages``, ``module_.head`` and, of an `ensemble`, ``module_.probe``: takes
        prepared bytes, and normalises them itself.
    net_ : skorch.NeuralNet
        The skorch net that trained it.
    history_ : skorch.history.History
        Losses and seconds of each epoch.
    backbone_ : Backbone
        Record of the pretrained network: preprocessing, digest and licence of the weights.
    unfreeze_depth_ : int
        Number of stages that were trained.
    augment_ : str, callable or None
        Augmentation of the training images: `augment`, or the choice of ``"auto"``.
    n_mirrored_ : int
        Number of images that were compared with their mirror images for that choice.
    n_trained_parameters_ : int
        Number of weights that were trained.
    value_range_ : tuple of (float, float) or None
        Values taken as black and white; None when `X` was made of bytes or files.
    bad_images_ : list of ImageReadError
        Images of the last `fit` that were left out, with ``on_error="skip"``; their `index` is that in `X`.
    best_epoch_ : int
        With `early_stopping`: the epoch, counted from 1, of least loss on the images set aside; 0 for the probe.
    store_info_ : StoreInfo
        What was found in the embedding store and what was computed.
    n_features_in_ : int
        Number of columns, when `X` is a table (flattened rows, or one column of paths); not set for other images.
    feature_names_in_ : ndarray of str
        Column names, when `X` is a data frame.

    See Also
    --------
    PretrainedFeatureExtractor : Embed images with the network as it is.
    FineTuneClassifier : Fine-tune for labels instead of numbers.

    Notes
    -----
    The training set is put in canonical form: copies of an image with one target are merged into one with the sum of
    their weights, and the rest is sorted by content. A weight of two is exactly the same as listing an image twice, and
    the order of rows does not matter.

    References
    ----------
    .. [1] Kolesnikov et al. (2020), "Big Transfer (BiT): General visual representation learning", arXiv:1912.11370.
    .. [2] Loshchilov & Hutter (2019), "Decoupled weight decay regularization", arXiv:1711.05101.
    .. [3] Howard & Ruder (2018), "Universal language model fine-tuning for text classification", arXiv:1801.06146.
    .. [4] Müller & Hutter (2021), "TrivialAugment: tuning-free yet state-of-the-art data augmentation",
       arXiv:2103.10158.
    .. [5] Zhang et al. (2018), "mixup: beyond empirical risk minimization", arXiv:1710.09412; Verma et al. (2019),
       "Manifold mixup: better representations by interpolating hidden states", arXiv:1806.05236.
    .. [6] Yun et al. (2019), "CutMix: regularization strategy to train strong classifiers with localizable features",
       arXiv:1905.04899.
    .. [7] Kumar et al. (2022), "Calibrated ensembles can mitigate accuracy tradeoffs under distribution shift",
       arXiv:2207.08977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneRegressor
    >>> digits = load_digits()
    >>> model = FineTuneRegressor(unfreeze_depth=0, random_state=0)
    >>> model.fit(digits.images[:50], digits.target[:50]).predict(digits.images[:2]).shape
    (2,)
    """

    _probe_scale = 1.0

    def __init__(
        self,
        backbone: Any = "tiny_fractal",
        *,
        weights: Any = "default",
        unfreeze_depth: int | Literal["all"] = 1,
        head: Any = "linear",
        dropout: float = 0.0,
        max_epochs: int | Literal["auto"] = "auto",
        learning_rate: float | Literal["auto"] = "auto",
        layer_decay: float = 0.8,
        weight_decay: float = 0.05,
        batch_norm: Literal["auto", "frozen", "update"] = "auto",
        augment: Literal["auto", "light", "unmirrored", "trivial"] | Callable[..., Any] | None = "auto",
        n_views: int | Literal["auto"] | None = "auto",
        mixup: float = 0.0,
        cutmix: float = 0.0,
        test_time_augmentation: bool = False,
        ensemble: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        refit: bool = False,
        warm_start: bool = False,
        callbacks: Any = None,
        image_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 32,
        device: Any = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        n_jobs: int | None = None,
        cache: bool | str | os.PathLike[str] | list[Any] | tuple[Any, ...] = True,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self._store(locals())

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        validation: Any = None,
    ) -> Self:
        """Train the head and the stages above the split point.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Paths, PIL images, encoded bytes, arrays, tensors, or flattened rows; see the user guide on images.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets. Each is standardised for training.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            A weight w counts exactly as w copies of the image.
        groups : array-like of shape (n_samples,) or None, default=None
            Images of one group are never on both sides where some are set aside for early stopping.
        validation : tuple (X, y) or (X, y, sample_weight), splitter, or None, default=None
            What early stopping watches in place of `validation_fraction`: images of your own, or those that the first
            split of a splitter sets aside. Without early stopping they are only watched, by `history_` and callbacks.

        Returns
        -------
        self : FineTuneRegressor
            The fitted regressor.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        WeightsError
            If the pretrained weights are not available, or do not fit the network.
        FrozenPartChangedError
            If a callback or a module of the user wrote to the frozen part.
        TrainingDivergedError
            If the loss or the weights are no longer finite numbers.
        ValueError
            If there are fewer than two distinct images of positive weight.
        """
        keep = self.warm_start and hasattr(self, "net_")
        return self._fit(X, y, sample_weight, keep=keep, whole=True, groups=groups, validation=validation)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one more pass, at constant learning rates.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; the first call learns their mean and spread.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Sample weights.

        Returns
        -------
        self : FineTuneRegressor
            The regressor.
        """
        return self._fit(X, y, sample_weight, keep=hasattr(self, "net_"), whole=False)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the targets.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predicted targets, in their own units.
        """
        outputs = self._outputs(X)
        return self._coding.decode(outputs)

    @property
    def _augments(self):
        return self.weights is not None  # random features cannot tell whether places and sizes are the target

    @property
    def _coding(self):
        return Numbers(self._target_mean, self._target_scale, self._flat)

    def _check_targets(self, y, reset, classes):
        if y is None:
            raise ValueError("FineTuneRegressor requires y to be passed, but the target y is None.")
        y = check_y(plain_labels(y), multi_output=True, y_numeric=True, estimator=self).astype(np.float64)
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        if reset:
            self._flat = y.ndim == 1
        elif n_targets != len(self._target_mean):
            raise ValueError(f"y must have {len(self._target_mean)} target(s), as before. Got {n_targets} instead.")
        return y.reshape(len(y), n_targets)

    def _prepare_targets(self, targets, weights, reset, classes):
        if reset:
            if len(targets) < 2:
                raise ValueError(
                    "FineTuneRegressor must see at least 2 distinct images with a positive weight. "
                    f"Got {len(targets)} instead (n_samples={len(targets)})."
                )
            self._take_encoding(**Numbers.found_in(targets, weights, self._flat).encoding())
        return self._coding.encode(targets), weights

    def _take_encoding(self, mean, scale, flat):
        self._target_mean, self._target_scale, self._flat = mean, scale, flat

    def __sklearn_tags__(self):
        """Say that several targets are welcome, and that a linear probe need not fit numbers that are no image."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = self._is_probe()
        return tags
