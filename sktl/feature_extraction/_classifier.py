"""PretrainedClassifier: the classes of the network itself."""

from __future__ import annotations

from collections import Counter
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from sktl._validation import Interval, fit_context, validate_params
from sktl.feature_extraction.frozen_network import SHARED_CONSTRAINTS, FrozenNetworkEstimator
from sktl.inference import Placement, activation_shape, run_in_blocks
from sktl.inference.forward_passes import counted_forward_passes

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


__all__ = ["PretrainedClassifier"]

# The classifier of a network is small beside it, and computes in float32 on the CPU wherever the network does.
_ON_CPU = Placement(torch.device("cpu"), torch.float32)
_ROWS = 16  # of a block, whatever the number of images
_BYTES_AT_A_TIME = 256 << 20  # of maps that are held together


class PretrainedClassifier(FrozenNetworkEstimator):
    """Name what images show, in the network's own classes.

    The network with its own classifier, unchanged: its classes are those that its weights were trained on, for most
    networks the 1000 of ImageNet. Nothing is trained, and nothing is learnt from labels: for classes of your own, put
    a classifier behind a :class:`~sktl.PretrainedFeatureExtractor`, or take a :class:`~sktl.FineTuneClassifier`.

    Parameters
    ----------
    backbone : str or Backbone, default="tiny_fractal"
        The network: a name from :func:`~sktl.backbones.list_backbones`, or a record from
        :func:`~sktl.backbones.load_backbone`. Its weights must say what their classes are called. The default one,
        which ships with sktl, was trained to tell 256 formulas of fractals, which are numbered, and knows nothing
        else.
    weights : str, Path or torchvision weights, default="default"
        ``"default"`` takes the best that torchvision has (or what ships with sktl), ``"IMAGENET1K_V1"`` names one of
        several, a path ending in ``.pth``, ``.pt`` or ``.safetensors`` reads a local file, which with 1000 classes is
        taken to have those of ImageNet.
    image_size : int or None, default=None
        Side in pixels of what the network sees; None takes what its weights were trained with.
    image_shape : tuple of int or None, default=None
        Shape (height, width) or (height, width, channels) of the pictures when `X` holds flattened rows.
    value_range : tuple of (float, float) or None, default=None
        Values of black and white in arrays, and in files of more than 8 bits. None: bytes are 0 to 255, other numbers
        in [0, 1] are taken as they are, and beyond that the least and greatest value seen in `fit` are black and white.
    batch_size : int, default=32
        Images looked up and stored together, and moved to an accelerator together.
    device : str or torch.device, default="auto"
        Where to compute: an accelerator when there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Precision of the network; ``"auto"`` is bfloat16 on a CUDA device that has it, float32 elsewhere and with
        ONNX Runtime. On a CPU with instructions for bfloat16 (AVX-512 BF16, AMX) ``"bfloat16"`` is two to four times
        as fast as float32; vectors differ by some per cent.
    n_jobs : int or None, default=None
        Threads that read and resize images ahead of the network.
    engine : {"torch", "onnxruntime"}, default="torch"
        What runs the network below its classifier.
    cache : bool, str, Path or list, default=True
        Whether penultimate vectors are kept on disk and looked up there, as by a PretrainedFeatureExtractor with the
        same network: what one of them has computed, the other one finds. Squeezenets, whose classifier looks at maps
        a hundred times as large as vectors, keep nothing.
    verbose : int, default=0
        A progress bar when positive.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Names of the network's classes, in its own order; where several have the same, with their numbers, such as
        ``"crane (517)"``. Those of the bundled network are numbers.
    backbone_ : Backbone
        Record of the network: stages, preprocessing, digest and licence of the weights.
    value_range_ : tuple of (float, float) or None
        Values taken as black and white; None when `X` was made of bytes or files.
    store_info_ : StoreInfo
        What the store has done for this estimator since `fit`.
    n_features_in_ : int
        Number of columns, when `X` is a table (flattened rows, or one column of paths); not set for other images.
    feature_names_in_ : ndarray of str
        Column names, when `X` is a data frame.

    See Also
    --------
    PretrainedFeatureExtractor : The vectors below the network's classifier, for classes of your own.

    Notes
    -----
    scikit-learn's classifiers promise that `classes_` are the labels seen in `fit`. This one cannot, so it does not
    call itself a classifier: ``sklearn.base.is_classifier`` is False, and splitters do not stratify for it. `predict`,
    `predict_proba`, `decision_function` and `score` are there, and metrics of predicted names work.

    Examples
    --------
    >>> from sktl import PretrainedClassifier
    >>> from sktl.datasets import make_fractals
    >>> images, _ = make_fractals(3, random_state=0)
    >>> classifier = PretrainedClassifier().fit(images)
    >>> classifier.predict_proba(images).shape
    (3, 256)
    >>> names = classifier.predict(images)
    >>> [ranked[0][0] for ranked in classifier.top(images, k=5)] == names.tolist()
    True
    """

    _parameter_constraints = SHARED_CONSTRAINTS

    def __init__(
        self,
        backbone: Any = "tiny_fractal",
        *,
        weights: Any = "default",
        image_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        batch_size: int = 32,
        device: Any = "auto",
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        n_jobs: int | None = None,
        engine: Literal["torch", "onnxruntime"] = "torch",
        cache: bool | str | os.PathLike[str] | list[Any] | tuple[Any, ...] = True,
        verbose: int = 0,
    ) -> None:
        self._store(locals())

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the weights and, for pictures made of numbers, their range of values.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Paths, PIL images, encoded bytes, arrays, tensors, or flattened rows; see the user guide on images.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        self : PretrainedClassifier
            The estimator, which predicts from now on.

        Raises
        ------
        ImageReadError
            If a picture made of numbers cannot be read.
        WeightsError
            If the weights are not to be had, or do not fit the network.
        ValueError
            If the weights do not say what their classes are called, or `X` holds no images.
        ImportError
            If `engine` is not installed.
        """
        backbone = self._find_network(X)
        if backbone.head is None or backbone.categories is None:
            raise ValueError(
                "weights must name their classes, as those of 'efficientnet_lite0' do, those with a classifier of "
                "ImageNet in torchvision and timm, and repositories of the Hugging Face Hub whose configuration has "
                f"names. Got {backbone.weights or 'random weights'} of {backbone.name}, which name none, "
                "instead. For classes of your own, write make_pipeline(PretrainedFeatureExtractor(...), "
                "LogisticRegression())."
            )
        self._take_backbone(backbone)
        self._shape = self._shape_for_head()
        self.classes_ = np.array(_told_apart(backbone.categories))
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Name the most probable class of each image.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        names : ndarray of shape (n_samples,)
            Of `classes_`.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class: the softmax of the network's outputs.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`; each row sums to one.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        return softmax(self._logits(X), axis=1)

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the outputs of the network before any softmax.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes), float64
            In the order of `classes_`, also for two classes.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        return self._logits(X)

    @validate_params({"k": [Interval(Integral, 1, None, closed="left")]}, prefer_skip_nested_validation=True)
    def top(self, X: Any, k: int = 5) -> Any:
        """Name the most probable classes of each image, with their probabilities.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.
        k : int, default=5
            How many classes; all of them where the network has fewer.

        Returns
        -------
        ranked : list of list of tuple (name, float)
            For each image pairs of a name and its probability, the most probable first; what JSON can write.

        Raises
        ------
        ImageReadError
            If an image cannot be read.

        Examples
        --------
        >>> from sktl import PretrainedClassifier
        >>> from sktl.datasets import make_fractals
        >>> images, _ = make_fractals(1, random_state=0)
        >>> ((first, second),) = PretrainedClassifier().fit(images).top(images, k=2)
        >>> first[1] > second[1]
        True
        """
        probabilities = self.predict_proba(X)
        names = self.classes_.tolist()
        best = (-probabilities).argsort(axis=1, kind="stable")[:, :k]  # the first of equals, as in predict
        return [[(names[i], float(own[i])) for i in order] for order, own in zip(best, probabilities, strict=True)]

    def score(self, X: Any, y: ArrayLike, sample_weight: Any = None) -> float:
        """Return the share of images whose most probable class is called what `y` says.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.
        y : array-like of shape (n_samples,)
            Names as in `classes_`; any other is never right.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Sample weights.

        Returns
        -------
        accuracy : float
            Between 0 and 1.

        Raises
        ------
        ValueError
            If `X`, `y` and `sample_weight` differ in length, or `y` is no list of names.
        """
        names = self.predict(X)
        y = column_or_1d(np.asarray(y, dtype=object), dtype=object, warn=True)
        check_consistent_length(names, y, sample_weight)
        return float(np.average(names.astype(object) == y, weights=sample_weight))

    def _logits(self, X):
        """Return the outputs of the network's own classifier as float64 (n_images, n_classes)."""
        check_is_fitted(self)
        images = self._images(X)
        if self._shape is None:
            vectors, _ = self._embed(images)
            return self._through_head(torch.from_numpy(vectors))
        n_together = max(_BYTES_AT_A_TIME // (4 * int(np.prod(self._shape))), _ROWS)
        logits = []
        for start in range(0, len(images), n_together):
            some = images.subset(slice(start, start + n_together))
            maps, _ = self._embed(some, pooling="flatten", use_store=False)
            logits.append(self._through_head(torch.from_numpy(maps).unflatten(1, self._shape)))
        return np.concatenate(logits)

    def _through_head(self, features):
        with counted_forward_passes():  # apart from those of the network, which are counted where they happen
            return run_in_blocks(self.backbone_.head, features, _ON_CPU, _ROWS).double().numpy()

    def _shape_for_head(self):
        """Return the shape of the maps of one image that the classifier takes; None where it takes a vector."""
        backbone = self.backbone_
        try:
            with torch.inference_mode():
                logits = backbone.head(torch.zeros((1, backbone.n_features), dtype=torch.float32, device="cpu"))
        except (RuntimeError, ValueError, IndexError):  # of a convolution, or a pooling, in want of maps
            return activation_shape(backbone, len(backbone.stages), "flatten", self._preprocessing())
        return None if logits.shape == (1, len(backbone.categories)) else self._refuse(logits)

    def _refuse(self, logits):
        raise ValueError(
            f"weights must have as many classes as names. Got {tuple(logits.shape)[1:]} outputs and "
            f"{len(self.backbone_.categories)} names of {self.backbone_.name} instead."
        )


def _told_apart(names):
    """Return names of which no two are the same: those that several classes have, with the number of the class."""
    times = Counter(names)
    return [f"{name} ({i})" if times[name] > 1 else name for i, name in enumerate(names)]
