"""The bundled networks: small, part of the package, and pretrained on pictures drawn by formula alone."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.sources._source import BackboneCard, NamedSource, register
from sktl.backbones.sources._weights import Weights, default_or_file
from sktl.stages.chain import Chain

__all__ = [
    "BUNDLED",
    "BundledSource",
    "IMAGE_SIZE",
    "LABEL",
    "MEAN",
    "STD",
    "TINY_FORMULA",
    "TINY_FRACTAL",
    "TinyResNet",
]

TINY_FRACTAL = "tiny_fractal"
TINY_FORMULA = "tiny_formula"
IMAGE_SIZE = 48
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
WIDTHS = (24, 48, 96, 192)
N_CLASSES = 256
# What results that were recorded call the bundled weights.
LABEL = "embedded"


@dataclass(frozen=True)
class _Bundled:
    """One of the networks, its weights and what they were made with."""

    weights: Weights
    widths: tuple = WIDTHS
    n_classes: int = N_CLASSES
    image_size: int = IMAGE_SIZE


def _weights(name, what, *identity):
    return Weights(
        "default",
        ("bundled", *identity),
        label=LABEL,
        path=Path(__file__).parents[1] / "weights" / f"{name}.safetensors",
        trained_on=f"{what} drawn by formula (pretraining/{name}.py); no photograph was used",
        license="BSD-3-Clause",
    )


BUNDLED = {
    TINY_FRACTAL: _Bundled(_weights(TINY_FRACTAL, "fractals")),
    TINY_FORMULA: _Bundled(_weights(TINY_FORMULA, "shapes and textures", TINY_FORMULA), (32, 64, 128, 256), 768, 64),
}


class _BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, which is a 1 × 1 convolution where the shape changes."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        return self.relu(branch + (x if self.shortcut is None else self.shortcut(x)))


class TinyResNet(nn.Module):
    """A residual network of one block a stage, about 0.7 million parameters with the usual widths.

    A 3 × 3 stem of stride 2 and four basic residual blocks [1]_ of 24, 48, 96 and 192 channels, each a stage, then
    global average pooling and one linear layer. Pictures of 48 × 48 pixels leave the last stage as 3 × 3 maps; any
    other size is possible, too. Other `widths` are other numbers of channels.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun (2016). Deep residual learning for image recognition. CVPR.
       :doi:`10.1109/CVPR.2016.90`
    """

    def __init__(self, n_classes=N_CLASSES, widths=WIDTHS):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        self.stage1 = _BasicBlock(widths[0], widths[0], 1)
        self.stage2 = _BasicBlock(widths[0], widths[1], 2)
        self.stage3 = _BasicBlock(widths[1], widths[2], 2)
        self.stage4 = _BasicBlock(widths[2], widths[3], 2)
        self.fc = nn.Linear(widths[3], n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, x):
        """Return the penultimate features, shape (n_images, n_channels)."""
        return self.stage4(self.stage3(self.stage2(self.stage1(self.stem(x))))).mean((2, 3))

    def forward(self, x):
        """Return the logits of the network's own classes, shape (n_images, n_classes)."""
        return self.fc(self.embed(x))


@register
class BundledSource(NamedSource):
    """The networks that are part of the package, and work without any file or connection."""

    label = "bundled"
    offline = True

    def names(self):
        """Return the names."""
        return list(BUNDLED)

    def card(self, name):
        """Return what the file says."""
        network = BUNDLED[name]
        n_bytes = network.weights.path.stat().st_size
        license_ = network.weights.license
        return BackboneCard(name, self.label, n_bytes, network.image_size, license=license_, is_here=True)

    def find_weights(self, name, weights):
        """Find the bundled weights, or those of a file."""
        return default_or_file(weights, BUNDLED[name].weights, owner=name, what="what ships with sktl")

    def build(self, name, variant):
        """Build a network, for images of any size."""
        return TinyResNet(variant.n_classes or BUNDLED[name].n_classes, BUNDLED[name].widths)

    def preprocessing(self, name, network, weights):
        """Return the preprocessing of the bundled weights."""
        return Preprocessing(crop_size=BUNDLED[name].image_size, mean=MEAN, std=STD)

    def categories(self, name, weights, n_classes):
        """Return the numbers of the formulas that the bundled weights tell apart: they have no other names."""
        return tuple(range(n_classes)) if weights.identity == BUNDLED[name].weights.identity else None

    def chain(self, network):
        """Take the children as stages, and the last one as head."""
        stages = OrderedDict(network.named_children())
        head = stages.pop("fc")
        return Chain(nn.Sequential(stages), head, "tiny_resnet")
