"""Networks as they are: images to features, or to the network's own classes, without any training."""

from sktl.feature_extraction._classifier import PretrainedClassifier
from sktl.feature_extraction._feature_extractor import PretrainedFeatureExtractor
from sktl.feature_extraction._linear_probe import LinearProbeClassifier, LinearProbeRegressor
from sktl.feature_extraction._pixel_features import PixelFeatures

__all__ = [
    "LinearProbeClassifier",
    "LinearProbeRegressor",
    "PixelFeatures",
    "PretrainedClassifier",
    "PretrainedFeatureExtractor",
]
