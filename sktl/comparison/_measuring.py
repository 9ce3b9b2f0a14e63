"""What a fitted candidate cost: images sent through the network, parameters to keep, memory."""

import re
from contextlib import suppress
from pathlib import Path

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from sktl.comparison._networks import fitted_parts
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor

__all__ = ["image_passes", "n_parameters", "peak_memory", "reset_peak_memory"]

# Linux: writing 5 lets the kernel forget the highest resident memory so far, which status then tells anew.
RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak_memory():
    """Start to measure the highest resident memory of this process, where the system can."""
    with suppress(OSError):
        RESET.write_text("5", encoding="ascii")


def peak_memory():
    """Highest resident memory of this process since `reset_peak_memory`, in bytes."""
    if not RESET.exists():  # then the figure would be the highest since the process began
        return None
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def n_parameters(estimator):
    """Count the parameters of the networks that a fitted candidate needs for its predictions."""
    networks = {id(network): network for part in _own_parts(estimator) for network in _stages_in_use(part)}
    if not networks:
        return None
    return sum(parameter.numel() for network in networks.values() for parameter in network.parameters())


def _own_parts(estimator):
    own = (PretrainedFeatureExtractor, FineTuneClassifier, FineTuneRegressor)
    return [part for part in fitted_parts(estimator) if isinstance(part, own)]


def _stages_in_use(part):
    if not isinstance(part, PretrainedFeatureExtractor):
        return [part.module_]
    names = list(part.backbone_.stage_names)
    return list(part.backbone_.stages)[: 1 + max(names.index(layer) for layer in part.layers_)]


def image_passes(estimator, n_test):
    """Count how many times an image was sent through a part of a network, in fit and predict together.

    - The frozen part: images that were not found in the store, and views of images likewise.
    - The part above the cut: every training image once per epoch (and once more for the probe that training from
      pretrained weights starts with), those set aside for early stopping likewise, every test image once; and where
      ``augment="auto"`` asks whether mirroring matters, those it looks at and their mirror images.

    Copies of one training image count once, as the estimators merge them.
    """
    parts = _own_parts(estimator)
    plain = {id(part) for part in _plain_parts(estimator)}
    if not parts or {id(part) for part in parts} != plain or any(getattr(part, "refit", False) for part in parts):
        return None
    return sum(part.store_info_.n_misses + _above_the_cut(part, n_test) for part in parts)


def _above_the_cut(part, n_test):
    """Return how many images went through the part above the cut, which an extractor does not have."""
    if isinstance(part, PretrainedFeatureExtractor):
        return 0
    epochs = list(part.history_)
    if not epochs:  # the exact probe
        return n_test
    train, valid = (
        [sum(batch.get(f"{kind}_batch_size", 0) for batch in epoch["batches"]) for epoch in epochs]
        for kind in ("train", "valid")
    )
    above = sum(train) + sum(valid)
    if part.weights is not None:  # the probe, and how it does on the images set aside
        above += (train[0] if part.module_.n_frozen < len(part.module_.stages) else 0) + valid[0]
    return above + 2 * part.n_mirrored_ + n_test


def _plain_parts(estimator):
    """Parts with a network that were fitted once, where the candidate itself put them."""
    if getattr(estimator, "backbone_", None) is not None:
        return [estimator]
    if isinstance(estimator, Pipeline):
        inside = [step for _, step in estimator.steps]
    elif isinstance(estimator, FeatureUnion):
        inside = [step for _, step in estimator.transformer_list]
    elif isinstance(estimator, ColumnTransformer):
        inside = [step for _, step, _ in estimator.transformers_]
    else:
        return []
    return [part for step in inside for part in _plain_parts(step)]
