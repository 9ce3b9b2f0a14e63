"""Features and targets as they are scored: finite numbers of any scale, one row per image (numpy only)."""

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from sktl._targets import check_data, plain_labels

__all__ = ["check_features_and_targets", "standardized"]

RESOLUTION = np.finfo(np.float64).eps


def check_features_and_targets(features, y, task):
    """Return features as float64, targets as an array, and the task."""
    features = check_array(features, dtype=[np.float64, np.float32], ensure_min_samples=2, input_name="features")
    # The smallest difference that numbers of this kind can show, before they become float64.
    resolution = np.finfo(features.dtype).eps
    features = features.astype(np.float64)
    largest = np.abs(features).max()
    if largest > 0:
        features /= largest
    y = check_array(plain_labels(y), ensure_2d=False, dtype=None, input_name="y")
    check_consistent_length(features, y)
    if y.ndim == 2 and y.shape[1] > 1 and task != "classification":
        y, task = y.astype(np.float64), "regression"
    else:
        y, task = check_data(features, y, None, task)
    if task == "regression" and np.any(np.ptp(y, axis=0) == 0):
        raise ValueError("y must hold at least two different numbers. Got the same number for all images instead.")
    return features, y, task, resolution


def standardized(columns, resolution=RESOLUTION):
    """Bring columns to mean 0 and variance 1; those that are constant, but for rounding, become 0."""
    largest = np.abs(columns).max(axis=0)
    columns = columns / np.where(largest > 0, largest, 1)  # else the squares of very small numbers are 0
    columns -= columns.mean(axis=0)
    scale = columns.std(axis=0, ddof=1)
    varies = scale > 10 * resolution
    return np.where(varies, columns, 0) / np.where(varies, scale, 1)
