"""The head: new layers on top of the backbone."""

from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral

import torch
from torch import nn

# Least scale of a feature, as a share of the root mean square of all features.
_LEAST_SCALE = 1e-3


class Head(nn.Module):
    """Standardised features, dropout, and the layers that turn features into outputs."""

    def __init__(self, layers, n_features, dropout, *, linear):
        super().__init__()
        self.linear = linear
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.dropout = nn.Dropout(dropout)
        self.layers = layers
        self.from_probe = False

    def forward(self, features):
        """Return the outputs for pooled features (n_images, n_features)."""
        return self.layers(self.dropout((features - self.mean) / self.scale))

    def standardise(self, features):
        """Standardise by mean and spread of the features before training."""
        # Features of one network differ a hundredfold in scale; standardised, one learning rate fits them all, as with
        # a StandardScaler before a logistic regression.
        features = features.double()
        scale, mean = torch.std_mean(features, dim=0, correction=0)
        # A feature that hardly varies here may vary elsewhere: divided by its own spread it would drown all others.
        floor = _LEAST_SCALE * features.square().mean().sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(scale > floor, scale, floor if floor > 0 else torch.ones_like(scale)))

    def is_built_as(self, head):
        """Whether the parameter `head` still describes these layers, as far as that can be told."""
        if isinstance(head, str) or not isinstance(head, Iterable):
            return self.linear == isinstance(head, str)
        widths = [layer.out_features for layer in self.layers if isinstance(layer, nn.Linear)][:-1]
        return not self.linear and widths == list(head)

    def solve(self, probe, features, targets, weights):
        """Fit a linear model on the features in their own units, when the head is one linear layer."""
        if not self.linear:
            return None
        return probe(features.cpu().double().numpy(), targets.numpy(), weights.double().numpy())

    def take(self, solution, scale):
        """Set the linear layer to a solution, times a number."""
        self.from_probe = True
        coefficients, intercepts = (torch.as_tensor(scale * values, dtype=torch.float64) for values in solution)
        mean, spread = self.mean.double().cpu(), self.scale.double().cpu()
        self.layers[0].weight.data.copy_(coefficients * spread)
        self.layers[0].bias.data.copy_(intercepts + coefficients @ mean)


def build_head(head, n_features, n_outputs, dropout):
    """Build the head that the parameter `head` describes."""
    if callable(head):
        layers = head if isinstance(head, nn.Module) else head(n_features, n_outputs)
        built = Head(layers, n_features, dropout, linear=False)
        _check_outputs(built, n_features, n_outputs)
        return built
    hidden = () if isinstance(head, str) else tuple(head)
    if not all(isinstance(width, Integral) and width > 0 for width in hidden):
        raise ValueError(f"head must be 'linear', a module, a function or positive widths. Got {head!r} instead.")
    return Head(_layers(hidden, n_features, n_outputs, dropout), n_features, dropout, linear=not hidden)


def _layers(hidden, n_features, n_outputs, dropout):
    widths = (n_features, *hidden)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(dropout)]
    last = nn.Linear(widths[-1], n_outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def _check_outputs(head, n_features, n_outputs):
    was_training = head.training
    try:
        with torch.no_grad():
            shape = tuple(head.eval()(torch.zeros(2, n_features)).shape)
    except RuntimeError as error:
        raise ValueError(
            f"head must take features of shape (n_images, {n_features}) and return (n_images, {n_outputs}). "
            f"Got an error from it instead: {error}"
        ) from error
    finally:
        head.train(was_training)
    if shape != (2, n_outputs):
        raise ValueError(
            f"head must return (n_images, {n_outputs}) for features of shape (n_images, {n_features}). "
            f"Got (n_images, {', '.join(map(str, shape[1:]))}) instead. A function of (n_features, n_outputs) that "
            "makes the module fits any backbone and any number of classes."
        )
