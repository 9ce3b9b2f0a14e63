"""PatchAnomalyDetector: how far the patches of an image are from those of normal images, and where."""

import math
from dataclasses import replace
from itertools import chain, islice
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.base import OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from sktl._validation import Interval, StrOptions, fit_context
from sktl.anomaly_detection._memory_bank import drawn_places, remember
from sktl.anomaly_detection._patches import patch_makers, usual_layers
from sktl.anomaly_detection._usual_distances import farthest, usual_distances
from sktl.feature_extraction.frozen_network import SHARED_CONSTRAINTS, FrozenNetworkEstimator
from sktl.images import read_once
from sktl.store import open_store

__all__ = ["PatchAnomalyDetector"]

# What is remembered is chosen from so much, whatever the number of images: places, and bytes of their patches.
_CANDIDATES, _BYTES_OF_CANDIDATES = 50_000, 128 << 20
# What is usual is learnt from so many images at most, and so many bytes of their distances.
_MEASURED, _BYTES_OF_MEASURED = 1000, 64 << 20
_BYTES_AT_A_TIME, _LEAST_AT_A_TIME = 64 << 20, 32  # of stage maps, and images
_SHARE_OF_STORE, _SHARE_OF_PREDICTION = 0.5, 0.1  # what stage maps may take of it, in fit and later
_FENCE = 1.5  # times the distance between the quartiles, as in a box plot
_SMOOTHING, _SEEDS = 4 / 224, 2**31 - 1  # standard deviation of the smoothing of a map, as a share of its side


