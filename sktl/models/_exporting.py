"""export_onnx: a fitted model as one file for whatever runs ONNX, checked against the model itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sktl._atomic_files import check_not_read, replacing
from sktl.backbones.descriptions import describe_network
from sktl.backbones.torch_defaults import torch_defaults
from sktl.inference.onnx_programs import check_onnx_installed, make_program, open_session
from sktl.models._fine_tuned import KINDS
from sktl.models._onnx_network import FineTunedModule, PipelineModule
from sktl.models._pipelines import is_frozen_pipeline
from sktl.models._saving import files_of_estimator, version_of

if TYPE_CHECKING:
    import os


__all__ = ["export_onnx"]

_CALLER = "export_onnx"
_TOLERANCE = 1e-5  # of probabilities; of predictions, relative to the largest
_MAX_BYTES = 2 * 2**30 - 2**20  # of a protocol buffer, with room for the metadata
_N_TRIALS = 3


@torch_defaults()
def export_onnx(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted model as one ONNX file: images in, probabilities or predictions out, without Python or torch.

    Normalisation is in the file; resizing and cropping are not, since every library resizes a little differently: the
    file takes what :meth:`Preprocessing.prepare <sktl.backbones.Preprocessing.prepare>` makes of a picture. It is
    compared with the model on trial pictures before it is written.

    Parameters
    ----------
    estimator : Pipeline, FineTuneClassifier or FineTuneRegressor
        Fitted. A Pipeline has the steps :class:`~sktl.PretrainedFeatureExtractor`, a StandardScaler or none, and a
        LinearProbeClassifier, LinearProbeRegressor, LogisticRegression, Ridge or RidgeCV. Networks and heads of
        your own are welcome as far as torch can export them.
    path : str or Path
        The file to write, which by convention ends in ``.onnx``. A former one is replaced in one step.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If the estimator is of another kind, torch cannot export its network, the file would be larger than the 2 GiB
        that the format allows, or what ONNX Runtime computes with it differs from the model by more than 1e-5.
    ImportError
        If the extra ``onnx`` is not installed.

    See Also
    --------
    save_model : A file that Python reads as the fitted estimator again.

    Notes
    -----
    Input ``images``: bytes of shape (n_images, 3, crop_size, crop_size), red, green, blue, any number of them. Output
    ``probabilities``: float32 of shape (n_images, n_classes), those of several columns of labels side by side, or
    ``predictions``: float64 of shape (n_images,) or (n_images, n_targets). The metadata have, as JSON, ``classes``,
    ``preprocessing``, ``backbone`` (name, weights, what they were trained on, licence, digest), ``license``, ``task``
    and ``sktl``, the version.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> import numpy as np
    >>> from sktl import FineTuneClassifier
    >>> from sktl.datasets import make_fractals
    >>> from sktl.models import export_onnx
    >>> X, y = make_fractals(12, n_classes=2, random_state=0)
    >>> model = FineTuneClassifier(unfreeze_depth=0, random_state=0).fit(X, y)
    >>> path = Path(mkdtemp()) / "fractals.onnx"
    >>> export_onnx(model, path)
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(path)
    >>> images = np.stack([model.module_.preprocessing.prepare(picture) for picture in X[:3]])
    >>> (probabilities,) = session.run(None, {"images": images})
    >>> bool(abs(probabilities - model.predict_proba(X[:3])).max() < 1e-5)
    True
    """
    is_pipeline = is_frozen_pipeline(estimator)
    if type(estimator) not in KINDS.values() and not is_pipeline:
        raise ValueError(
            "estimator must be a Pipeline of PretrainedFeatureExtractor, StandardScaler or none, and "
            "LinearProbeClassifier, LinearProbeRegressor, LogisticRegression, Ridge or RidgeCV; or a "
            "FineTuneClassifier or FineTuneRegressor. "
            f"Got a {type(estimator).__name__} instead."
        )
    check_onnx_installed(_CALLER)
    check_is_fitted(estimator[-1] if is_pipeline else estimator)
    check_not_read("path", path, files_of_estimator(estimator))
    module = (PipelineModule if is_pipeline else FineTunedModule)(estimator).eval()
    backbone = (estimator[0] if is_pipeline else estimator).backbone_
    prepared, expected = _trial(module, estimator)
    content = _content(module, prepared, backbone)
    _compare(open_session(content, caller=_CALLER), prepared, expected)
    with replacing(Path(path)) as unfinished:
        unfinished.write_bytes(content)


def _trial(module, estimator):
    """Return prepared trial pictures, one smooth, one noisy and one wide, and what the estimator gives for them."""
    rng, size = np.random.default_rng(0), module.preprocessing.crop_size
    noise = rng.integers(256, size=(size, size, 3), dtype=np.uint8)
    slope = np.broadcast_to(np.linspace(0, 255, size + 9)[:, None, None], (size + 9, size, 3)).astype(np.uint8)
    wide = np.repeat(np.repeat(rng.integers(256, size=(8, 12, 3), dtype=np.uint8), size // 6 + 1, 0), size // 6 + 1, 1)
    pictures = [noise, slope, wide]
    prepared = np.stack([module.preprocessing.prepare(picture) for picture in pictures])
    return prepared, module.expected(estimator, pictures)


def _content(module, prepared, backbone):
    """Return the bytes of the file."""
    output = "probabilities" if module.is_classifier else "predictions"
    needs = (_CALLER, backbone.name, "Write it with save_model, which keeps every network known by name.")
    program = make_program(module, torch.from_numpy(prepared), needs=needs, output=output, any_batch=True)
    model = program.model_proto
    for name, value in _metadata(module, backbone).items():
        model.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))
    if model.ByteSize() > _MAX_BYTES:
        raise ValueError(
            f"estimator must be smaller than 2 GiB, the most that one ONNX file holds. Got {model.ByteSize()} bytes "
            "instead. Take a smaller network."
        )
    return model.SerializeToString()


def _metadata(module, backbone):
    described = describe_network(backbone)
    names = ("name", "weights", "source", "license", "digest")
    task = "regression" if not module.is_classifier else "multilabel" if module.multilabel else "classification"
    classes = {"classes": _plain(module.classes)} if module.is_classifier else {}
    return {
        **classes,
        "task": task,
        "license": backbone.license,
        "backbone": {name: described[name] for name in names},
        "preprocessing": vars(module.preprocessing),
        "sktl": version_of("sktl"),
    }


def _plain(classes):
    """Return classes, or those of each column, as lists."""
    return [each.tolist() for each in classes] if isinstance(classes, list) else classes.tolist()


def _compare(session, prepared, expected):
    """Refuse a file that does not give what the model gives, for one image as for several."""
    found = session.run(None, {"images": prepared})[0]
    alone = session.run(None, {"images": prepared[:1]})[0]
    limit = _TOLERANCE * max(1.0, float(abs(expected).max()))
    off = max(abs(found - expected).max(), abs(alone - expected[:1]).max())
    if not off <= limit:
        raise ValueError(
            f"what ONNX Runtime computes must be what the model gives, to {limit:.1g}. Got a difference of {off:.1g} "
            "instead: nothing was written. Use save_model, and report the network."
        )
