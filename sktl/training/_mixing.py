"""Mixing of the images of a batch, as activations at the split point: mixup and CutMix.

Mixup: Zhang et al. 2018, arXiv:1710.09412; of activations: Verma et al. 2019, arXiv:1806.05236; CutMix: Yun et al.
2019, arXiv:1905.04899.
"""

import math

import numpy as np
import torch


def mix(inputs, targets, weights, mixup, cutmix, generator):
    """Mix each row of a batch with another one, by mixup or by CutMix."""
    if cutmix and (inputs.ndim != 4 or min(inputs.shape[2:]) < 2):
        raise ValueError(
            "cutmix must be 0 where activations at the split point have no height and width of 2 or more each. "
            f"Got {cutmix!r} and shape {tuple(inputs.shape[1:])} instead. Use mixup, or unfreeze more stages."
        )
    if inputs.dtype == torch.uint8:
        inputs = inputs.float() / 255
    if not mixup and not cutmix:
        return inputs, targets, weights
    pastes = bool(cutmix) and (not mixup or generator.random() < 0.5)
    share = generator.beta(*[cutmix if pastes else mixup] * 2)
    partners = torch.from_numpy(_partners(weights.detach().cpu().numpy(), generator)).to(inputs.device)
    if pastes:
        rows, columns = _box(*inputs.shape[2:], share, generator)
        others, inputs = inputs[partners, :, rows, columns], inputs.clone()
        inputs[:, :, rows, columns] = others
        share = 1 - others[0, 0].numel() / inputs[0, 0].numel()
    else:
        inputs = inputs * share + inputs[partners] * (1 - share)
    return inputs, targets * share + targets[partners.to(targets.device)] * (1 - share), weights


def _partners(weights, generator):
    """Draw a partner for each row in proportion to the weights, as evenly as can be: if equal, a permutation."""
    n_rows = len(weights)
    order = generator.permutation(n_rows)
    total = np.cumsum(weights[order], dtype=np.float64)
    if not total[-1] > 0:
        return order
    ticks = (generator.random() + np.arange(n_rows)) / n_rows * total[-1]
    # Never a row of weight zero, whatever the rounding.
    last = np.flatnonzero(weights[order])[-1]
    return generator.permutation(order[np.minimum(np.searchsorted(total, ticks, side="right"), last)])


def _box(height, width, share, generator):
    """Draw the rectangle that is replaced: 1 - share of the area, before it is clipped at the border."""
    slices = []
    for side in (height, width):
        length = round(side * math.sqrt(1 - share))
        start = int(generator.integers(side)) - length // 2
        slices.append(slice(max(start, 0), min(start + length, side)))
    return slices
