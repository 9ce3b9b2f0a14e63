"""Speed of bfloat16 against float32 on the CPU in one thread, with and without sums and ReLU computed by convolutions.

Run ``python benchmarks/precision.py [backbone …]``. Random weights and images; processor time of one block, all roads
in turns, so that other work on the machine matters little. Figures are medians, ratios with least to greatest.
"""

import argparse
import time
from unittest.mock import patch

import torch
from _measure import header, in_turns, print_table, spread
from engines import load

from sktl.inference import _engines, _folding, block_rows, resolve_placement
from sktl.inference._device import bfloat16_instructions

N_ROUNDS = 15
BACKBONES = (
    *("tiny_fractal", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0", "squeezenet1_1", "googlenet"),
    *("resnext50_32x4d", "vit_b_16"),
)
ROADS = {"float32": "float32", "bfloat16, step by step": "bfloat16", "bfloat16": "bfloat16"}


def road(backbone, images, name):
    """Return what runs one block: it gives the seconds of the processor and the vectors."""
    placement = resolve_placement("cpu", ROADS[name])
    _engines._chains.clear()  # of the road before, which is the same network in the same precision
    cuts = (len(backbone.stages),)
    with patch.object(_folding, "fuse_followers", _folding.fuse_followers if name == "bfloat16" else lambda *_: None):
        function = _engines.frozen_function(backbone, cuts, "auto", backbone.preprocessing, placement)

    def run():
        with torch.inference_mode(), placement.autocast():
            start = time.process_time()
            vectors = function(images)
            return time.process_time() - start, vectors

    run()
    return run


def row_of(name):
    """Measure one network."""
    _, backbone = load(name)
    size = backbone.preprocessing.crop_size
    n_rows = block_rows(size, torch.device("cpu"), 1)
    images = torch.randint(0, 256, (n_rows, 3, size, size), dtype=torch.uint8)
    rounds = in_turns({each: road(backbone, images, each) for each in ROADS}, N_ROUNDS)
    times = {each: [seconds for seconds, _ in results] for each, results in rounds.items()}
    exact, *others = (results[0][1] for results in rounds.values())
    single, steps, both = times.values()
    return [
        f"{name} ({size} px)",
        *(spread([n_rows / seconds for seconds in each]).split(" ")[0] for each in (single, steps, both)),
        spread([a / b for a, b in zip(single, both, strict=True)], ".2f"),
        spread([a / b for a, b in zip(steps, both, strict=True)], ".2f"),
        *(f"{100 * float((other - exact).norm() / exact.norm()):.2f} %" for other in others),
    ]


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(header(f"{bfloat16_instructions() or 'no instructions for bfloat16'}; {N_ROUNDS} rounds"))
    ratios = ["bfloat16 / float32", "bfloat16 / step by step"]
    differences = ["difference of vectors, step by step", "difference of vectors"]
    print_table(["backbone, images/s", *ROADS, *ratios, *differences], [row_of(name) for name in arguments.backbones])


if __name__ == "__main__":
    main()
