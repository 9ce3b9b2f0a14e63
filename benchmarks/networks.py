"""What the table of docs/user_guide/choosing_a_network.md says of each network: its size, and its speed on this CPU.

Run ``OMP_NUM_THREADS=1 python benchmarks/networks.py [backbone …]``. The network alone, in float32 with
``engine="torch"``, on prepared random images. Seconds are those of the processor, so that other work on the machine
matters little. Weights that would be downloaded are random, which changes no time. Figures are medians, with least to
greatest.
"""

import argparse
import time

import torch
from _measure import header, print_table, spread
from engines import load, own_road

from sktl.backbones import Preprocessing, load_backbone
from sktl.inference import block_rows

N_ROUNDS, SECONDS = 5, 0.25
BUNDLED = ("tiny_fractal", "tiny_formula", "efficientnet_lite0")
DINOV2 = "facebook/dinov2-small"
NETWORKS = (
    *BUNDLED,
    *("mobilenet_v3_small", "mobilenet_v2", "resnet18", "efficientnet_b0", "resnet50", "convnext_tiny", "vit_b_16"),
    *("timm/convnext_nano", "timm/vit_small_patch16_224", DINOV2),
)


def backbone_of(name):
    """Return the record of a network, without a download."""
    if name in BUNDLED:
        return load_backbone(name)
    if name.startswith("timm/"):
        return load_backbone(name, weights=None, random_state=0)
    return _dinov2() if name == DINOV2 else load(name)[1]


def _dinov2():
    from transformers import Dinov2Config, Dinov2Model

    small = Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14)
    preprocessing = Preprocessing(crop_size=224, resize_size=256, interpolation="bicubic")
    return load_backbone(Dinov2Model(small).eval(), preprocessing=preprocessing)


def seconds(function):
    """Return what a call takes of the processor."""
    start = time.process_time()
    function()
    return time.process_time() - start


def row_of(name):
    """Count one network, and time it on as many images as it embeds in about a quarter of a second."""
    backbone = backbone_of(name)
    size = backbone.preprocessing.crop_size
    rows = block_rows(size, torch.device("cpu"), 32)

    def road(n_images):
        return own_road(backbone, torch.randint(0, 256, (n_images, 3, size, size), dtype=torch.uint8), rows, "float32")

    n_images = 2 * rows
    road(n_images)()  # makes the fast copy of the network
    n_images *= max(1, round(SECONDS / seconds(road(n_images))))
    run = road(n_images)
    speeds = [n_images / seconds(run) for _ in range(N_ROUNDS)]
    parts = [backbone.stages] if backbone.head is None else [backbone.stages, backbone.head]
    n_parameters = sum(each.numel() for part in parts for each in part.parameters())
    return [f"`{name}`", f"{n_parameters / 1e6:.1f} M", str(size), spread(speeds)]


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=NETWORKS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(header(f"{N_ROUNDS} rounds", peers=("timm", "transformers")))
    rows = (row_of(name) for name in arguments.backbones)
    print_table(("`backbone=`", "parameters", "pixels", "images/s"), rows)


if __name__ == "__main__":
    main()
