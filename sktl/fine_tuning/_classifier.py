"""FineTuneClassifier: its parameters, and how it is fitted."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

from sktl._validation import HasMethods, Interval, StrOptions, fit_context
from sktl.fine_tuning._label_estimator import LabelEstimator

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.random import RandomState
    from numpy.typing import ArrayLike
    from typing_extensions import Self


class FineTuneClassifier(LabelEstimator):
    """Fine-tune a pretrained image network, its top stages or all of it, to predict labels.

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
        Number of trained stages, counted from the top. 0 trains the head alone: a linear head is then solved for, as
        by :class:`~sktl.LinearProbeClassifier`. ``"all"`` trains everything; `backbone_.stage_names` lists the stages.
    head : "linear", sequence of int, torch.nn.Module or callable, default="linear"
        The new layers, on pooled features standardised over the training images: one linear layer, hidden layers of
        these widths with ReLU, your own module, or a function ``head(n_features, n_outputs)`` that makes it.
    dropout : float, default=0.0
        Share of the features, and of each hidden layer, dropped in training.
    max_epochs : int or "auto", default="auto"
        Passes over the training images. ``"auto"`` is 20, within 300 and 3000 steps [1]_, or until a loss below 1e-5.
    learning_rate : float or "auto", default="auto"
        AdamW's rate for the top stage, after a warm-up over a tenth of the steps and before a cosine to zero. A linear
        head starts from a linear probe and learns at a tenth of the rate. ``"auto"`` is 1e-3 for ``"tiny_fractal"`` and
        from scratch, 3e-4 for convolutional networks, 1e-4 for ConvNeXt, 5e-5 for transformers [2]_: search around it.
    layer_decay : float, default=0.8
        Factor on the learning rate from each stage to the stage below [3]_. Not used from scratch.
    weight_decay : float, default=0.05
        Decoupled weight decay of kernels and matrices [2]_; biases and normalisation are left alone.
    batch_norm : {"auto", "frozen", "update"}, default="auto"
        Statistics of batch norm above the split point: ``"frozen"`` keeps the pretrained ones, ``"update"`` learns new
        ones, which may help with images unlike those of the source; ``"auto"`` updates only from scratch.
    augment : {"auto", "light", "unmirrored", "trivial"}, callable or None, default="auto"
        ``"light"`` crops, mirrors and varies brightness and contrast, ``"unmirrored"`` does the same without mirroring,
        ``"trivial"`` is TrivialAugmentWide on top [4]_, a callable is a transform of your own, for instance from
        ``torchvision.transforms.v2`` (in the lists of a grid search within a ``v2.Compose``), and None leaves images
        as they are. ``"auto"`` is ``"light"``, or ``"unmirrored"`` where a linear model on the features mistakes mirror
        images, or, with pretrained weights, None where one loses by learning from views: where sizes or places matter.
        For the exact probe, in `partial_fit` and for rows of numbers it is None. Views do not depend on `random_state`.
    n_views : int, "auto" or None, default="auto"
        Number of augmented views of each image, which take turns over the epochs; the frozen part is computed once for
        each view that fits into memory or, unless `augment` is a callable, into the store. ``"auto"`` is 8, or as many
        as fit into 2 GiB, and two at least. None makes a new view in every epoch, as ``"auto"`` does in `partial_fit`.
    mixup : float, default=0.0
        Parameter of the Beta distribution by which pairs of training images are blended, as activations at the split
        point [5]_; 0 is off, 0.2 is common.
    cutmix : float, default=0.0
        The same for pasting a box of one image into another [6]_; 1 is common. With both, batches take either.
    test_time_augmentation : bool, default=False
        Average the outputs over each image and its mirror image in prediction.
    ensemble : bool, default=True
        Average the logits with those of a linear probe on all stages as they were before training [8]_, and fit a
        linear head once more, as a probe, to the trained features. Prediction runs the trained stages twice. False
        predicts with the network as training leaves it; so do training from scratch, `teacher` and `label_smoothing`.
    class_weight : dict, "balanced", list of these or None, default=None
        Weights of the classes, by label; ``"balanced"`` gives every class the same total. Of several columns of labels
        each has the same, or its own from a list; the columns themselves count alike.
    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes.
    teacher : fitted classifier or None, default=None
        Knowledge distillation [7]_: learn from the teacher's probabilities for the training images as well as from the
        labels, and where an image has no label instead of one. Anything with ``predict_proba`` that takes the same `X`
        and has not seen the images held out. Under cross-validation and grid search, which clone,
        ``sklearn.frozen.FrozenEstimator(teacher)``. With `teacher_cv` it need not be fitted.
    teacher_cv : int, splitter or None, default=None
        None takes the teacher as it is fitted. Else it is cloned and fitted to the labelled training images, without
        sample weights: to all of them for what it says of the others, and for each of these to the folds that it is not
        in, since a teacher is too sure of images that it has learnt. Folds keep `groups` together, and images set aside
        for early stopping are not learnt from.
    temperature : float, default=2.0
        Softens the probabilities of the teacher and of the network where they are compared.
    alpha : float, default=0.5
        Share of the teacher's softened probabilities in the loss; the labels have the rest. At 0 labels are all that is
        learnt of images that have one.
    early_stopping : bool, default=False
        Watch the loss on images set aside from the training set, and restore the best weights: those of an epoch, or
        those of the probe that the training started from. Below some 500 images, images are better trained on.
    validation_fraction : float, default=0.1
        Share of the distinct training images set aside, keeping the shares of the classes where they allow it.
    patience : int, default=10
        Epochs without improvement before training stops.
    refit : bool, default=False
        After early stopping, train once more from the start on all images, for as many epochs as were best.
    warm_start : bool, default=False
        Whether `fit` goes on from the network of the last `fit`.
    callbacks : list of skorch callbacks or None, default=None
        Training options from :mod:`sktl.training.callbacks` and skorch callbacks, with names as ``("name", callback)``.
        The net that they see predicts labels. A skorch LRScheduler takes the place of warm-up and cosine.
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
        Keep activations at the split point in the embedding store, and look them up there and in folders of segments,
        as `PretrainedFeatureExtractor` does with vectors.
    random_state : int, RandomState instance or None, default=None
        Fixes the head, the order of the images, dropout, the inner split, and the random weights from scratch. The
        global random states of torch and numpy are left as they are, for which fits in several threads of one process
        take turns; None draws a seed from numpy's, as elsewhere in scikit-learn.
    verbose : int, default=0
        Progress bars, and a line per epoch with loss and accuracy, when positive.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of n_columns such arrays
        The labels; of each column, where there are several.
    module_ : torch.nn.Module
        The fitted network, ``module_.stages`` and ``module_.head``: takes prepared bytes, and normalises them itself.
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
        Number of columns, when `X` is a table; not set for other images.
    feature_names_in_ : ndarray of str
        Column names, when `X` is a data frame.

    See Also
    --------
    PretrainedFeatureExtractor : Embed images with the network as it is.
    FineTuneRegressor : Fine-tune for numbers instead of labels.

    Notes
    -----
    Copies of a training image with one target are merged, their weights summed, and the rest is sorted by content: a
    weight of two equals listing an image twice, and the order of rows does not matter.

    References
    ----------
    .. [1] Kolesnikov et al. (2020), "Big Transfer (BiT): General visual representation learning", arXiv:1912.11370.
    .. [2] Loshchilov & Hutter (2019), "Decoupled weight decay regularization", arXiv:1711.05101.
    .. [3] Howard & Ruder (2018), "Universal language model fine-tuning for text classification", arXiv:1801.06146.
    .. [4] Müller & Hutter (2021), "TrivialAugment: tuning-free data augmentation", arXiv:2103.10158.
    .. [5] Zhang et al. (2018), "mixup", arXiv:1710.09412; Verma et al. (2019), "Manifold mixup", arXiv:1806.05236.
    .. [6] Yun et al. (2019), "CutMix: regularization strategy to train strong classifiers", arXiv:1905.04899.
    .. [7] Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network", arXiv:1503.02531.
    .. [8] Kumar et al. (2022), "Calibrated ensembles can mitigate accuracy tradeoffs ...", arXiv:2207.08977.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> digits = load_digits()
    >>> model = FineTuneClassifier(unfreeze_depth=0, random_state=0)
    >>> model.fit(digits.images[:50], digits.target[:50]).predict(digits.images[:2])
    array([0, 1])
    """

    _parameter_constraints = LabelEstimator._parameter_constraints | {
        "class_weight": [dict, StrOptions({"balanced"}), list, None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "teacher": [HasMethods(["fit", "predict_proba"]), None],
        "teacher_cv": [Interval(Integral, 2, None, closed="left"), HasMethods(["split", "get_n_splits"]), None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="both")],
    }

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
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        teacher: Any = None,
        teacher_cv: Any = None,
        temperature: float = 2.0,
        alpha: float = 0.5,
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
        y: Any,
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
        y : array-like of shape (n_samples,), or matrix of shape (n_samples, n_labels) or (n_samples, n_columns)
            Labels of any kind; or a matrix of zeros and ones, sparse or not, where an image may have several; or, in a
            matrix that holds anything else, a column of labels for each of several questions, which share the trained
            stages. There -1, None and NaN mark a label that is missing. In a single column they mark an image without a
            label, where there is a `teacher`; -1 does not if a fitted teacher knows that class.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            A weight w counts exactly as w copies of the image.
        groups : array-like of shape (n_samples,) or None, default=None
            Images of one group are never on both sides where some are set aside for early stopping.
        validation : tuple (X, y) or (X, y, sample_weight), splitter, or None, default=None
            What early stopping watches in place of `validation_fraction`: images of your own, or those that the first
            split of a splitter sets aside. Without early stopping they are only watched, by `history_` and callbacks.

        Returns
        -------
        self : FineTuneClassifier
            The fitted classifier.

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
            If fewer than two classes, or two of a column, have an image of positive weight; or an image has no label
            and there is no teacher.
        """
        keep = self.warm_start and hasattr(self, "net_")
        return self._fit(X, y, sample_weight, keep=keep, whole=True, groups=groups, validation=validation)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one more pass, at constant learning rates.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,), or matrix of shape (n_samples, n_labels) or (n_samples, n_columns)
            Labels, as in `fit`.
        classes : array-like of shape (n_classes,), list of n_columns such arrays or None, default=None
            All labels that will ever come; needed in the first call when `y` does not have them all.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Sample weights.

        Returns
        -------
        self : FineTuneClassifier
            The classifier.

        Raises
        ------
        ValueError
            If `y` holds a label that was not among the classes of the first call.
        """
        if self.teacher is not None and self.teacher_cv is not None:
            raise ValueError(
                "teacher_cv must be None for partial_fit, which sees the images part by part. "
                f"Got {self.teacher_cv!r} instead. Fit the teacher before."
            )
        return self._fit(X, y, sample_weight, keep=hasattr(self, "net_"), whole=False, classes=classes)
