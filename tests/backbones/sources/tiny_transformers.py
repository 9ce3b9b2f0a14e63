"""Tiny networks of transformers with random weights: name → (class, configuration)."""

import torch
import transformers

_TOKENS = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
_VIT = {**_TOKENS, "intermediate_size": 64}
_DINO = {**_TOKENS, "mlp_ratio": 2}
_FOUR = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
_RESIDUAL = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 2, 1]}
_WINDOWS = {"patch_size": 4, "embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 2], "window_size": 2}
_PYRAMID = {**_FOUR, "num_attention_heads": [1, 1, 2, 2]}
_TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
_TOWERS = {"vision_config": _VIT, "text_config": {**_TEXT, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}}
_MOBILE = {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64]}
_LEVIT = {"hidden_sizes": [16, 24, 32], "num_attention_heads": [1, 2, 2], "depths": [1, 2, 1], "key_dim": [8] * 3}
N_CLASSES = 5
# Name of the classes → what follows in the names of the classes, configuration.
_FAMILIES = {
    "ViT": _VIT,
    "DeiT": _VIT,
    "ViTMSN": _VIT,
    "IJepa": _VIT,
    "Beit": _VIT,
    "Data2VecVision": _VIT,
    "Dinov2": _DINO,
    "Dinov2WithRegisters": _DINO,
    "Swin": {**_WINDOWS, "image_size": 64},
    "Swinv2": {**_WINDOWS, "image_size": 64},
    "ConvNext": {**_FOUR, "image_size": 64},
    "ConvNextV2": {**_FOUR, "image_size": 64},
    "ResNet": _RESIDUAL,
    "RegNet": {**_RESIDUAL, "groups_width": 8},
    "Bit": {**_RESIDUAL, "num_groups": 8},
    "MobileNetV1": {"depth_multiplier": 0.25, "image_size": 64},
    "MobileNetV2": {"depth_multiplier": 0.25, "image_size": 64},
    "MobileViT": {**_MOBILE, "image_size": 64},
    "EfficientNet": {"width_coefficient": 0.25, "depth_coefficient": 0.5, "hidden_dim": 320, "image_size": 64},
    "Segformer": {**_PYRAMID, "image_size": 64},
    "Pvt": {**_PYRAMID, "image_size": 64},
    "PvtV2": {**_PYRAMID, "image_size": 64},
    "PoolFormer": _FOUR,
    "Levit": {**_LEVIT, "image_size": 64},
    "SwiftFormer": {"embed_dims": [8, 16, 24, 32], "depths": [1, 1, 2, 1], "image_size": 64},
    "FocalNet": {"embed_dim": 16, "depths": [1, 1, 2, 1], "image_size": 64},
    "Hiera": {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "image_size": [64, 64]},
}
BASE_MODELS = (
    *(f"{family}Model" for family in _FAMILIES),
    "DINOv3ViTModel",
    "DINOv3ConvNextModel",
    "CLIPVisionModel",
    "SiglipVisionModel",
)
CLASSIFIERS = (
    *(f"{family}ForImageClassification" for family in _FAMILIES if family != "ViTMAE"),
    "DeiTForImageClassificationWithTeacher",
    "LevitForImageClassificationWithTeacher",
    "CLIPForImageClassification",
    "SiglipForImageClassification",
)
_OTHERS = {
    "DINOv3ViT": {**_VIT, "num_register_tokens": 2},
    "DINOv3ConvNext": {**_FOUR, "image_size": 64},
    "CLIPVision": _VIT,
    "SiglipVision": _VIT,
    "CLIP": _TOWERS,
    "Siglip": _TOWERS,
    "ViTMAE": {**_VIT, "decoder_hidden_size": 32, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1},
}


def tiny(name, **options):
    """Make a network by the name of its class, in eval mode; tensors that start from zero are filled."""
    family = next(each for each in ("ForImageClassification", "ForPreTraining", "Model") if each in name)
    family = name[: name.index(family)]
    values = {**_FAMILIES, **_OTHERS}[family]
    configuration = getattr(transformers, f"{family}Config")(**{**values, "num_labels": N_CLASSES, **options})
    torch.manual_seed(0)
    network = getattr(transformers, name)(configuration).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return network


def saved(name, folder, **options):
    """Write such a network into a folder, and return it."""
    network = tiny(name, **options)
    network.save_pretrained(folder)
    return network
