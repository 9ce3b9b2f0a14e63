"""What one fit of a candidate costs: seconds, images through the network, parameters, memory.

A new figure needs a line in `Measurement.costs`, a field of `FitRecord`, and a name in `sktl._costs`.
"""

import re
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from joblib import effective_n_jobs

from sktl.comparison._networks import fitted_parts, trained_part
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor
from sktl.inference.forward_passes import counted_forward_passes

__all__ = ["measured", "peak_memory", "reset_peak_memory"]

WITH_NETWORK = (PretrainedFeatureExtractor, FineTuneClassifier, FineTuneRegressor)
# Linux: writing 5 lets the kernel forget the highest resident memory so far, which status then tells anew.
RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@contextmanager
def measured():
    """Measure the fit and the predictions of one candidate."""
    reset_peak_memory()
    with counted_forward_passes() as counter:
        yield Measurement(counter)


class Measurement:
    """What is measured while a candidate is fitted and scored."""

    def __init__(self, counter):
        self._counter = counter
        self._start = time.perf_counter()

    def fitted(self):
        """Take note that the fit has ended."""
        self._fitted = time.perf_counter()

    def scored(self):
        """Take note that the test images have been predicted and scored."""
        self._scored = time.perf_counter()
        self._memory = peak_memory()

    def costs(self, estimator):
        """Return the figures of a fitted candidate, by name of the field in its record."""
        return {
            "fit_seconds": self._fitted - self._start,
            "predict_seconds": self._scored - self._fitted,
            "n_trained_parameters": getattr(trained_part(estimator), "n_trained_parameters_", None),
            "n_parameters": _n_parameters(estimator),
            "n_images_through_network": self._n_images(estimator),
            "peak_memory": self._memory,
        }

    def _n_images(self, estimator):
        """Return the forward passes; None without a network, and where other processes may have made some."""
        n_images = self._counter.n_images
        if _is_shared_out(estimator) or (n_images == 0 and not _own_parts(estimator)):
            return None
        return n_images


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


def _n_parameters(estimator):
    """Count the parameters of the networks that a fitted candidate needs for its predictions."""
    networks = {id(network): network for part in _own_parts(estimator) for network in _stages_in_use(part)}
    if not networks:
        return None
    return sum(parameter.numel() for network in networks.values() for parameter in network.parameters())


def _own_parts(estimator):
    return [part for part in fitted_parts(estimator) if isinstance(part, WITH_NETWORK)]


def _stages_in_use(part):
    if not isinstance(part, PretrainedFeatureExtractor):
        return [part.module_]
    names = list(part.backbone_.stage_names)
    return list(part.backbone_.stages)[: 1 + max(names.index(layer) for layer in part.layers_)]


def _is_shared_out(estimator):
    """Whether a search or the like hands parts with a network to several jobs, whose images nobody counts here."""
    others = [part for part in _estimators_in(estimator) if not isinstance(part, WITH_NETWORK)]
    return any(effective_n_jobs(getattr(part, "n_jobs", 1)) > 1 and _has_network(part) for part in others)


def _has_network(part):
    return any(isinstance(one, WITH_NETWORK) for one in _estimators_in(part)) or bool(_own_parts(part))


def _estimators_in(estimator):
    """Return an estimator and the estimators among its parameters, nested ones too."""
    inside = estimator.get_params(deep=True).values()
    return [estimator, *(part for part in inside if hasattr(part, "get_params") and not isinstance(part, type))]
