"""adapt_batch_norm: the statistics of a network's batch norms, estimated anew on unlabelled images of a domain."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch.nn.modules.batchnorm import _BatchNorm

from sktl._validation import Interval, validate_params
from sktl.backbones import load_backbone, tensor_digest
from sktl.backbones.finiteness import check_finite
from sktl.backbones.torch_defaults import torch_defaults
from sktl.images import check_images, read_once
from sktl.images.value_range import fit_value_range
from sktl.inference import read_prepared, resolve_placement
from sktl.inference.forward_passes import current_counter
from sktl.inference.progress import counted

__all__ = ["adapt_batch_norm"]


@validate_params(
    {
        "image_size": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
@torch_defaults()
def adapt_batch_norm(
    backbone: Any,
    X: Any,
    *,
    weights: Any = "default",
    image_size: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
    batch_size: int = 64,
    device: Any = "auto",
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Any:
    """Estimate the batch-norm statistics of a network anew, on images of another domain that need no labels.

    Batch norms divide what they see by the mean and variance of the images that a network was trained on. Where those
    at hand look otherwise, other means and variances suit them [1]_. Weights stay as they are: one pass, no gradients.

    Parameters
    ----------
    backbone : str, Backbone, torch.nn.Module, callable or fitted estimator
        The network, as :func:`~sktl.backbones.load_backbone` takes it. It is left as it is, bit for bit.
    X : sequence of images, or array-like of shape (n_images, n_features)
        Images of the target, at least two; whatever :class:`~sktl.PretrainedFeatureExtractor` takes. Some two hundred
        are enough.
    weights : str, Path or weights, default="default"
        Its weights.
    image_size : int or None, default=None
        Side in pixels of what the network sees, in what follows as well; None takes what it was trained with. The
        statistics are those of images of this size.
    image_shape : tuple of int or None, default=None
        Shape of the images when `X` holds flattened ones.
    value_range : tuple of (float, float) or None, default=None
        Values of black and white in arrays, when they are not in [0, 1].
    batch_size : int, default=64
        Images at least whose mean and variance are taken together. Batches differ by one image at most.
    device : str or torch.device, default="auto"
        Where to compute, in float32.
    n_jobs : int or None, default=None
        Threads that read and resize images.
    verbose : int, default=0
        A progress bar when positive.

    Returns
    -------
    Backbone
        A new record with a digest of its own: for the extractor, fine-tuning, comparisons and the store a network like
        any other. `weights` and `source` say what was done.

    Raises
    ------
    ValueError
        If the network has no batch norm that keeps statistics, or `X` holds fewer than two images.
    ImageReadError
        If an image cannot be read.
    WeightsError
        If the statistics are not finite.

    See Also
    --------
    domain_shift : Whether the images of two domains can be told apart at all.

    Notes
    -----
    The result is that of a plain loop in torch: every batch norm in train mode, with ``momentum=None``, everything
    else in eval mode, and all batches once. The network's own classifier stays as it is. Mean and variance are then the
    means over batches of their means and of their unbiased variances, where what lies below has been normalised by the
    batch.

    Which images form a batch follows from their content: they are sorted by the digest of their bytes, or of their
    pixels where they come as arrays, and divided into ``max(1, n_images // batch_size)`` batches. Order and classes of
    `X` therefore play no part. Other batches give slightly other statistics, the less the larger they are.

    A pickle of the record holds the network itself, since it is found nowhere again. :func:`~sktl.models.save_model`
    writes pipelines and fine-tuned networks that are made of it.

    References
    ----------
    .. [1] Y. Li, N. Wang, J. Shi, X. Hou, J. Liu, "Adaptive batch normalization for practical domain adaptation",
           Pattern Recognition 80, 109-117, 2018, :arxiv:`1603.04779`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import PretrainedFeatureExtractor
    >>> from sktl.domain_adaptation import adapt_batch_norm
    >>> images = load_digits().images[:100]
    >>> adapted = adapt_batch_norm("tiny_fractal", images)
    >>> adapted.weights
    'embedded, batch norm adapted to 100 images'
    >>> PretrainedFeatureExtractor(adapted).fit_transform(images).shape
    (100, 192)
    """
    record = load_backbone(backbone, weights)
    device = resolve_placement(device, "float32").device
    preprocessing = record.preprocessing if image_size is None else record.preprocessing.resized(image_size)
    images = check_images(BaseEstimator(), read_once(X), reset=True, image_shape=image_shape)
    images = images.with_value_range(fit_value_range(images, value_range), learned=value_range is None)
    if len(images) < 2:
        raise ValueError(f"X must hold at least two images. Got {len(images)} instead. Some two hundred are enough.")
    stages = deepcopy(record.stages).to(device)
    norms = _batch_norms(stages)
    if not norms:
        _raise_without(record)
    with _estimating(norms), torch.no_grad(), counted(len(images), verbose=verbose) as advance:
        for batch in _batches(images, preprocessing, batch_size, n_jobs):
            stages(batch.to(device))
            current_counter().add(len(batch))
            advance(len(batch))
    return _adapted(record, stages.cpu(), preprocessing, len(images))


def _batch_norms(stages):
    """Find what can be adapted: not what keeps no statistics, or what its own code holds in eval mode."""
    found = [part for part in stages.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    return [norm for norm in found if norm.train().training]


def _raise_without(record):
    leaves = [part for part in record.stages.modules() if not list(part.children())]
    kinds = {type(part).__name__ for part in leaves if isinstance(part, _BatchNorm) or "Norm" in type(part).__name__}
    found = f"whose norms are {', '.join(sorted(kinds))}" if kinds else "which has no norms"
    raise ValueError(
        f"backbone must have batch norms that keep statistics. Got {record.name} instead, {found}. Scale its features "
        "in each domain apart instead, with PerDomain(StandardScaler()) of skada."
    )


@contextmanager
def _estimating(norms):
    """Have batch norms average the statistics of all batches inside of the block, and be as they were after it."""
    former = [(norm.momentum, deepcopy(norm.state_dict())) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    yield
    for norm, (momentum, state) in zip(norms, former, strict=True):
        norm.momentum = momentum
        norm.eval()
        if not norm.num_batches_tracked:  # a part of the network that images do not reach
            norm.load_state_dict(state)


def _batches(images, preprocessing, batch_size, n_jobs):
    """Yield batches of what the network takes; which images they hold does not hang on the order of the images."""
    order = sorted(range(len(images)), key=images.digest)
    prepared = read_prepared(images.subset(order), preprocessing, batch_size=1, n_jobs=n_jobs)
    for part in np.array_split(order, max(1, len(order) // batch_size)):
        yield torch.cat([preprocessing.normalize(image) for image in islice(prepared, len(part))])


def _adapted(record, stages, preprocessing, n_images):
    check_finite(stages.state_dict(), record.name)
    return replace(
        record,
        stages=stages,
        preprocessing=preprocessing,
        # Of random weights a record says nothing, and they are no better known by their statistics.
        weights=record.weights and f"{record.weights}, batch norm adapted to {n_images} images",
        source=f"{record.source}, then {n_images} images without labels",
        # Of the former digest, not of the name alone: it stands for the structure of networks of one's own.
        digest=tensor_digest(record.digest, stages=stages, head=record.head),
        reload=None,
    )
