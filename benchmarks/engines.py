"""Images per second of the network alone: sktl's engines and precisions beside plain loops over the same network.

Run ``python benchmarks/engines.py [--threads N] [backbone …]``. Random weights and random images, as bytes of the
network's size: each road takes them from there to vectors, and the one before the last column tells what normalising
alone takes of the others' time. With several threads others share out the work of one batch, sktl runs blocks side by
side. All roads alternate, and the table gives medians over the rounds, with least to greatest for the ratios.
"""

import argparse
import copy
import statistics
import time

import numpy as np
import torch
from _measure import header, seconds
from torch import nn
from torchvision import models

from sktl.backbones import load_backbone, pool
from sktl.inference import block_rows, resolve_placement
from sktl.inference._blocks import map_blocks
from sktl.inference._device import bfloat16_instructions
from sktl.inference._engines import frozen_function

N_IMAGES, BATCH, MAX_ROUNDS, MAX_SECONDS = 64, 32, 5, 10
# Seconds before each road: idle threads of ONNX Runtime and OpenMP look for work for a while, at the cost of the next.
PAUSE = 0.1
FAMILIES = (
    *("tiny_fractal", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0", "alexnet", "vgg11_bn"),
    *("squeezenet1_1", "densenet121", "googlenet"),
    *("inception_v3", "shufflenet_v2_x1_0", "mobilenet_v3_small", "efficientnet_b0", "mnasnet0_5", "regnet_y_400mf"),
    *("resnext50_32x4d", "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"),
)
# Where timm has the same architecture under another name, or under the same.
TIMM = {
    "convnext_tiny": "convnext_tiny",
    "densenet121": "densenet121",
    "efficientnet_b0": "efficientnet_b0",
    "inception_v3": "inception_v3",
    "mnasnet0_5": "mnasnet_050",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "regnet_y_400mf": "regnety_004",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnext50_32x4d": "resnext50_32x4d",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "vgg11_bn": "vgg11_bn",
    "vit_b_16": "vit_base_patch16_224",
}
# Peers in float32, ours in float32, and both in bfloat16.
PEERS = ("torchvision", "channels-last", "timm", "ONNX Runtime", "ONNX Runtime, batch")
OURS = ("sktl torch", "sktl onnxruntime")
HALF = ("autocast by hand", "sktl bfloat16")
ROADS = (*PEERS, *OURS, *HALF)
NORMALISING = "normalising alone, % of best peer"


def lively(network):
    """Give batch norms statistics of a trained kind: fresh ones let the signal fade into numbers that slow a CPU."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def without_head(network):
    """Replace the last linear layer, as one does for features."""
    linear = [name for name, part in network.named_modules() if type(part) is nn.Linear]
    if linear:
        network.set_submodule(linear[-1], nn.Identity())
    return network


def load(name):
    """Return a network as a user runs it, and its backbone."""
    torch.manual_seed(0)
    if name in ("tiny_fractal", "efficientnet_lite0"):  # with their own weights
        backbone = load_backbone(name)
        return nn.Sequential(backbone.stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(1)).eval(), backbone
    options = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    network = lively(models.get_model(name, weights=None, **options))
    preprocessing = load_backbone(name, weights=None).preprocessing
    return without_head(copy.deepcopy(network)), load_backbone(network, preprocessing=preprocessing)


def normalize_in(memory_format, preprocessing):
    """Return bytes to the numbers that a network takes: one copy in its memory format, the rest in place."""
    shift, scale = shift_and_scale(preprocessing)

    def normalize(block):
        return block.to(torch.float32, memory_format=memory_format).mul_(scale).add_(shift)

    return normalize


def normalize_by_numpy(preprocessing):
    """Return the same for ONNX Runtime, whose threads those of torch would hold up."""
    shift, scale = (values.numpy() for values in shift_and_scale(preprocessing))

    def normalize(block):
        numbers = block.numpy().astype(np.float32)
        numbers *= scale
        numbers += shift
        return torch.from_numpy(numbers)

    return normalize


def shift_and_scale(preprocessing):
    """Return what is added to bytes after they were multiplied, for each channel."""
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return -mean / std, 1 / std


def loop(function, normalize, images, rows):
    """Return a loop over blocks, which gives the outputs side by side."""

    def run():
        with torch.inference_mode():
            blocks = (normalize(images[start : start + rows]) for start in range(0, len(images), rows))
            return torch.cat([function(block) for block in blocks])

    return run


def timm_network(name):
    """Return the same architecture of timm, or None."""
    try:
        import timm
    except ImportError:
        return None
    return lively(timm.create_model(TIMM[name], pretrained=False, num_classes=0)) if name in TIMM else None


def bare_onnx(backbone, normalize, images, rows, threads):
    """Return the loop that a user of ONNX Runtime would write, or None."""
    try:
        import onnxruntime
    except ImportError:
        return None

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = copy.deepcopy(backbone.stages)

        def forward(self, images):
            return pool(self.stages(images), "auto", backbone.own_pooling)

    program = torch.onnx.export(Features().eval(), (normalize(images[:rows]),), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return loop(lambda block: torch.from_numpy(session.run(None, {name: block.numpy()})[0]), normalize, images, rows)


def in_half(function):
    """Return a function under autocast, as one writes it by hand."""

    def run(block):
        with torch.autocast("cpu", torch.bfloat16):
            return function(block).float()

    return run


def own_road(backbone, images, rows, precision, engine="torch"):
    """Return sktl's own loop over blocks."""
    placement = resolve_placement("cpu", precision)
    cuts = (len(backbone.stages),)
    function = frozen_function(backbone, cuts, "auto", backbone.preprocessing, placement, engine=engine)
    return lambda: torch.cat(list(map_blocks(function, images.split(rows), placement, rows)))


def roads_of(name, threads):
    """Return the loops by name, those that exist here, and the number of images and rows."""
    network, backbone = load(name)
    size = backbone.preprocessing.crop_size
    rows = block_rows(size, torch.device("cpu"), BATCH)
    n_images = N_IMAGES if size > 100 else 10 * N_IMAGES
    images = torch.randint(0, 256, (n_images, 3, size, size), dtype=torch.uint8)
    plain = normalize_in(torch.contiguous_format, backbone.preprocessing)
    to_last = normalize_in(torch.channels_last, backbone.preprocessing)
    by_numpy = normalize_by_numpy(backbone.preprocessing)
    twin, last = timm_network(name), copy.deepcopy(network).to(memory_format=torch.channels_last)
    roads = {"torchvision": loop(network, plain, images, BATCH), "channels-last": loop(last, to_last, images, BATCH)}
    roads["timm"] = None if twin is None else loop(twin, plain, images, BATCH)
    roads["ONNX Runtime"] = bare_onnx(backbone, by_numpy, images, rows, threads)
    if roads["ONNX Runtime"] is not None:
        roads["sktl onnxruntime"] = own_road(backbone, images, rows, "float32", "onnxruntime")
        roads["ONNX Runtime, batch"] = bare_onnx(backbone, by_numpy, images, BATCH, threads) if threads > 1 else None
    roads["sktl torch"] = own_road(backbone, images, rows, "float32")
    roads["autocast by hand"] = loop(in_half(last), to_last, images, BATCH)
    roads["sktl bfloat16"] = own_road(backbone, images, rows, "bfloat16")
    roads[NORMALISING] = loop(lambda block: block[:, 0, 0, 0], by_numpy, images, rows)
    return {key: road for key, road in roads.items() if road is not None}, n_images, f"{rows} x {size} px"


def measure(roads):
    """Return the seconds of all roads in each round; fewer rounds for slow networks."""

    def alone(road):
        time.sleep(PAUSE)
        return seconds(road)

    for road in roads.values():
        road()
    rounds, start = [], time.perf_counter()
    while len(rounds) < MAX_ROUNDS and (not rounds or time.perf_counter() - start < MAX_SECONDS):
        rounds.append({key: alone(road) for key, road in roads.items()})
    return rounds


def ratio(rounds, others, own):
    """Return the median ratio of speeds, of the best of each in every round, with its spread, as text."""
    ratios = [
        min(one[road] for road in others if road in one) / min(one[road] for road in own if road in one)
        for one in rounds
    ]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("backbones", nargs="*", default=FAMILIES)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    instructions = bfloat16_instructions() or "no instructions for bfloat16"
    print(header(f"{instructions}; at most {MAX_ROUNDS} rounds", peers=("timm", "onnxruntime")))
    ratios = ("torch / torchvision", "torch / best peer, float32", "best / best peer, float32", "bfloat16 / torch")
    ratios = " | ".join(f"sktl {ratio}" for ratio in ratios)
    print(f"| backbone, images/s | blocks | {' | '.join(ROADS)} | {ratios} | {NORMALISING} | rounds |")
    print("|---" * (len(ROADS) + 8) + "|")
    for name in arguments.backbones:
        roads, n_images, blocks = roads_of(name, arguments.threads)
        rounds = measure(roads)
        cells = [
            f"{n_images / statistics.median(one[road] for one in rounds):.1f}" if road in roads else "–"
            for road in ROADS
        ]
        pairs = ((PEERS[:1], OURS[:1]), (PEERS, OURS[:1]), (PEERS, OURS), (OURS[:1], HALF[1:]))
        cells += [ratio(rounds, *pair) for pair in pairs]
        shares = [one[NORMALISING] / min(one[road] for road in PEERS if road in one) for one in rounds]
        cells.append(f"{100 * statistics.median(shares):.1f}")
        print(f"| {name} | {blocks} | {' | '.join(cells)} | {len(rounds)} |", flush=True)


if __name__ == "__main__":
    main()
