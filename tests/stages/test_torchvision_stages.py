import copy
import gc
import inspect

import pytest
import torch
from torch import nn
from torchvision import models

from sktl.backbones import pool
from sktl.stages.torchvision_stages import auxiliary_heads, chain_of_known_family, is_known_family

# One small member of each family: input size in pixels, and the chain that it must have.
FAMILIES = {
    "alexnet": (64, "stage1 stage2 stage3 hidden"),
    "convnext_tiny": (64, "stem stage1 stage2 stage3 stage4"),
    "densenet121": (64, "stem denseblock1 denseblock2 denseblock3 denseblock4"),
    "efficientnet_b0": (64, "stem stage1 stage2 stage3 stage4"),
    "efficientnet_v2_s": (64, "stem stage1 stage2 stage3 stage4"),
    "googlenet": (64, "stem inception3 inception4 inception5"),
    "inception_v3": (96, "stem mixed5 mixed6 mixed7"),
    "maxvit_t": (224, "stem stage1 stage2 stage3 stage4 hidden"),
    "mnasnet0_5": (64, "stem stage1 stage2 stage3 stage4"),
    "mobilenet_v2": (64, "stem stage1 stage2 stage3 stage4"),
    "mobilenet_v3_large": (64, "stem stage1 stage2 stage3 stage4 hidden"),
    "mobilenet_v3_small": (64, "stem stage1 stage2 stage3 stage4 hidden"),
    "regnet_x_400mf": (64, "stem block1 block2 block3 block4"),
    "regnet_y_400mf": (64, "stem block1 block2 block3 block4"),
    "resnet18": (64, "stem layer1 layer2 layer3 layer4"),
    "resnext50_32x4d": (64, "stem layer1 layer2 layer3 layer4"),
    "shufflenet_v2_x0_5": (64, "stem stage2 stage3 stage4"),
    "squeezenet1_0": (64, "stem stage1 stage2 stage3"),
    "squeezenet1_1": (64, "stem stage1 stage2 stage3"),
    "swin_t": (64, "stem stage1 stage2 stage3 stage4"),
    "swin_v2_t": (64, "stem stage1 stage2 stage3 stage4"),
    "vgg11": (64, "stage1 stage2 stage3 stage4 stage5 hidden"),
    "vgg11_bn": (64, "stage1 stage2 stage3 stage4 stage5 hidden"),
    "vit_b_32": (64, "stem stage1 stage2 stage3 stage4"),
}
SMALL_INPUT = {"maxvit_t": 224, "inception_v3": 96}


def build(name, image_size):
    options = {"num_classes": 10}
    if name in ("googlenet", "inception_v3"):
        options.update(init_weights=False, transform_input=True, aux_logits=True)
    if name.startswith("vit_"):
        options["image_size"] = image_size
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, **options).eval().requires_grad_(False)
    # In a network fresh from the factory batch norm does next to nothing; with other statistics each of them counts.
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.2, 0.6)
    return network


def own_penultimate(network, images):
    """What the network itself hands to its last linear layer, and what it answers: the oracle."""
    linear = [part for part in network.modules() if isinstance(part, nn.Linear)]
    watched = linear[-1] if linear else network.classifier[1]
    seen = []
    hook = watched.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].clone()))
    logits = network(images)
    hook.remove()
    features = seen[-1]
    return features.mean((2, 3)) if features.ndim == 4 else features, logits


def check_chain(network, image_size):
    """Assert all that a chain promises, and return it."""
    images = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(1))
    expected, logits = own_penultimate(network, images)
    chain = chain_of_known_family(network)
    output = images
    for name, stage in chain.stages.named_children():
        before = output.clone()
        output, given = stage(output), output
        assert torch.equal(given, before), f"{name} changes its input in place"
    features = pool(output, "auto", chain.own_pooling)
    scale = expected.abs().max()
    assert scale > 0
    assert (features - expected).abs().max() <= 1e-6 * scale
    answered = chain.head(output if isinstance(network, models.SqueezeNet) else features)
    assert (answered - logits).abs().max() <= 1e-5 * logits.abs().max()
    assert_holds_every_parameter_once(chain, network)
    return chain


def assert_holds_every_parameter_once(chain, network):
    held = [id(each) for each in (*chain.stages.parameters(), *chain.head.parameters())]
    per_stage = [id(each) for stage in chain.stages for each in stage.parameters()]
    assert len(set(per_stage)) == len(per_stage)
    assert len(set(held)) == len(held)
    dropped = {name for name, each in network.named_parameters() if id(each) not in set(held)}
    assert all(name.split(".")[0] in auxiliary_heads(network) for name in dropped)
    assert set(held) <= {id(each) for each in network.parameters()}
    assert all(next(stage.parameters(), None) is not None for stage in chain.stages)


