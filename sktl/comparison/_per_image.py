"""Image by image: what was predicted for each test image, and how two candidates differ there."""

import numpy as np
from scipy import stats

__all__ = ["as_labels", "correct_per_image", "image_interval", "out_of_fold"]

CONFIDENCE = 0.95


def out_of_fold(comparison, candidate):
    """Gather what a candidate predicted for the test images of all splits."""
    runs = comparison.runs_of(candidate)
    if any(run.predicted is None for run in runs):
        raise ValueError(
            f"The predictions of {candidate!r} must have been kept. Got a comparison without them instead."
        )
    parts = [comparison.splits[run.split][1] for run in runs]
    index = np.concatenate(parts)
    unknown = [[np.nan] * len(part) for part in parts]
    confidence = [none if run.confidence is None else run.confidence for run, none in zip(runs, unknown, strict=True)]
    y = np.asarray(comparison.y)
    return {
        "index": index,
        "split": np.concatenate([np.full(len(part), run.split) for run, part in zip(runs, parts, strict=True)]),
        "y_true": y[index],
        "y_pred": np.concatenate([as_labels(run.predicted, y) for run in runs]),
        "confidence": np.concatenate([np.asarray(part, dtype=float) for part in confidence]),
    }


def as_labels(predicted, y):
    """Labels kept in plain Python, in the kind of those of y."""
    return np.array(predicted, dtype=object) if y.dtype == object else np.asarray(predicted)


def correct_per_image(comparison, candidate):
    """How often each image was predicted correctly while it was in a test fold."""
    found = out_of_fold(comparison, candidate)
    right = (found["y_true"] == found["y_pred"]).astype(float)
    times = np.bincount(found["index"], minlength=len(comparison.y))
    sums = np.bincount(found["index"], weights=right, minlength=len(comparison.y))
    return np.divide(sums, times, out=np.full(len(times), np.nan), where=times > 0)


def image_interval(comparison, candidate, other, confidence=CONFIDENCE):
    """Difference of two candidates in the share of images predicted correctly, with its interval over the images."""
    runs = [*comparison.runs_of(candidate), *comparison.runs_of(other)]
    if comparison.settings.get("task") == "regression" or any(run.predicted is None for run in runs):
        return None, None, None
    gain = correct_per_image(comparison, candidate) - correct_per_image(comparison, other)
    gain = gain[~np.isnan(gain)]
    if len(gain) < 2 or np.ptp(gain) == 0:
        return float(gain.mean()), np.nan, np.nan
    low, high = stats.t.interval(confidence, len(gain) - 1, gain.mean(), gain.std(ddof=1) / np.sqrt(len(gain)))
    low, high = np.clip([low, high], -1.0, 1.0)  # it is a difference of two shares
    return float(gain.mean()), float(low), float(high)