class PatchAnomalyDetector(OutlierMixin, FrozenNetworkEstimator):
    """Find images that are unlike normal ones, and show where, with a frozen, pretrained network.

    `fit` sees normal images, needs no labels and trains nothing. It turns each place of an image into a patch, a vector
    of what some stages of the network say about it, and remembers a few patches that are near to all others. A new
    image is as abnormal as those of its patches that are farthest from all remembered ones. So a small defect counts,
    where a vector for the whole image would average it away. The whole picture is looked at, stretched to a square.

    Parameters
    ----------
    backbone : str, Backbone, torch.nn.Module, callable or fitted estimator, default="tiny_fractal"
        The network, as for :class:`~sktl.PretrainedFeatureExtractor`. For photographs take ``"efficientnet_lite0"`` or
        another that knows them.
    weights : str, Path, torchvision weights or None, default="default"
        Which weights, as for :class:`~sktl.PretrainedFeatureExtractor`.
    layer : "auto", int, str or sequence of these, default="auto"
        The stages whose maps are taken, by name or index from the top. ``"auto"``: those whose places are nearest to 4,
        8 and 16 pixels of the image, such as layer1, layer2 and layer3 of a ResNet; of a ViT, those after half and
        three quarters of its stages. Low ones see edges and spots, higher ones more of their surroundings.
    image_size : int or None, default=None
        Side in pixels of the square that the network sees; None takes what its weights were trained with. A place has
        8 pixels or more on a side, so larger ones see smaller defects. Cost grows with the square.
    n_components : int or None, default=256
        Length of the vector of a patch: where a stage has more channels, it is brought to that length by a random
        projection. None leaves it as it is.
    max_patches : int, default=1000
        How many patches of each stage are remembered at most. The time for a score grows in proportion.
    contamination : "auto" or float, default="auto"
        Share of the images in `fit` that are anomalies themselves, in (0, 0.5], which sets `offset_`. ``"auto"`` draws
        the line where a box plot does: 1.5 times the distance between the quartiles of their scores beyond the lower
        one, so that some anomalies among them do no harm.
    image_shape : tuple of int or None, default=None
        Shape (height, width) or (height, width, channels) of the pictures when `X` holds flattened rows.
    value_range : tuple of (float, float) or None, default=None
        Values of black and white in arrays, as for :class:`~sktl.PretrainedFeatureExtractor`.
    batch_size : int, default=32
        Images looked up and stored together, and moved to an accelerator together. Never changes a score on the CPU.
    device : str or torch.device, default="auto"
        Where to compute: an accelerator when there is one.
    precision : {"auto", "float32", "bfloat16", "float16"}, default="auto"
        Precision of the network.
    n_jobs : int or None, default=None
        Threads that read and resize images ahead of the network.
    engine : {"torch", "onnxruntime"}, default="torch"
        What runs the network.
    cache : bool, str, Path or list, default=True
        Where stage maps are kept and looked up by the content of the image, as the vectors of
        :class:`~sktl.PretrainedFeatureExtractor` are. They are large, 500 KB for an image in ``"efficientnet_lite0"``,
        and used only while those of all images take up less than half of the store in `fit`, and a tenth later.
    random_state : int, RandomState instance or None, default=None
        Draws the projection, the patches that the remembered ones are chosen from where there are many, and the first
        of these; and random weights when ``weights=None``.
    verbose : int, default=0
        Progress bars when positive.

    Attributes
    ----------
    backbone_ : Backbone
        Record of the network: stages, preprocessing, digest and licence of the weights.
    layers_ : list of str
        Names of the stages whose maps are taken.
    grid_shape_ : tuple of (int, int)
        Places of an image: rows and columns.
    patches_ : list of ndarray of shape (n_patches, n_components), float32
        The remembered patches of each stage.
    offset_ : float
        ``decision_function`` is ``score_samples`` minus it.
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
    PretrainedFeatureExtractor : Vectors for other detectors, such as scikit-learn's IsolationForest.
    sktl.displays.AnomalyMapDisplay : Lays maps over pictures.

    Notes
    -----
    The method is that of PatchCore [1]_, with bounds, and for each stage by itself. Its map is averaged over 3 x 3
    places and brought to a grid that all stages share. Of 50,000 vectors of places at most, drawn by the content of the
    images, those that are remembered are chosen greedily, each the farthest from all before. The distance of a patch is
    measured in what 90 % of normal ones stay below, those at its place or those of the whole stage, the greater of
    both, learnt from 1,000 images at most. The map is the mean over stages, and the score the mean of its farthest
    hundredth, in units of the median in training: -1 is usual, and -2 twice as far from all that is remembered.

    A training image is known again, by its mean patches, and scored by what is remembered of the others. So its score
    says how well it fits in with them, and `offset_` suits images that were not seen. No result depends on the order of
    `X` or on `batch_size`. With more images than are taken, a file counts as another content than its array.

    References
    ----------
    .. [1] K. Roth, L. Pemula, J. Zepeda, B. Schölkopf, T. Brox, P. Gehler (2022). Towards total recall in industrial
       anomaly detection. CVPR. arXiv:2106.08265

    Examples
    --------
    >>> import numpy as np
    >>> from sktl import PatchAnomalyDetector
    >>> rng = np.random.default_rng(0)
    >>> normal = rng.integers(90, 110, (20, 48, 48, 3), dtype=np.uint8)
    >>> odd = normal[:1].copy()
    >>> odd[0, 8:16, 32:40] = 255
    >>> detector = PatchAnomalyDetector(random_state=0).fit(normal[2:])
    >>> detector.predict(np.concatenate([normal[1:2], odd]))
    array([ 1, -1])
    >>> row, column = np.unravel_index(detector.anomaly_map(odd)[0].argmax(), (48, 48))
    >>> bool(8 <= row < 16), bool(32 <= column < 40)
    (True, True)
    """

    _parameter_constraints = {
        **SHARED_CONSTRAINTS,
        "layer": [Integral, str, "array-like"],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "max_patches": [Interval(Integral, 1, None, closed="left")],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        backbone: Any = "tiny_fractal",
        *,
        weights: Any = "default",
        layer: Any = "auto",
        image_size: int | None = None,
        n_components: int | None = 256,
        max_patches: int = 1000,
        contamination: Literal["auto"] | float = "auto",
        image_shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        batch_size: int = 32,
        device: Any = "auto",
        precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        n_jobs: int | None = None,
        engine: Literal["torch", "onnxruntime"] = "torch",
        cache: Any = True,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self._store(locals())

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> "PatchAnomalyDetector":
        """Remember patches of normal images.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            Normal images, a few of which may be anomalies. Each is read twice, the second time from the store where
            that has room.
        y : Ignored
            Present for API consistency.

        Returns
        -------
        self : PatchAnomalyDetector
            The fitted detector.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        WeightsError
            If the weights are not to be had, or do not fit the network.
        ValueError
            If `X` holds no images, or `layer` names a stage that the network does not have, or one without places.
        ImportError
            If `engine` is not installed.
        """
        X = read_once(X)
        random_state = check_random_state(self.random_state)
        self._take_backbone(self._find_network(X, seed=random_state.randint(_SEEDS)))
        images = self._images(X)
        self.layers_ = self._names_of_layers()
        self._makers = patch_makers(
            self.backbone_, self.layers_, self._preprocessing(), self.n_components, random_state.randint(_SEEDS)
        )
        self.grid_shape_ = (self._makers[0].side, self._makers[0].side)
        self._banks = self._remember(images, random_state)
        self.patches_ = [bank.patches for bank in self._banks]
        scores = self._learn_what_is_usual(images)
        if self.contamination == "auto":
            lower, upper = np.quantile(scores, [0.25, 0.75])
            self.offset_ = float(lower - _FENCE * (upper - lower))
        else:
            self.offset_ = float(np.quantile(scores, self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Say how normal images are.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            How far the farthest patches are from the remembered ones, relative to the median of the images in `fit`, as
            a negative number: -1 is usual, and the lower, the more abnormal.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        check_is_fitted(self)
        return self._scores(self._distances(self._images(X)))

    def decision_function(self, X: Any) -> np.ndarray:
        """Say how normal images are, relative to the line that `contamination` draws.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        scores : ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``: below zero for anomalies.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Tell normal images and anomalies apart.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int
            1 for normal images, -1 for anomalies.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def anomaly_map(self, X: Any) -> np.ndarray:
        """Show where images are abnormal.

        Parameters
        ----------
        X : sequence of images, or array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        maps : ndarray of shape (n_samples, image_size, image_size), float32
            For each pixel of the square that the whole picture is stretched to, the distance of its patch from the
            nearest remembered one in the unit of the scores, interpolated and smoothed: 1 or more is unusual.

        Raises
        ------
        ImageReadError
            If an image cannot be read.
        """
        check_is_fitted(self)
        side = self._preprocessing().crop_size
        return np.stack([self._map(distances, side) for distances in self._distances(self._images(X))])

    def _map(self, distances, side):
        places = self._relative(distances).float().reshape(1, 1, *self.grid_shape_)
        fine = F.interpolate(places, (side, side), mode="bilinear", align_corners=False)
        return gaussian_filter(fine[0, 0].numpy(), _SMOOTHING * side)

    def _relative(self, distances):
        """Return the distances at the places of one image in units of what is usual there, the mean over stages."""
        return (distances / torch.from_numpy(self._usual)).mean(0)

    def _scores(self, distances):
        return np.array([-farthest(self._relative(one)) for one in distances])

    def _learn_what_is_usual(self, images):
        """Learn the unit of distances from some of the images, which their content decides, and score them all."""
        shape = len(self._makers), self._makers[0].side ** 2
        n_measured = min(len(images), _MEASURED, max(1, _BYTES_OF_MEASURED // (4 * math.prod(shape))))
        order = range(len(images)) if n_measured == len(images) else sorted(range(len(images)), key=images.digest)
        distances = self._distances(images.subset(order), _SHARE_OF_STORE)
        measured = torch.empty(n_measured, *shape)
        for i, one in enumerate(islice(distances, n_measured)):
            measured[i] = one
        self._usual = usual_distances(measured.numpy())
        self._usual *= -np.median(self._scores(measured)) or 1
        scores = np.empty(len(images))
        scores[order] = self._scores(chain(measured, distances))
        return scores

    def _distances(self, images, share_of_store=_SHARE_OF_PREDICTION):
        """Yield for each image how far its patches are from the remembered ones, (n_stages, n_places)."""
        for patches in self._patches(images, share_of_store):
            yield torch.stack([bank.distances(own) for bank, own in zip(self._banks, patches, strict=True)])

    def _remember(self, images, random_state):
        """Return a bank for each stage, of the patches of images, or of a random share of them where they are many."""
        draw, n_places = random_state.randint(_SEEDS), self._makers[0].side ** 2
        n_candidates = min(_CANDIDATES, _BYTES_OF_CANDIDATES // (4 * sum(maker.n_components for maker in self._makers)))
        share = min(1.0, n_candidates / (n_places * len(images)))
        chosen = [
            drawn_places(n_places, share, images.digest(i), draw) if share < 1 else np.ones(n_places, dtype=bool)
            for i in range(len(images))
        ]
        counts = np.sum(chosen, axis=1)
        ends = np.cumsum(counts)
        # Filled in place: small arrays that are kept would lie scattered among large ones, and hold on to their memory.
        drawn, means = (
            [np.empty((n, maker.n_components), dtype=np.float32) for maker in self._makers]
            for n in (ends[-1], len(images))
        )
        for i, patches in enumerate(self._patches(images, _SHARE_OF_STORE)):
            for stage, own in enumerate(patches):
                drawn[stage][ends[i] - counts[i] : ends[i]] = own.numpy()[chosen[i]]
                means[stage][i] = own.mean(0)
        owners = np.repeat(np.arange(len(images)), counts)
        return [
            remember(own, owners, mean, self.max_patches, random_state) for own, mean in zip(drawn, means, strict=True)
        ]

    def _patches(self, images, share_of_store):
        """Yield the patches of each image, one array for each stage; maps are computed for some images at a time."""
        sizes = [maker.size for maker in self._makers]
        n_bytes, store = 4 * sum(sizes), open_store(self.cache)
        use_store = store is not None and n_bytes * len(images) <= share_of_store * store.max_bytes
        n_together = max(_BYTES_AT_A_TIME // n_bytes, _LEAST_AT_A_TIME)
        for start in range(0, len(images), n_together):
            some = images.subset(slice(start, start + n_together))
            maps, _ = self._embed(some, layers=self.layers_, pooling="flatten", use_store=use_store)
            for flat in torch.from_numpy(maps):
                yield [maker(own) for maker, own in zip(self._makers, flat.split(sizes), strict=True)]

    def _names_of_layers(self):
        if isinstance(self.layer, str) and self.layer == "auto":
            return usual_layers(self.backbone_, self._preprocessing())
        layers = [self.layer] if isinstance(self.layer, str | Integral) else list(self.layer)
        cuts = [self.backbone_.n_stages_below(layer) for layer in layers]
        if not cuts or min(cuts) == 0 or len(set(cuts)) < len(cuts):
            raise ValueError(
                "layer must be 'auto' or name one or several stages, each once and none below the lowest. "
                f"Got {self.layer!r} instead."
            )
        return [self.backbone_.stage_names[cut - 1] for cut in cuts]

    def _preprocessing(self):
        """Return the network's own, for the whole picture: what is cropped off could not be looked at."""
        own = super()._preprocessing()
        return replace(own, resize_size=own.crop_size, crop_mode="squash")
