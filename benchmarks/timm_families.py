"""Stages of timm's families, with random weights: how many, how heavy the top one is, and how exact the features are.

Prints a table as docs/user_guide/timm.md has it. Arguments are architectures; without them, one of each family.
"""

import sys
import warnings

import timm
import torch

from sktl.backbones import load_backbone, pool, seeded

FAMILIES = """
beit_base_patch16_224 cait_xxs24_224 coat_tiny coatnet_nano_rw_224 convit_tiny convmixer_768_32 convnext_atto
convnextv2_atto cs3darknet_focus_s cspnext_tiny davit_tiny deit_tiny_patch16_224 deit_tiny_distilled_patch16_224
densenet121 dla46x_c dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_b0
efficientnet_lite0 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 focalnet_tiny_srf
gcvit_xxtiny gernet_s ghostnet_050 gmlp_ti16_224 halonet_h1 hardcorenas_a hgnetv2_b0 hiera_tiny_224 hrnet_w18_small
iformer_t inception_next_atto inception_v3 lcnet_050 levit_128s levit_256d mambaout_femto maxvit_pico_rw_256
mixer_s32_224 mnasnet_small mobilenetv3_small_050 mobilenetv4_conv_small mobilevit_xxs mvitv2_tiny nest_tiny
nextvit_small nf_regnet_b0 pit_ti_224 pit_ti_distilled_224 poolformer_s12 pvt_v2_b0 regnetx_002 repghostnet_050
repvgg_a0 repvit_m1 res2net50_14w_8s resmlp_12_224 resnest14d resnet10t resnet50 resnetv2_18 rexnet_100 selecsls42
sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256
swinv2_cr_tiny_ns_224 tf_efficientnet_lite0 tiny_vit_5m_224 tinynet_e tnt_s_patch16_224 tresnet_m twins_pcpvt_small
vgg11_bn visformer_tiny vit_small_patch14_reg4_dinov2 vit_small_patch16_dinov3 vit_tiny_patch16_224
vit_base_patch16_siglip_gap_224 vit_base_patch16_siglip_224 vit_relpos_small_patch16_224 volo_d1_224
vovnet39a xception41 xcit_nano_12_p8_224 crossvit_tiny_240 efficientvim_m1
""".split()  # noqa: SIM905


def main():
    """Print one row for each architecture."""
    print("| architecture | weights | stages | top stage | difference |")
    print("|---|---|---|---|---|")
    for name in sys.argv[1:] or FAMILIES:
        print(row(name), flush=True)


def row(name):
    """Return a row of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # those that are one whole stage show it
        backbone = load_backbone(f"timm/{name}", None, random_state=0)
    weights = [sum(parameter.numel() for parameter in stage.parameters()) for stage in backbone.stages]
    return (
        f"| {name} | {sum(weights) / 1e6:.1f} M | {', '.join(backbone.stage_names)} | "
        f"{weights[-1] / sum(weights):.0%} | {difference(name, backbone):.1g} |"
    )


def difference(name, backbone):
    """Return the largest difference between pooled stages and timm's own features, relative to the largest feature."""
    with seeded(0):
        network = timm.create_model(name).eval()
    size = backbone.preprocessing.crop_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(images), pre_logits=True)
        found = pool(backbone.stages(images), "auto", backbone.own_pooling)
    return float((found - expected).abs().max() / expected.abs().max())


if __name__ == "__main__":
    main()
