"""Networks as they are: images to features, without any training."""

from sktl.feature_extraction._feature_extractor import PretrainedFeatureExtractor
from sktl.feature_extraction._pixel_features import PixelFeatures

__all__ = ["PixelFeatures", "PretrainedFeatureExtractor"]
