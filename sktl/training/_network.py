"""The network that is trained: a chain of stages with a split point, frozen below it, and a head."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sktl.backbones import pool, tensor_digest
from sktl.exceptions import FrozenPartChangedError
from sktl.inference import pooled_outputs
from sktl.training._stage_probe import frozen_features


class FineTuneNetwork(nn.Module):
    """A chain of stages of which the lower ones are frozen, a head, and possibly a probe to average its outputs with.

    Frozen stages stay in eval mode whatever mode the network is in, so that batch norm normalises with the statistics
    it was pretrained with and does not update them.
    """

    def __init__(self, stages, head, n_frozen, preprocessing, own_pooling, *, update_statistics):
        super().__init__()
        self.update_statistics = update_statistics
        self.stages = stages
        self.head = head
        self.n_frozen = n_frozen
        self.preprocessing = preprocessing
        self.own_pooling = own_pooling
        self.register_module("probe", None)
        # Before any optimizer is initialised: its groups hold frozen parameters too, and AdamW passes over whatever
        # has no gradient, with its weight decay.
        self.frozen_stages.requires_grad_(False)
        self.trained_stages.requires_grad_(True)
        super().train(False)

    def __setstate__(self, state):
        """Read also a pickle of a version whose networks had no probe."""
        super().__setstate__(state)
        self._modules.setdefault("probe", None)

    @property
    def frozen_stages(self):
        """The chain below the split point."""
        return self.stages[: self.n_frozen]

    @property
    def trained_stages(self):
        """The chain above the split point."""
        return self.stages[self.n_frozen :]

    def train(self, mode=True):
        """Set the mode of the part above the split point; the frozen part stays in eval mode."""
        # Called before every batch: walking through a large network each time is not free.
        if mode != self.training:
            self.training = mode
            self.trained_stages.train(mode)
            self.head.train(mode)
            if not self.update_statistics:
                for module in self.trained_stages.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()
            for stage in self.trained_stages:  # those that gradual unfreezing has not reached yet
                parameters = list(stage.parameters())
                if parameters and not any(parameter.requires_grad for parameter in parameters):
                    stage.eval()
        return self

    def below_cut(self, images):
        """Return activations at the split point for prepared images (n_images, 3, image_size, image_size).

        With every stage frozen these are the pooled features.
        """
        output = self.frozen_stages(_channels_last(self.preprocessing.normalize(images)))
        return pool(output, "auto", self.own_pooling) if self.n_frozen == len(self.stages) else output

    def features(self, activations):
        """Return pooled features (n_images, n_features) for activations at the split point."""
        if self.n_frozen == len(self.stages):
            return activations
        return pool(self.trained_stages(_channels_last(activations)), "auto", self.own_pooling)

    def above_cut(self, activations):
        """Return outputs (n_images, n_outputs) for activations at the split point."""
        return self.head(self.features(activations))

    def vectors(self, images):
        """Return what `outputs` takes for prepared images: activations, and with a probe what it needs before them."""
        if self.probe is None or self.n_frozen == 0:
            return self.below_cut(images)
        images = _channels_last(self.preprocessing.normalize(images))
        return pooled_outputs(
            self.frozen_stages, images, *frozen_features(self.n_frozen, len(self.stages)), self.own_pooling
        )

    def outputs(self, vectors):
        """Return outputs (n_images, n_outputs): those above the cut, or with a probe the mean of both."""
        if self.probe is None:
            return self.above_cut(vectors)
        return self.probe.averaged(self.above_cut(self.probe.activations(vectors)), vectors)

    def forward(self, images):
        """Return outputs (n_images, n_outputs) for prepared images, which are bytes; they are normalised in here."""
        if images.dtype != torch.uint8:
            raise TypeError(
                "images must be bytes, as preprocessing.prepare makes them of pictures: the network normalises them "
                f"itself. Got a tensor of {images.dtype} instead. Leave Normalize out; floats in [0, 1] go through "
                "outputs(vectors(images))."
            )
        return self.outputs(self.vectors(images))

    def frozen_digest(self):
        """Return a digest of every parameter and buffer below the split point."""
        return tensor_digest("frozen", stages=self.frozen_stages)

    def check_frozen(self, digest):
        """Raise if a parameter or buffer below the split point has changed."""
        if self.frozen_digest() != digest:
            raise FrozenPartChangedError(
                "the frozen part must be bit-identical after training. It changed instead: a callback or a custom "
                "module writes to weights or batch-norm statistics below the split point. Leave out the callback, or "
                "raise unfreeze_depth so that the part it changes is meant to be trained."
            )


def _channels_last(maps):
    return maps.contiguous(memory_format=torch.channels_last) if maps.ndim == 4 else maps


def trained_tensors(network):
    """Return the trained tensors above the split point, statistics included, by name and without gradients."""
    tensors = {}
    for part in ("trained_stages", "head"):
        for name, tensor in getattr(network, part).state_dict().items():
            if tensor.is_floating_point():
                tensors[f"{part}.{name}"] = tensor
    return tensors
