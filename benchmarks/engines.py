"""Images per second of the network alone, on one thread: sktl's engines beside plain loops over the same network.

Run ``python benchmarks/engines.py [backbone …]``. Random weights and random images, already prepared. The roads of
others get them normalised, in float32; sktl normalises bytes within the time that is taken. All roads alternate, and
the table gives medians over the rounds, with least to greatest for the ratios.
"""

import copy
import statistics
import sys
import time

import torch
from _measure import header, seconds
from torch import nn
from torchvision import models

from sktl.backbones import load_backbone, pool
from sktl.inference import block_rows, resolve_placement
from sktl.inference._engines import frozen_function

N_IMAGES, BATCH, MAX_ROUNDS, MAX_SECONDS = 32, 32, 5, 10
FAMILIES = (
    *("tiny_fractal", "resnet18", "mobilenet_v2", "alexnet", "vgg11_bn", "squeezenet1_1", "densenet121", "googlenet"),
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
    "resnext50_32x4d": "resnext50_32x4d",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "vgg11_bn": "vgg11_bn",
    "vit_b_16": "vit_base_patch16_224",
}
ROADS = ("torchvision", "timm", "sktl torch", "ONNX Runtime", "sktl onnxruntime")


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
    if name == "tiny_fractal":
        backbone = load_backbone(name)
        return nn.Sequential(backbone.stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(1)).eval(), backbone
    options = {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    network = lively(models.get_model(name, weights=None, **options))
    preprocessing = load_backbone(name, weights=None).preprocessing
    return without_head(copy.deepcopy(network)), load_backbone(network, preprocessing=preprocessing)


def loop(function, images, rows):
    """Return a loop over blocks, which gives the outputs side by side."""

    def run():
        with torch.inference_mode():
            return torch.cat([function(images[start : start + rows]) for start in range(0, len(images), rows)])

    return run


def timm_network(name):
    """Return the same architecture of timm, or None."""
    try:
        import timm
    except ImportError:
        return None
    return lively(timm.create_model(TIMM[name], pretrained=False, num_classes=0)) if name in TIMM else None


def bare_onnx(backbone, normalised, rows):
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

    program = torch.onnx.export(Features().eval(), (normalised[:rows],), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return loop(lambda block: torch.from_numpy(session.run(None, {name: block.numpy()})[0]), normalised, rows)


def roads_of(name):
    """Return the loops by name, those that exist here, and the number of images and rows."""
    placement = resolve_placement("cpu", "float32")
    network, backbone = load(name)
    size = backbone.preprocessing.crop_size
    rows = block_rows(size, placement.device, BATCH)
    n_images = N_IMAGES if size > 100 else 10 * N_IMAGES
    images = torch.randint(0, 256, (n_images, 3, size, size), dtype=torch.uint8)
    normalised = backbone.preprocessing.normalize(images)
    twin = timm_network(name)
    roads = {"torchvision": loop(network, normalised, BATCH)}
    roads["timm"] = None if twin is None else loop(twin, normalised, BATCH)
    roads["ONNX Runtime"] = bare_onnx(backbone, normalised, rows)
    for engine in ("torch", "onnxruntime")[: 1 if roads["ONNX Runtime"] is None else 2]:
        function = frozen_function(
            backbone, (len(backbone.stages),), "auto", backbone.preprocessing, placement, rows, engine=engine
        )
        roads[f"sktl {engine}"] = loop(function, images, rows)
    return {key: road for key, road in roads.items() if road is not None}, n_images, f"{rows} x {size} px"


def measure(roads):
    """Return the seconds of all roads in each round; fewer rounds for slow networks."""
    for road in roads.values():
        road()
    rounds, start = [], time.perf_counter()
    while len(rounds) < MAX_ROUNDS and (not rounds or time.perf_counter() - start < MAX_SECONDS):
        rounds.append({key: seconds(road) for key, road in roads.items()})
    return rounds


def ratio(rounds, other, own):
    """Return the median ratio of speeds with its spread, as text."""
    if other not in rounds[0] or own not in rounds[0]:
        return "–"
    ratios = [one[other] / one[own] for one in rounds]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main():
    """Print one markdown table."""
    torch.set_num_threads(1)
    print(header(f"at most {MAX_ROUNDS} rounds", peers=("timm", "onnxruntime")))
    speeds = " | ".join(f"{road}, batch {BATCH}" if road in ROADS[:2] else f"{road}, blocks" for road in ROADS)
    ratios = "sktl torch / torchvision | sktl onnxruntime / torchvision | sktl onnxruntime / ONNX Runtime"
    print(f"| backbone, images/s | blocks | {speeds} | {ratios} | rounds |")
    print("|---" * 11 + "|")
    for name in sys.argv[1:] or FAMILIES:
        roads, n_images, blocks = roads_of(name)
        rounds = measure(roads)
        cells = [
            f"{n_images / statistics.median(one[road] for one in rounds):.1f}" if road in roads else "–"
            for road in ROADS
        ]
        pairs = (("torchvision", "sktl torch"), ("torchvision", "sktl onnxruntime"))
        cells += [ratio(rounds, *pair) for pair in (*pairs, ("ONNX Runtime", "sktl onnxruntime"))]
        print(f"| {name} | {blocks} | {' | '.join(cells)} | {len(rounds)} |", flush=True)


if __name__ == "__main__":
    main()
