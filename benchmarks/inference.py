"""Images per second from files to vectors: sktl beside the plain torchvision loop that a user would write.

Run with ``make bench``, or ``python benchmarks/inference.py [backbone …]``. Random weights, photos made of noise and
saved as JPEG; both roads alternate within one run, and the table gives medians over the rounds.
"""

import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

import sktl
from sktl import PretrainedFeatureExtractor

N_IMAGES, N_ROUNDS, BATCH = 48, 5, 32


def make_photos(folder):
    """Write photos of 500 x 375 pixels with structure at several scales."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(N_IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        path = folder / f"{i}.jpg"
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=85)
        paths.append(str(path))
    return paths


def plain_loop(name, paths):
    """Return what a user would write with torchvision alone."""
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    model = torchvision.models.get_model(name, weights=None).eval()
    transform = weights.transforms()
    features = []
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.register_forward_hook(lambda module, inputs, output: features.append(inputs[0]))

    def run():
        features.clear()
        with torch.inference_mode():
            for start in range(0, len(paths), BATCH):
                images = [Image.open(path).convert("RGB") for path in paths[start : start + BATCH]]
                model(torch.stack([transform(image) for image in images]))
        return torch.cat(features).numpy()

    return run


def seconds(function):
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(name, paths):
    """Return the median images per second of both roads, and the median ratio over the rounds."""
    extractor = PretrainedFeatureExtractor(name, weights=None, random_state=0, device="cpu").fit(paths)
    roads = {"plain": plain_loop(name, paths), "sktl": lambda: extractor.transform(paths)}
    for road in roads.values():
        road()
    rounds = [{key: seconds(road) for key, road in roads.items()} for _ in range(N_ROUNDS)]
    ratios = [one["plain"] / one["sktl"] for one in rounds]
    speed = {key: N_IMAGES / statistics.median(one[key] for one in rounds) for key in roads}
    return speed, statistics.median(ratios), min(ratios), max(ratios)


def main():
    """Print one markdown table."""
    names = sys.argv[1:] or ["resnet18", "mobilenet_v2"]
    print(
        f"{platform.machine()} CPU, {torch.get_num_threads()} torch thread(s), {N_IMAGES} JPEG photos of 500 x 375 "
        f"pixels, {N_ROUNDS} rounds; sktl {sktl.__version__}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}\n"
    )
    print("| backbone | plain torchvision loop, images/s | sktl, images/s | sktl / plain, median (least to greatest) |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(Path(folder))
        for name in names:
            speed, ratio, least, greatest = compare(name, paths)
            print(
                f"| {name} | {speed['plain']:.1f} | {speed['sktl']:.1f} | {ratio:.2f} ({least:.2f} to {greatest:.2f}) |"
            )


if __name__ == "__main__":
    main()
