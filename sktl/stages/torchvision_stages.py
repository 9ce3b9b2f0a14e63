"""The stages of torchvision's architectures, family by family."""

from collections import OrderedDict

from torch import nn
from torchvision import models

from sktl.stages._functional_modules import (
    ChannelsFirst,
    ChannelsLast,
    ClassToken,
    FixedImageSize,
    ImageNetToInception,
    TokenStem,
)
from sktl.stages.chain import Chain, as_stage

__all__ = ["auxiliary_heads", "chain_of_known_family", "has_transformed_input", "is_known_family"]

# Side classifiers that only help training along; a chain has no place for them.
_AUXILIARY_HEADS = {models.GoogLeNet: ("aux1", "aux2"), models.Inception3: ("AuxLogits",)}
_N_TRANSFORMER_GROUPS = 4


def is_known_family(network):
    """Return whether there is a recipe for the class of a network."""
    return any(isinstance(network, kind) for kind in _CHAINS)


def auxiliary_heads(network):
    """Return the names of the side classifiers that a network of this class may have."""
    return next((names for kind, names in _AUXILIARY_HEADS.items() if isinstance(network, kind)), ())


def chain_of_known_family(network):
    """Cut a network of torchvision into stages."""
    for kind, (family, recipe) in _CHAINS.items():
        if isinstance(network, kind):
            stages, head, *own_pooling = recipe(network)
            stages = OrderedDict((name, as_stage(*modules)) for name, modules in stages.items())
            return Chain(nn.Sequential(stages), head if _has_parameters(head) else None, family, *own_pooling)
    raise TypeError(f"there is no recipe for networks of class {type(network).__name__}")


def has_transformed_input(stages):
    """Return whether the stages of an inception network change the normalisation of their input themselves."""
    return any(isinstance(part, ImageNetToInception) for part in stages.modules())


def _has_parameters(module):
    return next(module.parameters(), None) is not None


def _lowers_resolution(module):
    strides = (getattr(part, "stride", 1) for part in module.modules())
    return any(stride not in (1, (1, 1)) for stride in strides if isinstance(stride, int | tuple))


def _split_where_resolution_drops(modules):
    """Group modules into stem, stage1, …, each beginning with one that lowers the resolution."""
    groups = [[]]
    for module in modules:
        if groups[-1] and _lowers_resolution(module):
            groups.append([])
        groups[-1].append(module)
    return {"stem" if i == 0 else f"stage{i}": group for i, group in enumerate(groups)}


def _split_after_pools(modules):
    """Group modules into stage1, stage2, …, each ending with its max-pool."""
    groups = [[]]
    for module in modules:
        groups[-1].append(module)
        if isinstance(module, nn.MaxPool2d):
            groups.append([])
    return {f"stage{i}": group for i, group in enumerate(groups, start=1) if group}


def _resnet(net):
    stem = [net.conv1, net.bn1, net.relu, net.maxpool]
    layers = {f"layer{i}": [getattr(net, f"layer{i}")] for i in (1, 2, 3, 4)}
    return {"stem": stem, **layers}, net.fc


def _regnet(net):
    return {"stem": [net.stem], **{name: [block] for name, block in net.trunk_output.named_children()}}, net.fc


def _densenet(net):
    parts = dict(net.features.named_children())
    stages = {"stem": [parts.pop("conv0"), parts.pop("norm0"), parts.pop("relu0"), parts.pop("pool0")]}
    for name, part in parts.items():
        if name.startswith("denseblock"):
            stages[name] = []
        stages[next(reversed(stages))].append(part)
    # torchvision applies the last activation in its forward function.
    stages[next(reversed(stages))].append(nn.ReLU(inplace=True))
    return stages, net.classifier


def _plain_features(net):
    """Efficientnet and mobilenet v2: convolutions, mean, dropout and one linear layer."""
    return _split_where_resolution_drops(net.features), net.classifier


def _mnasnet(net):
    return _split_where_resolution_drops(net.layers), net.classifier


def _squeezenet(net):
    """Its classifier is a convolution, so the head takes the maps before pooling."""
    return _split_where_resolution_drops(net.features), nn.Sequential(*net.classifier, nn.Flatten(1))


def _shufflenet(net):
    stem = [net.conv1, net.maxpool]
    return {"stem": stem, "stage2": [net.stage2], "stage3": [net.stage3], "stage4": [net.stage4, net.conv5]}, net.fc


def _hidden_layers(stages, net):
    """End in a stage of the fully connected layers below the last one."""
    return {**stages, "hidden": [net.avgpool, nn.Flatten(1), *net.classifier[:-1]]}, net.classifier[-1]


