"""PretrainedFeatureExtractor: check, embed, name the features."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sktl._validation import StrOptions, check_feature_names_in, fit_context
from sktl.backbones import POOLINGS
from sktl.feature_extraction._read_once import ReadOnceMixin
from sktl.feature_extraction.frozen_network import SHARED_CONSTRAINTS, FrozenNetworkEstimator
from sktl.images.dask_collections import is_dask_collection, stand_in
from sktl.inference import embed_lazily, embedding_widths

if TYPE_CHECKING:
    import os

    from numpy.random import RandomState
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self


class PretrainedFeatureExtractor(ReadOnceMixin, FrozenNetworkEstimator):
    """Embed images with a frozen, pretrained network.

    Each image becomes one vector: the pooled output of a stage of the network. Nothing is trained: `fit` finds the
    weights and, for pictures made of floats, the range of their values; it neither reads the labels nor changes the
    network. The vector of an image depends on that image alone, not on `batch_size`, order or neighbours.

    Parameters
    ----------
    backbone : str, Backbone, torch.nn.Module, callable or fitted estimator, default="tiny_fractal"
        The network: a name from :func:`~sktl.backbones.list_backbones` (any classification model of torchvision, or
        ``"tiny_fractal"``, which ships with sktl), a record from :func:`~sktl.backbones.load_backbone`, your own
        module, a function that makes it, or a fitted estimator of sktl, whose stages are taken as they are.
    weights : str, Path, torchvision weights or None, default="default"
        ``"default"`` takes the best that torchvision has (or what ships with sktl), ``"IMAGENET1K_V1"`` names one of
        several, a path ending in ``.pth``, ``.pt`` or ``.safetensors`` reads a local file, None draws random weights
        from `random_state`: a baseline that shows what pretraining is worth. Put a scaler or a
        LinearProbeClassifier behind it, since random networks shrink or blow up their features by many orders of
        magnitude.
    layer : int, str or sequence of these, default="penultimate"
        Where to take features: ``"penultimate"``, the name of a stage, or an index from the top (0 is the top stage,
        1 the one below). Several are concatenated, ``"all"`` all of them; early ones help when the images look unlike
        the source.
    pooling : str, default="auto"
        From a map of features to a vector: ``"auto"`` (the network's own), ``"avg"``, ``"max"``, ``"avg+max"``,
        ``"avg+std"``, ``"gem"``, ``"pyramid"``, ``"flatten"`` or ``"token"``; see :func:`~sktl.backbones.pool`.
    image_size : int or None, default=None
        Side in pixels of what the network sees; None takes what its weights were trained with. Cost grows with the
        square.
    image_shape : tuple of int or None, default=None
        Shape (height, width) or (height, width, channels) of the pictures when `X` holds flattened rows.
    value_range : tuple of (float, float) or None, default=None
        Values of black and white in arrays, and in files of more than 8 bits. None: bytes are 0 to 255, other numbers
        in [0, 1] are taken as they are, and beyond that the least and greatest value seen in `fit` are black and white.
    on_error : {"raise", "nan"}, default="raise"
        What to do with an image that cannot be read: stop with its index, path and reason, or give a row of NaN and
        list it in `bad_images_`.
    batch_size : int, default=32
        Images looked up and stored together, and moved to an accelerator together. Never changes a vector on the CPU.
    device : str or torch.device, default="auto"
        Where to compute: an accelerator when there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Precision of the network; ``"auto"`` is bfloat16 on a CUDA device that has it, float32 elsewhere and with
        ONNX Runtime. On a CPU with instructions for bfloat16 (AVX-512 BF16, AMX) ``"bfloat16"`` is two to four times
        as fast as float32; vectors differ by some per cent.
    n_jobs : int or None, default=None
        Threads that read and resize images ahead of the network.
    engine : {"torch", "onnxruntime"}, default="torch"
        What runs the network. ONNX Runtime is faster on the CPU for networks of the mobile kind and needs the extra
        ``onnx``; vectors differ from torch's by less than 1e-4 of their largest value.
    cache : bool, str, Path or list, default=True
        Whether vectors are kept on disk and looked up there by the content of the image, so that each image goes
        through the network once: over folds, grids, processes and sessions. True uses the user's folder for caches, or
        the one that the environment variable SKTL_CACHE_DIR names; a path uses that folder. A list begins with one of
        these and goes on with folders or URLs of segments, which are looked up afterwards and never written to, as in
        ``[True, "/shared/segments"]``; SKTL_CACHE_SEGMENTS names more. Vectors are the same with and without.
    random_state : int, RandomState instance or None, default=None
        Random weights when ``weights=None``; unused otherwise.
    verbose : int, default=0
        A progress bar when positive.

    Attributes
    ----------
    backbone_ : Backbone
        Record of the network: stages, preprocessing, digest and licence of the weights.
    layers_ : list of str
        Names of the stages whose output is taken.
    embedding_dim_ : int
        Length of a vector.
    value_range_ : tuple of (float, float) or None
        Values taken as black and white; None when `X` was made of bytes or files.
    bad_images_ : list of ImageReadError
        Images of the last `transform` that could not be read, with ``on_error="nan"``.
    store_info_ : StoreInfo
        What the store has done for this estimator since `fit`: `path`, `n_hits` and `n_misses` (images found, and
        images sent through the network), `n_bytes` found and `seconds_saved`.
    n_features_in_ : int
        Number of columns, when `X` is a table (flattened rows, or one column of paths); not set for other images.
    feature_names_in_ : ndarray of str
        Column names, when `X` is a data frame.

    See Also
    --------
    FineTuneClassifier : Retrain the top stages as well.

    Notes
    -----
    Pickles are small: the weights are found again by name or path when the pickle is read, and compared by digest.

    References
    ----------
    Kornblith, Shlens & Le (2019), "Do better ImageNet models transfer better?", arXiv:1805.08974.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatureExtractor
    >>> digits = load_digits()
    >>> model = make_pipeline(PretrainedFeatureExtractor(), LogisticRegression(max_iter=1000))
    >>> model.fit(digits.images[:50], digits.target[:50]).predict(digits.images[:2])
    array([0, 1])
    """

    _parameter_constraints = {
        **SHARED_CONSTRAINTS,
        "layer": [Integral, str, "array-like"],
        "pooling": [StrOptions(set(POOLINGS))],
        "on_error": [StrOptions({"raise", "nan"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        backbone: Any = "tiny_fractal",
        *,
        weights: Any = "default",
        layer: Any = "penultimate",
        pooling: str = "auto",
        image_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        on_error: Literal["raise", "nan"] = "raise",
        batch_size: int = 32,
        device: Any = "auto",
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        n_jobs: int | None = None,
        engine: Literal["torch", "onnxruntime"] = "torch",
        cache: bool | str | os.PathLike[str] | list[Any] | tuple[Any, ...] = True,
        random_state: int | RandomState | None = None,
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
        self : PretrainedFeatureExtractor
            The fitted transformer.

        Raises
        ------
        ImageReadError
            If a picture made of numbers cannot be read and ``on_error="raise"``.
        WeightsError
            If the weights are not to be had, or do not fit the network.
        ValueError
            If `X` holds no images, a parameter names something that the network does not have, or the environment
            variable SKTL_CACHE_SIZE is not a size.
        ImportError
            If `engine` is not installed.
        """
        if is_dask_collection(X):
            X = stand_in(X, value_range=self.value_range)
        seed = check_random_state(self.random_state).randint(2**31 - 1) if self.weights is None else 0
        self.backbone_ = self._find_network(X, seed=seed, on_error=self.on_error)
        cuts = [self._cut(layer) for layer in self._layers()]
        if len(set(cuts)) < len(cuts):
            raise ValueError(f"layer must name each stage once. Got {self.layer!r} instead.")
        self._take_network(self.backbone_, [self.backbone_.stage_names[cut - 1] for cut in cuts])
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Embed images.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Of the same kind as in `fit` when that was a table of flattened rows; otherwise of any kind.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, n_features_out), float32
            One vector per image.

        Raises
        ------
        ImageReadError
            If an image cannot be read and ``on_error="raise"``.
        """
        check_is_fitted(self)
        if is_dask_collection(X):
            self._images(stand_in(X, value_range=self.value_range_ or self.value_range))
            self.bad_images_ = []
            return embed_lazily(X, self)
        images = self._images(X)
        embeddings, bad_images = self._embed(images, layers=self.layers_, pooling=self.pooling, on_error=self.on_error)
        self.bad_images_ = bad_images
        return embeddings

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Name the features by stage and number, zero-padded so that they sort.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            The names of the columns of `X`, which say nothing about the features: only checked, when `X` had columns.

        Returns
        -------
        feature_names_out : ndarray of str objects of shape (n_features_out,)
            For instance ``layer4_0007``.

        Raises
        ------
        ValueError
            If `input_features` are others than those seen in `fit`.
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features, generate_names=False)
        return np.array(
            [
                f"{stage}_{i:0{len(str(width - 1))}d}"
                for stage, width in zip(self.layers_, self._widths, strict=True)
                for i in range(width)
            ],
            dtype=object,
        )

    @property
    def _n_features_out(self):
        return self.embedding_dim_

    def _take_network(self, backbone, layers):
        """Take features after these stages of a network from now on."""
        self._take_backbone(backbone)
        self.layers_ = layers
        self._widths = embedding_widths(backbone, layers, self.pooling, self._preprocessing())
        self.embedding_dim_ = sum(self._widths)
        self.bad_images_ = []

    def _layers(self):
        if isinstance(self.layer, str) and self.layer == "all":
            return list(self.backbone_.stage_names)
        layers = [self.layer] if isinstance(self.layer, str | Integral) else list(self.layer)
        if not layers:
            raise ValueError("layer must name at least one stage. Got an empty sequence instead.")
        return layers

    def _cut(self, layer):
        cut = self.backbone_.n_stages_below(layer)
        if cut == 0:
            raise ValueError(
                f"layer must leave at least the lowest stage, {self.backbone_.stage_names[0]!r}: an index below "
                f"{len(self.backbone_.stage_names)} for {self.backbone_.name}. Got {layer!r} instead."
            )
        return cut

    def __sklearn_tags__(self):
        """Say that vectors are always float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
