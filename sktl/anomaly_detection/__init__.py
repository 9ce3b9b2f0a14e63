"""Images that are unlike the normal ones, and where."""

from sktl.anomaly_detection._patch_anomaly_detector import PatchAnomalyDetector

__all__ = ["PatchAnomalyDetector"]
