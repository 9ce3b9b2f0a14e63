"""A linear probe on all stages of a network as they were before training, to average a trained network with.

The stages below the split point are those of the network itself, whose statistics the pass through them gives as well;
those above are copies.
"""

from copy import deepcopy

import torch
from torch import nn

from sktl.inference import activation_shape, embedding_widths, pooled_outputs
from sktl.training._heads import build_head

_STATISTICS = "avg+std"  # of each stage


def frozen_features(n_frozen, n_stages):
    """Return cuts and poolings of what a probe takes from below the split point, with the activations there last."""
    cuts = tuple(range(1, n_frozen + 1))
    return (*cuts, n_frozen), (_STATISTICS,) * n_frozen + ("auto" if n_frozen == n_stages else "flatten",)


class StageProbe(nn.Module):
    """From statistics of the frozen stages, and the activations at the split point behind them, to outputs.

    With nothing frozen it takes normalised images.
    """

    def __init__(self, stages, own_pooling, *, n_statistics, shape, n_features, n_outputs):
        super().__init__()
        self.stages = deepcopy(stages).requires_grad_(False)
        self.own_pooling = own_pooling
        self.n_statistics = n_statistics
        self.shape = tuple(shape)
        self.head = build_head("linear", n_features, n_outputs, 0.0).requires_grad_(False)
        # In the mean with a trained network: the whole of it, until the head is solved.
        self.register_buffer("share_of_others", torch.ones(n_outputs))
        super().train(False)

    def train(self, mode=True):
        """Stay in eval mode: nothing in here is trained."""
        return self

    def description(self):
        """Return the arguments that make it again, apart from those that are in its network."""
        return {"n_statistics": self.n_statistics, "shape": list(self.shape), "n_features": len(self.head.mean)}

    def activations(self, vectors):
        """Return the activations at the split point."""
        return vectors[:, self.n_statistics :].unflatten(1, self.shape) if self.n_statistics else vectors

    def features(self, vectors):
        """Return the statistics (n_images, n_features) of all stages."""
        parts = [vectors[:, : self.n_statistics]] if self.n_statistics else []
        if len(self.stages):
            maps = self.activations(vectors)
            maps = maps.contiguous(memory_format=torch.channels_last) if maps.ndim == 4 else maps
            cuts = tuple(range(1, len(self.stages) + 1))
            parts.append(pooled_outputs(self.stages, maps, cuts, _STATISTICS, self.own_pooling))
        return torch.cat(parts, dim=1)

    def averaged(self, outputs, vectors):
        """Return the mean of the outputs (n_images, n_outputs) of a trained network and of the probe."""
        return torch.lerp(self.head(self.features(vectors)), outputs, self.share_of_others)


def stage_probe(network, backbone, n_outputs):
    """Make the probe of a network that is about to be trained."""
    preprocessing, n_frozen = network.preprocessing, network.n_frozen
    widths = embedding_widths(backbone, backbone.stage_names, _STATISTICS, preprocessing)
    shape = ()
    if n_frozen:
        _, poolings = frozen_features(n_frozen, len(network.stages))
        shape = activation_shape(backbone, n_frozen, poolings[-1], preprocessing)
    return StageProbe(
        network.trained_stages,
        network.own_pooling,
        n_statistics=sum(widths[:n_frozen]),
        shape=shape,
        n_features=sum(widths),
        n_outputs=n_outputs,
    )
