"""Where a fitted classifier looked: class-activation maps, exact where the head is linear."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktl._validation import did_you_mean
from sktl.backbones import pool
from sktl.backbones.torch_defaults import torch_defaults
from sktl.inference import read_prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["class_activation_map"]

_AT_A_TIME = 16  # images whose activations are held at once
_PASS_ON = (nn.Dropout, nn.Identity, nn.Flatten)  # in a head, without an effect on pooled features


@torch_defaults()
def class_activation_map(estimator: Any, X: Any, target: Any = None) -> NDArray[Any]:
    """Map what each place of an image contributed to an output of a fitted estimator.

    Parameters
    ----------
    estimator : FineTuneClassifier, FineTuneRegressor, PretrainedClassifier or Pipeline
        Fitted. A Pipeline has the steps :class:`~sktl.PretrainedFeatureExtractor`, a StandardScaler or none, and a
        linear model with `coef_` and `intercept_`, such as :class:`~sktl.LinearProbeClassifier`.
    X : sequence of images of length n_images, or array-like of shape (n_images, n_features)
        The images, as for `predict`.
    target : label, sequence of labels of length n_images, or None, default=None
        The class to explain, for all images or for each; of a regressor the number of the output. None is the class
        with the greatest output, and the only output of a regressor that has one.

    Returns
    -------
    maps : ndarray of shape (n_images, height, width), float64
        At the resolution of the network's top stage with places, for what the network sees of an image:
        :meth:`Preprocessing.seen_part <sktl.backbones.Preprocessing.seen_part>` says what that is. In the unit of the
        output. From a linear head on pooled maps the map is exact [1]_: its sum, plus the intercept of that head, is
        the output, and places below zero spoke against the class. From any other head, or behind a class token, it is
        weighted by gradients and not below zero [2]_.

    Raises
    ------
    ValueError
        If the estimator is of another kind, `target` is no class of it, or the network has no stage with places.
    NotFittedError
        If the estimator is not fitted.
    ImageReadError
        If an image cannot be read.

    See Also
    --------
    MistakesDisplay : Lays maps over the pictures of mistakes.

    Notes
    -----
    Of several layers each has its own map, brought to the resolution of the coarsest with its sum kept. Poolings other
    than the mean have exact maps as well: mean, maximum and standard deviation grow in proportion to the activations,
    so that activation times gradient, summed over the places, gives them back. Features that were standardised are
    taken relative to their mean: what the mean takes off is spread evenly. Of a FineTuneClassifier with two classes,
    each has an output of its own. Mirror images of `test_time_augmentation` are left out, and so is the probe that an
    `ensemble` averages with: the map is that of the trained network.

    A map says what the output was computed from. It does not say what the image shows, nor what would have changed the
    prediction.

    References
    ----------
    .. [1] B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba (2016). Learning deep features for discriminative
       localization. CVPR. arXiv:1512.04150
    .. [2] R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra (2017). Grad-CAM: visual explanations
       from deep networks via gradient-based localization. ICCV. arXiv:1610.02391

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktl import FineTuneClassifier
    >>> from sktl.displays import class_activation_map
    >>> digits = load_digits()
    >>> model = FineTuneClassifier(unfreeze_depth=0, random_state=0).fit(digits.images[:50], digits.target[:50])
    >>> maps = class_activation_map(model, digits.images[:2])
    >>> maps.shape
    (2, 3, 3)
    >>> logits = maps.sum((1, 2)) + model.module_.head.layers[-1].bias[[0, 1]].detach().numpy()
    >>> bool(abs(logits - model.decision_function(digits.images[:2])[[0, 1], [0, 1]]).max() < 1e-5)
    True
    """
    check_is_fitted(estimator)
    network = _network_of(estimator)
    images = network.reader._images(X)
    chosen = _targets(target, len(images), getattr(estimator, "classes_", None), network.n_outputs)
    maps, start = [], 0
    for batch in read_prepared(images, network.preprocessing, batch_size=_AT_A_TIME):
        maps.append(_maps(network, batch, chosen if chosen is None else chosen[start : start + len(batch)]))
        start += len(batch)
    return torch.cat(maps).numpy()


@dataclass
class _Network:
    """What of an estimator decides about its outputs; everything in float64 from the features on."""

    reader: Any  # the estimator that reads images
    stages: nn.Sequential
    preprocessing: Any
    cuts: list  # how many stages have run where features are taken, in the order of the features
    pooling: str | None  # None: the head takes maps
    head: Any  # from features to outputs
    n_outputs: int
    bias: torch.Tensor | None  # of a linear head; None for any other


def _network_of(estimator):
    if hasattr(estimator, "module_"):
        return _fine_tuned(estimator)
    if hasattr(estimator, "backbone_") and hasattr(estimator, "_through_head"):
        return _own_classifier(estimator)
    return _pipeline(estimator)


def _fine_tuned(estimator):
    module = estimator.module_
    head = _for_reading(module.head)
    bias = head.layers[-1].bias.detach() if head.linear else None
    stages = _for_reading(module.stages, torch.float32)
    n_outputs = estimator._coding.n_outputs
    return _Network(estimator, stages, module.preprocessing, [len(stages)], module.own_pooling, head, n_outputs, bias)


def _own_classifier(estimator):
    backbone, head = estimator.backbone_, _for_reading(estimator.backbone_.head)
    layers = [part for part in head.modules() if not list(part.children()) and not isinstance(part, _PASS_ON)]
    is_linear = len(layers) == 1 and isinstance(layers[0], nn.Linear) and layers[0].bias is not None
    pooling = backbone.own_pooling if estimator._shape is None else None
    cuts, n_outputs = [len(backbone.stages)], len(estimator.classes_)
    bias = layers[0].bias.detach() if is_linear and pooling else None
    return _Network(estimator, backbone.stages, estimator._preprocessing(), cuts, pooling, head, n_outputs, bias)


def _pipeline(estimator):
    steps = [step for _, step in getattr(estimator, "steps", ()) if step is not None and not isinstance(step, str)]
    extractor, linear = (steps[0], steps[-1]) if steps else (None, None)
    if not hasattr(extractor, "layers_") or not hasattr(linear, "coef_") or not _are_scalers(steps[1:-1]):
        raise ValueError(
            "estimator must be a fitted FineTuneClassifier, FineTuneRegressor or PretrainedClassifier, or a Pipeline "
            "of PretrainedFeatureExtractor, StandardScaler or none, and a linear model. Got "
            f"{' and '.join(type(step).__name__ for step in steps) or type(estimator).__name__} instead."
        )
    scale, shift = _affine(steps[1:-1])
    weights, bias = np.atleast_2d(linear.coef_), np.atleast_1d(linear.intercept_)
    if len(weights) == 1 and hasattr(linear, "classes_"):  # of two classes one is the other's opposite
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    weights, bias = (torch.as_tensor(value, dtype=torch.float64) for value in (weights, bias))
    backbone = extractor.backbone_
    pooling = backbone.own_pooling if extractor.pooling == "auto" else extractor.pooling
    return _Network(
        extractor,
        backbone.stages,
        extractor._preprocessing(),
        [backbone.n_stages_below(layer) for layer in extractor.layers_],
        pooling,
        lambda features: (features * scale + shift) @ weights.T + bias,
        len(weights),
        bias,
    )


def _are_scalers(steps):
    return all(isinstance(step, StandardScaler) for step in steps)


def _affine(scalers):
    """Return the factor and the summand that standardisation comes to."""
    scale, shift = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for scaler in scalers:
        mean = 0.0 if scaler.mean_ is None or not scaler.with_mean else torch.as_tensor(scaler.mean_)
        spread = 1.0 if scaler.scale_ is None else torch.as_tensor(scaler.scale_)
        scale, shift = scale / spread, (shift - mean) / spread
    return scale, shift


def _for_reading(module, dtype=torch.float64):
    return deepcopy(module).cpu().to(dtype).eval().requires_grad_(False)


def _targets(target, n_images, classes, n_outputs):
    """Return the number of the output to explain for each image; None where the images decide."""
    if isinstance(classes, list):
        raise ValueError(
            f"estimator must predict one column of labels. Got one of {len(classes)} columns instead. Fit a "
            "classifier to the column that is to be explained."
        )
    if target is None and classes is None and n_outputs > 1:
        raise ValueError(f"target must be the number of an output, below {n_outputs}. Got None instead.")
    if target is None:
        return None
    known = range(n_outputs) if classes is None else np.asarray(classes).tolist()
    wanted = np.asarray(target)
    if wanted.shape not in ((), (n_images,)):
        raise ValueError(f"target must be one label, or {n_images}. Got an array of shape {wanted.shape} instead.")
    numbers = {label: number for number, label in enumerate(known)}
    for label in np.unique(wanted).tolist():
        if label not in numbers:
            raise ValueError(f"target must be a class of the estimator. Got {label!r} instead.{_hint(label, known)}")
    return torch.tensor([numbers[label] for label in np.broadcast_to(wanted, n_images).tolist()])


def _hint(label, known):
    return did_you_mean(label, known) if isinstance(label, str) else ""


def _maps(network, batch, chosen):
    outputs = _stage_outputs(network, batch)
    top = max(network.cuts)
    n_dims = {outputs[cut].ndim for cut in network.cuts}
    # Vectors have no places, and neither has a class token, which "flatten" takes along.
    without = {2, 3} if network.pooling == "flatten" else {2}
    has_places = network.pooling != "token" and not n_dims & without
    if network.bias is not None and has_places:
        return _exact(network, [outputs[cut] for cut in network.cuts], chosen)
    # What a class token gathers lies one stage below.
    below = [cut for cut in range(1, top + 1 - (network.pooling == "token")) if outputs[cut].ndim > 2]
    if not below:
        raise ValueError("estimator must have a stage with places, maps or tokens. Got vectors only instead.")
    return _gradient_weighted(network, outputs, below[-1], chosen)


def _stage_outputs(network, batch):
    """Return the outputs after so many stages, by their number, on the CPU."""
    device = next(network.stages.parameters()).device
    value, outputs = network.preprocessing.normalize(batch.to(device)), {}
    with torch.no_grad():
        for cut, stage in enumerate(network.stages[: max(network.cuts)], 1):
            value = stage(value)
            outputs[cut] = value.cpu().double()
    return outputs


def _exact(network, taken, chosen):
    leaves = [output.requires_grad_() for output in taken]
    outputs = network.head(torch.cat([pool(leaf, network.pooling) for leaf in leaves], dim=1))
    chosen = outputs.argmax(1) if chosen is None else chosen
    gradients = torch.autograd.grad(outputs.gather(1, chosen[:, None]).sum(), leaves)
    maps = [_places((leaf * gradient).detach()) for leaf, gradient in zip(leaves, gradients, strict=True)]
    shape = min((one.shape[1:] for one in maps), key=lambda sides: sides[0] * sides[1])
    n_features = sum(pool(leaf, network.pooling).shape[1] for leaf in leaves)
    without = network.head(torch.zeros(1, n_features, dtype=torch.float64))[0] - network.bias
    shift = (without[chosen] / (shape[0] * shape[1])).detach()[:, None, None]
    return sum(_with_sides(one, *shape) for one in maps) + shift


def _gradient_weighted(network, outputs, place, chosen):
    leaf = value = outputs[place].requires_grad_()
    reached = {cut: output for cut, output in outputs.items() if cut <= place}
    for cut in range(place + 1, max(network.cuts) + 1):
        value = reached[cut] = _for_reading(network.stages[cut - 1])(value)
    taken = [reached[cut] for cut in network.cuts]
    features = [one if network.pooling is None else pool(one, network.pooling) for one in taken]
    results = network.head(torch.cat(features, dim=1))
    chosen = results.argmax(1) if chosen is None else chosen
    (gradient,) = torch.autograd.grad(results.gather(1, chosen[:, None]).sum(), [leaf])
    over = (2, 3) if leaf.ndim == 4 else 1
    return _places((leaf * gradient.mean(over, keepdim=True)).detach()).relu()


def _places(values):
    """Sum over channels; of tokens, without the class token, as a square."""
    if values.ndim == 4:
        return values.sum(1)
    patches = values.sum(2)[:, 1:]
    side = int(patches.shape[1] ** 0.5)
    if side * side != patches.shape[1]:
        raise ValueError(f"The tokens of a stage must form a square. Got {patches.shape[1]} instead.")
    return patches.unflatten(1, (side, side))


def _with_sides(maps, height, width):
    """Bring maps to other sides, each place to where it lies, with the same sum."""
    return torch.einsum("hi,nij,wj->nhw", _shares(maps.shape[1], height), maps, _shares(maps.shape[2], width))


def _shares(n_from, n_to):
    """Return which share of each of some equal parts of a length lies in each of another number of parts."""
    first, second = (torch.linspace(0, 1, n + 1, dtype=torch.float64) for n in (n_from, n_to))
    overlap = torch.minimum(first[None, 1:], second[1:, None]) - torch.maximum(first[None, :-1], second[:-1, None])
    return overlap.clamp(min=0) * n_from
