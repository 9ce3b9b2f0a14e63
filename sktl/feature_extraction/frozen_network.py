"""The base of estimators that use a network as it is: find it, and send images through it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from numbers import Integral
from os import PathLike
from typing import Any

from sktl._validation import Interval, StrOptions
from sktl.backbones import load_backbone
from sktl.backbones.estimators import NetworkEstimator
from sktl.images import check_images
from sktl.images.value_range import fit_value_range
from sktl.inference import (
    ENGINES,
    PRECISIONS,
    StoreInfo,
    check_engine,
    embed,
    resolve_placement,
    warn_of_photographs,
)
from sktl.store import open_store, share_settings

__all__ = ["SHARED_CONSTRAINTS", "FrozenNetworkEstimator"]

SHARED_CONSTRAINTS: dict = {
    "backbone": "no_validation",  # load_backbone judges these two, with a hint what to write instead
    "weights": "no_validation",
    "image_size": [Interval(Integral, 1, None, closed="left"), None],
    "image_shape": [tuple, list, None],
    "value_range": [tuple, list, None],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "device": "no_validation",  # resolve_placement does
    "precision": [StrOptions(set(PRECISIONS))],
    "n_jobs": [Integral, None],
    "engine": [StrOptions(set(ENGINES))],
    "cache": ["boolean", str, PathLike, list, tuple],
    "verbose": ["verbose"],
}


class FrozenNetworkEstimator(NetworkEstimator):
    """Abstract: what PretrainedFeatureExtractor and PretrainedClassifier have in common."""

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> Any:
        """Find the network."""

    def _find_network(self, X, *, seed=0, on_error="raise"):
        """Learn the data range of images, and return the record of the network; everything else is checked before."""
        images = check_images(self, X, reset=True, image_shape=self.image_shape)
        self.value_range_ = fit_value_range(images, self.value_range, on_error=on_error)
        check_engine(self.engine, self._placement())
        open_store(self.cache)
        self.__dict__.pop("_reload", None)
        record = load_backbone(self.backbone, self.weights, random_state=seed)
        warn_of_photographs(record, images)
        return record

    def _take_backbone(self, backbone):
        """Use a network from now on, with nothing counted yet."""
        self.backbone_ = backbone
        self.store_info_ = StoreInfo()

    def _images(self, X):
        """Return the images of another X than that of `fit`."""
        images = check_images(self, X, reset=False, image_shape=self.image_shape)
        return images.with_value_range(self.value_range_, learned=self.value_range is None)

    def _embed(self, images, *, layers=("penultimate",), pooling="auto", use_store=True, on_error="raise"):
        """Return vectors of images, found in the store or computed, and errors of those that cannot be read."""
        return embed(
            images,
            self.backbone_,
            self._preprocessing(),
            self._placement(),
            layers=layers,
            pooling=pooling,
            engine=self.engine,
            store=open_store(self.cache) if use_store else None,
            info=self.store_info_,
            keep=self.store_info_.keeps(len(images)),
            batch_size=self.batch_size,
            n_jobs=self.n_jobs,
            on_error=on_error,
            verbose=self.verbose,
        )

    def _placement(self):
        # ONNX Runtime computes in float32 wherever it does.
        precision = "float32" if (self.engine, self.precision) == ("onnxruntime", "auto") else self.precision
        return resolve_placement(self.device, precision, self.verbose)

    def _preprocessing(self):
        own = self.backbone_.preprocessing
        return own if self.image_size is None else own.resized(self.image_size)

    def __sktl_backbone__(self):
        """Return the network as it is, for images of the size in use."""
        reload = self.__dict__.get("_reload")
        record = self.backbone_ if reload is None else replace(self.backbone_, reload=reload)
        return load_backbone(record, preprocessing=self._preprocessing())

    def __sklearn_clone__(self):
        share_settings(self.cache)  # searches and folds fit clones, on a cluster maybe
        return super().__sklearn_clone__()

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_reload", None)
        return state