HEAVY = {"maxvit_t", "vgg11", "vgg11_bn"}  # which run with all other networks under slow


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in HEAVY])
def test_the_chain_gives_what_the_network_hands_to_its_head(name):
    image_size, stage_names = FAMILIES[name]
    chain = check_chain(build(name, image_size), image_size)
    assert [each for each, _ in chain.stages.named_children()] == stage_names.split()
    assert chain.own_pooling == ("token" if name.startswith("vit_") else "avg")


def test_the_family_of_every_model_of_torchvision_is_tried_above():
    def family(name):
        return inspect.signature(models.get_model_builder(name)).return_annotation

    tried = {family(name) for name in FAMILIES}
    assert len(tried) == 17
    assert {family(name) for name in models.list_models(module=models)} == tried


@pytest.mark.slow
@pytest.mark.parametrize("name", models.list_models(module=models))
def test_the_chain_of_every_model_of_torchvision(name):
    image_size = SMALL_INPUT.get(name, 224 if name.startswith("maxvit") else 64)
    image_size = 56 if name == "vit_h_14" else image_size
    check_chain(build(name, image_size), image_size)
    gc.collect()


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "maxvit_t"])
def test_stages_give_maps_with_channels_first(name):
    image_size, _ = FAMILIES[name]
    chain = chain_of_known_family(build(name, image_size))
    output, sizes = torch.zeros(1, 3, image_size, image_size), []
    for stage in chain.stages:
        output = stage(output)
        if output.ndim == 4:
            sizes.append(output.shape[1:])
    assert all(height == width for _, height, width in sizes)
    assert [height for _, height, _ in sizes] == sorted((height for _, height, _ in sizes), reverse=True)


@pytest.mark.parametrize(("name", "image_size"), [("vit_b_32", 64), ("maxvit_t", 224)])
def test_another_image_size_than_the_fixed_one_is_a_clear_error(name, image_size):
    chain = chain_of_known_family(build(name, image_size))
    with pytest.raises(ValueError, match=f"image_size must be {image_size} for this network.* Got 96 x 96 pixels"):
        chain.stages(torch.zeros(1, 3, 96, 96))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_input_is_transformed_only_where_the_network_does_it(name):
    plain = models.get_model(name, init_weights=False, transform_input=False, aux_logits=False).eval()
    images = torch.randn(1, 3, 96, 96)
    expected, _ = own_penultimate(plain, images)
    features = pool(chain_of_known_family(plain).stages(images))
    torch.testing.assert_close(features, expected)


def test_a_vision_transformer_with_a_hidden_layer_ends_in_a_stage_for_it():
    network = models.VisionTransformer(
        image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, representation_size=6
    ).eval()
    images = torch.randn(2, 3, 32, 32)
    chain = chain_of_known_family(network)
    assert [name for name, _ in chain.stages.named_children()] == ["stem", "stage1", "stage2", "hidden"]
    expected, _ = own_penultimate(network, images)
    torch.testing.assert_close(pool(chain.stages(images), "auto", chain.own_pooling), expected)


def test_a_vision_transformer_with_a_convolutional_stem_keeps_its_features():
    stem = [models.vision_transformer.ConvStemConfig(4, 3, 2), models.vision_transformer.ConvStemConfig(8, 3, 2)]
    network = models.VisionTransformer(
        image_size=32, patch_size=4, num_layers=5, num_heads=2, hidden_dim=8, mlp_dim=16, conv_stem_configs=stem
    ).eval()
    images = torch.randn(2, 3, 32, 32)
    chain = chain_of_known_family(network)
    expected, _ = own_penultimate(network, images)
    torch.testing.assert_close(pool(chain.stages(images), "auto", chain.own_pooling), expected)


def test_a_removed_classifier_is_no_head():
    network = models.resnet18(weights=None)
    network.fc = nn.Identity()
    assert chain_of_known_family(network).head is None


def test_a_chain_survives_a_copy():
    network = build("swin_t", 64)
    stages = chain_of_known_family(network).stages
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(copy.deepcopy(stages)(images), stages(images))


def test_strangers_are_refused():
    assert not is_known_family(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="no recipe for networks of class Linear"):
        chain_of_known_family(nn.Linear(2, 2))