def _vgg(net):
    return _hidden_layers(_split_after_pools(net.features), net)


def _mobilenet_v3(net):
    return _hidden_layers(_split_where_resolution_drops(net.features), net)


def _convnext(net):
    """Its last norm works on the pooled vector, so the last stage gives vectors."""
    blocks = list(net.features)
    stages = {"stem": blocks[:1], "stage1": blocks[1:2]}
    for i, start in enumerate(range(2, len(blocks), 2), start=2):
        stages[f"stage{i}"] = blocks[start : start + 2]
    stages[next(reversed(stages))] += [net.avgpool, *net.classifier[:-1]]
    return stages, net.classifier[-1]


def _swin(net):
    """Channels come last inside of the stages, and first where a stage begins or ends, as everywhere else."""
    blocks = list(net.features)
    groups = {"stem": blocks[:1], "stage1": blocks[1:2]}
    for i, start in enumerate(range(2, len(blocks), 2), start=2):
        groups[f"stage{i}"] = blocks[start : start + 2]
    groups[next(reversed(groups))].append(net.norm)
    stages = {name: [ChannelsLast(), *group, ChannelsFirst()] for name, group in groups.items()}
    stages["stem"] = stages["stem"][1:]
    return stages, net.head


def _vit(net):
    layers = list(net.encoder.layers)
    n_groups = min(_N_TRANSFORMER_GROUPS, len(layers))
    bounds = [round(i * len(layers) / n_groups) for i in range(n_groups + 1)]
    stages = {"stem": [TokenStem(net)]}
    for i in range(n_groups):
        stages[f"stage{i + 1}"] = layers[bounds[i] : bounds[i + 1]]
    stages[f"stage{n_groups}"].append(net.encoder.ln)
    if hasattr(net.heads, "pre_logits"):
        stages["hidden"] = [ClassToken(), net.heads.pre_logits, net.heads.act]
        return stages, net.heads.head
    return stages, net.heads, "token"


def _maxvit(net):
    blocks = {f"stage{i}": [block] for i, block in enumerate(net.blocks, start=1)}
    image_size = 4 * net.blocks[0].grid_size[0]
    stages = {"stem": [FixedImageSize(image_size), net.stem], **blocks, "hidden": list(net.classifier[:-1])}
    return stages, net.classifier[-1]


def _googlenet(net):
    stages = {
        "stem": [net.conv1, net.maxpool1, net.conv2, net.conv3],
        "inception3": [net.maxpool2, net.inception3a, net.inception3b],
        "inception4": [
            *(net.maxpool3, net.inception4a, net.inception4b, net.inception4c, net.inception4d, net.inception4e)
        ],
        "inception5": [net.maxpool4, net.inception5a, net.inception5b],
    }
    return _with_transformed_input(stages, net)


def _inception_v3(net):
    stages = {
        "stem": [
            *(net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3),
            *(net.maxpool1, net.Conv2d_3b_1x1, net.Conv2d_4a_3x3),
        ],
        "mixed5": [net.maxpool2, net.Mixed_5b, net.Mixed_5c, net.Mixed_5d],
        "mixed6": [net.Mixed_6a, net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e],
        "mixed7": [net.Mixed_7a, net.Mixed_7b, net.Mixed_7c],
    }
    return _with_transformed_input(stages, net)


def _with_transformed_input(stages, net):
    if net.transform_input:
        stages["stem"].insert(0, ImageNetToInception())
    return stages, nn.Sequential(net.dropout, net.fc) if _has_parameters(net.fc) else net.fc


_CHAINS = {
    models.AlexNet: ("alexnet", _vgg),
    models.ConvNeXt: ("convnext", _convnext),
    models.DenseNet: ("densenet", _densenet),
    models.EfficientNet: ("efficientnet", _plain_features),
    models.GoogLeNet: ("googlenet", _googlenet),
    models.Inception3: ("inception", _inception_v3),
    models.MaxVit: ("maxvit", _maxvit),
    models.MNASNet: ("mnasnet", _mnasnet),
    models.MobileNetV2: ("mobilenet_v2", _plain_features),
    models.MobileNetV3: ("mobilenet_v3", _mobilenet_v3),
    models.RegNet: ("regnet", _regnet),
    models.ResNet: ("resnet", _resnet),
    models.ShuffleNetV2: ("shufflenet", _shufflenet),
    models.SqueezeNet: ("squeezenet", _squeezenet),
    models.SwinTransformer: ("swin", _swin),
    models.VGG: ("vgg", _vgg),
    models.VisionTransformer: ("vit", _vit),
}
