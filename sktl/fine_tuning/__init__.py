"""Fine-tune a pretrained image network, its top stages or all of it, as a scikit-learn classifier or regressor."""

from sktl.fine_tuning._classifier import FineTuneClassifier
from sktl.fine_tuning._fine_tuned_features import FineTunedFeatures
from sktl.fine_tuning._regressor import FineTuneRegressor
from sktl.training import show_augmentation

__all__ = ["FineTuneClassifier", "FineTuneRegressor", "FineTunedFeatures", "show_augmentation"]
