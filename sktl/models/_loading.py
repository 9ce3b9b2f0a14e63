"""load_model: from one file, which may come from anybody, to a fitted estimator."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sktl.backbones import Preprocessing, load_backbone
from sktl.backbones.empty_networks import empty_chain
from sktl.backbones.torch_defaults import torch_defaults
from sktl.exceptions import WeightsError, WeightsMismatchError
from sktl.inference import resolve_placement
from sktl.models._fine_tuned import load_fine_tuned
from sktl.models._format import read_record
from sktl.models._pipelines import load_pipeline
from sktl.models._record import MODEL_FILE, check_preprocessing
from sktl.store import open_store

if TYPE_CHECKING:
    import os


__all__ = ["load_model"]

# Of an accelerator, at one time: a file may ask for any batch of images of any size. The default batch of the largest.
_MAX_PIXELS = 32 * 2048**2


@torch_defaults()
def load_model(
    path: str | os.PathLike[str],
    *,
    device: Any = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    n_jobs: int | None = None,
) -> Any:
    """Read a fitted estimator from a file that `save_model` or the command ``sktl train`` has written.

    The file may come from anybody: it holds no code, every field in it is checked, and no name in it is opened or
    imported. It needs neither a file of weights nor a network.

    Parameters
    ----------
    path : str or Path
        The file.
    device : str or torch.device, default="auto"
        Where to compute: an accelerator when there is one.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the network; ``"auto"`` is bfloat16 on a CUDA device that has it, float32 elsewhere.
    n_jobs : int or None, default=None
        Threads that read and resize images.

    Returns
    -------
    estimator : Pipeline, FineTuneClassifier or FineTuneRegressor
        Fitted. On the same kind of machine and with the same `device` and `precision`, predictions have the same bits
        as those of the estimator that was saved.

    Raises
    ------
    WeightsNotFoundError
        If there is no such file.
    WeightsError
        If the file is damaged, made up, of another kind, or from another version of sktl.
    ValueError
        If `device` or `precision` is none that this machine has.

    See Also
    --------
    save_model : Write such a file; says what is not in it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.models import load_model, save_model
    >>> digits = load_digits()
    >>> model = make_pipeline(PretrainedFeatureExtractor(), LogisticRegression(max_iter=1000))
    >>> path = Path(mkdtemp()) / "digits.safetensors"
    >>> save_model(model.fit(digits.images[:50], digits.target[:50]), path)
    >>> again = load_model(path)
    >>> bool((again.predict_proba(digits.images[:9]) == model.predict_proba(digits.images[:9])).all())
    True
    """
    path = Path(path)
    session = {"device": device, "precision": precision, "n_jobs": n_jobs}
    resolve_placement(device, precision)  # what is wrong with these is not the file's fault
    open_store(True)
    record = read_record(path)
    try:
        return _estimator(path, record, session)
    except WeightsMismatchError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"{MODEL_FILE} Got {str(path)!r} instead, which describes no network that can be built: {error}"
        ) from error


def _estimator(path, record, session):
    preprocessing = Preprocessing(**record["backbone"]["preprocessing"])
    size = record["parameters"].get("image_size")
    check_preprocessing(preprocessing if size is None else preprocessing.resized(size))
    chain = empty_chain(record["backbone"])
    load = load_pipeline if record["kind"] == "Pipeline" else load_fine_tuned
    estimator = load(path, record, chain, preprocessing, session)
    network = estimator[0] if record["kind"] == "Pipeline" else estimator
    network.batch_size = min(network.batch_size, max(_MAX_PIXELS // network._preprocessing().crop_size ** 2, 1))
    network.store_info_.keep_no_fews()
    _take_input(network, **record["input"])
    network._reload = partial(
        stages_of_model,
        backbone=record["backbone"]["name"],
        weights=str(path.resolve()),
        preprocessing=network._preprocessing(),
    )
    return estimator


def stages_of_model(*, backbone, weights, preprocessing):
    """Return the stages in a model file as a Backbone; `backbone` is the name of their architecture."""
    return load_backbone(load_model(weights, device="cpu"), preprocessing=preprocessing)


def _take_input(network, fitted_on, n_features_in, feature_names_in, value_range):
    network._fitted_on = fitted_on
    network.value_range_ = None if value_range is None else tuple(map(float, value_range))
    if n_features_in is not None:
        network.n_features_in_ = n_features_in
    if feature_names_in is not None:
        network.feature_names_in_ = np.array(feature_names_in, dtype=object)
