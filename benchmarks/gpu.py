"""Everything that an accelerator does: is it right, and how fast is it? One command, one table.

    python benchmarks/gpu.py                   # on a CUDA device; some minutes
    python benchmarks/gpu.py --device cpu      # the same checks at small size, where there is none
    python benchmarks/gpu.py --device pretend  # likewise, on a device that refuses to be mixed with the CPU
    python benchmarks/gpu.py --only depth      # the checks whose names hold a word

Nothing is downloaded: weights are random, or those of the bundled network. The checks come first; one that fails stops
no other, its error stands under the table, and the exit status is 1. Then speeds: roads take turns, and the last column
says how many times as fast each is as the first of its kind. No speed is measured where vectors are wrong.
"""

import argparse
import copy
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import _pretended_device
import numpy as np
import torch
import torchvision
from _device_checks import CHECKS, Here, run_check
from _measure import header, in_turns, make_arrays, make_photos, print_table, seconds, spread
from cold import Photos
from engines import load
from torch import nn
from torch.nn import functional as F

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.inference import block_rows, resolve_placement
from sktl.inference._blocks import map_blocks
from sktl.inference._engines import frozen_function

BUDGET = 440  # seconds, after which nothing new is begun
ROUNDS, BATCH, EPOCHS = 3, 256, 5
OF_VECTORS = ("vectors in float32", "vectors in bfloat16")


def checks(here, only, deadline):
    """Return a row for each check, and the tracebacks of those that failed."""
    rows, errors = [], {}
    for name, function in CHECKS:
        if only not in name:
            continue
        began = time.perf_counter()
        late = began > deadline
        result, figure, error = ("skip", "no time left", "") if late else run_check(function, here)
        rows.append((name, result, figure, f"{time.perf_counter() - began:.1f} s"))
        print(f"{result:4} {name}", file=sys.stderr, flush=True)
        if error:
            errors[name] = error
    return rows, errors


# speeds


class Peer:
    """The loop that one would write: bfloat16, channels-last, compiled where that pays, copies from pinned memory."""

    def __init__(self, network, preprocessing, device, *, compiles):
        self.device = device
        shape = (1, 3, 1, 1)
        self.mean, self.std = (
            torch.tensor(values, device=device).view(shape) for values in (preprocessing.mean, preprocessing.std)
        )
        network = copy.deepcopy(network).to(device, torch.bfloat16, memory_format=torch.channels_last).eval()
        self.network = torch.compile(network) if compiles else network

    def __call__(self, images):
        """Return the outputs for bytes on the CPU, or on the device already."""
        if self.device.type == "cuda" and images.device.type == "cpu":
            images = images.pin_memory().to(self.device, non_blocking=True)
        images = (images.float() / 255 - self.mean) / self.std
        images = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        return self.network(images).float()

    def over(self, batches):
        """Return the outputs for all batches, on the CPU."""
        with torch.inference_mode():
            return torch.cat([self(batch) for batch in batches]).cpu()


def from_tensors(here, name):
    """Return roads from prepared bytes in memory to vectors, and the number of images."""
    network, backbone = load(name)
    preprocessing = backbone.preprocessing
    size, n_images = (64, 32) if here.is_small else (preprocessing.crop_size, 4096)
    preprocessing = preprocessing.resized(size)
    images = torch.from_numpy(make_arrays(min(n_images, 512), size)).permute(0, 3, 1, 2).contiguous()
    images = images.repeat(max(n_images // 512, 1), 1, 1, 1)
    peer = Peer(network, preprocessing, here.device, compiles=not here.is_small)

    def ours(batch, precision):
        placement = resolve_placement(here.device, precision)
        rows = block_rows(size, here.device, batch)
        function = frozen_function(backbone, (len(backbone.stages),), "auto", preprocessing, placement)
        return lambda: torch.cat(list(map_blocks(function, images.split(rows), placement, rows)))

    return {
        "loop": lambda: peer.over(images.split(BATCH)),
        f"sktl, batch_size={BATCH}": ours(BATCH, "bfloat16"),
        "sktl, batch_size=32": ours(32, "bfloat16"),
        f"sktl, batch_size={BATCH}, float32": ours(BATCH, "float32"),
    }, len(images)


def from_files(here, name, folder):
    """Return roads from JPEG files to vectors, and the number of images."""
    network, backbone = load(name)
    n_images = 16 if here.is_small else 2048
    paths = make_photos(folder, min(n_images, 256)) * max(n_images // 256, 1)
    size = 64 if here.is_small else backbone.preprocessing.crop_size
    peer = Peer(network, backbone.preprocessing, here.device, compiles=not here.is_small)
    transform = torchvision.transforms.v2.Compose(
        [torchvision.transforms.v2.Resize((size, size)), torchvision.transforms.v2.PILToTensor()]
    )
    n_workers = 0 if here.is_small else min(os.cpu_count() or 1, 16)

    def with_workers():
        data = torch.utils.data.DataLoader(Photos(paths, transform), BATCH, num_workers=n_workers)
        return peer.over(images for images, _ in data)

    def decoded_on_the_device():
        def batches():
            for start in range(0, len(paths), BATCH):
                files = [
                    torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8)
                    for path in paths[start : start + BATCH]
                ]
                pictures = torch.stack(torchvision.io.decode_jpeg(files, device=str(here.device)))
                sides = {"size": (size, size), "mode": "bilinear", "antialias": True}
                yield F.interpolate(pictures.float(), **sides).round().clamp(0, 255).to(torch.uint8)

        return peer.over(batches())

    def ours(n_jobs, batch):
        options = {"device": str(here.device), "precision": "bfloat16", "cache": False, "image_size": size}
        extractor = PretrainedFeatureExtractor(backbone, n_jobs=n_jobs, batch_size=batch, **options)
        return lambda: extractor.fit(paths[:1]).transform(paths)

    roads = {"loop with a DataLoader": with_workers}
    if here.device.type == "cuda":
        roads["loop that decodes on the device"] = decoded_on_the_device
    return roads | {"sktl, n_jobs=-1": ours(-1, BATCH), "sktl, default": ours(None, 32)}, len(paths)


def of_training(here, name):
    """Return roads that train the head and the top stage, and the number of images seen, with and without views."""
    _, backbone = load(name)
    size, n_images, n_classes = (64, 16, 2) if here.is_small else (backbone.preprocessing.crop_size, 512, 8)
    epochs = 1 if here.is_small else EPOCHS
    images, y = make_arrays(n_images, size), np.arange(n_images) % n_classes
    bytes_ = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def loop():
        torch.manual_seed(0)
        stages = copy.deepcopy(backbone.stages).to(here.device, memory_format=torch.channels_last).requires_grad_(False)
        stages[-1].requires_grad_(True)
        head = nn.Linear(backbone.n_features, n_classes).to(here.device)
        mean, std = (
            torch.tensor(each, device=here.device).view(3, 1, 1)
            for each in (backbone.preprocessing.mean, backbone.preprocessing.std)
        )
        parameters = [*stages[-1].parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, 1e-3, fused=True)
        X, targets = bytes_.to(here.device), torch.from_numpy(y).to(here.device)
        for _ in range(epochs):
            for rows in torch.randperm(n_images, device=here.device).split(32):
                batch = ((X[rows].float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
                with torch.autocast(here.device.type, torch.bfloat16):
                    with torch.no_grad():
                        maps = stages[:-1](batch)
                    features = stages[-1](maps).flatten(2).mean(2)
                    loss = F.cross_entropy(head(features), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return float(loss)

    def ours(**options):
        options = {"device": str(here.device), "precision": "bfloat16", "random_state": 0, "cache": False, **options}
        model = FineTuneClassifier(backbone, image_size=size, max_epochs=epochs, **options)
        return lambda: model.fit(images, y)

    return {"loop": loop, "sktl, augment=None": ours(augment=None), "sktl, default": ours()}, n_images * epochs


def speeds(here, what, roads, n_images):
    """Return a row for each road: images per second, and the ratio of sktl to the first loop."""
    for road in roads.values():
        road()  # compiles, and moves weights
    taken = in_turns(
        {name: lambda road=road: seconds(road) for name, road in roads.items()}, 1 if here.is_small else ROUNDS
    )
    first = next(iter(roads))
    rows = []
    for name, times in taken.items():
        ratios = [loop / own for loop, own in zip(taken[first], times, strict=True)]
        rows.append(
            (
                f"{what}: {name}",
                "",
                f"{spread([n_images / each for each in times], '.0f')} images/s",
                spread(ratios, ".2f"),
            )
        )
    return rows


def all_speeds(here, deadline):
    """Return the rows of all speeds for which there is time; what breaks is a row as well."""
    rows, names = [], ("resnet18",) if here.is_small else ("resnet50", "vit_b_16")
    with tempfile.TemporaryDirectory() as folder:
        plans = [(f"{name} from tensors", from_tensors, (name,)) for name in names]
        plans += [(f"{names[0]} from JPEG files", from_files, (names[0], folder))]
        plans += [(f"{names[0]} trained at depth 1", of_training, (names[0],))]
        for what, plan, arguments in plans:
            if time.perf_counter() > deadline:
                rows.append((what, "skip", "no time left", ""))
                continue
            try:
                rows += speeds(here, what, *plan(here, *arguments))
            except Exception as error:
                rows.append((what, "FAIL", f"{type(error).__name__}: {' '.join(str(error).split())[:150]}", ""))
    return rows


def main():
    """Print the table, and what failed below it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu, pretend")
    parser.add_argument("--only", default="", help="the checks whose names hold this, and no speeds")
    options = parser.parse_args()
    is_pretended = options.device == "pretend"
    if is_pretended:
        _pretended_device.install()
    device = resolve_placement("cuda" if is_pretended else options.device).device
    here = Here(device, is_small=is_pretended or device.type != "cuda", is_pretended=is_pretended)
    deadline = time.perf_counter() + BUDGET
    warnings.simplefilter("ignore")  # of photographs shown to the bundled network
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(header(kind, f"CUDA {torch.version.cuda}"))
    rows, errors = checks(here, options.only, deadline)
    are_right = not any(name in errors for name in OF_VECTORS)
    if are_right and not options.only and not is_pretended:
        rows += all_speeds(here, deadline)
    print_table(("what", "result", "figure", "seconds; ratio"), rows)
    for name, error in errors.items():
        print(f"\n{name}\n{error}")
    results = [row[1] for row in rows]
    print(f"\n{results.count('pass')} passed, {results.count('FAIL')} failed, {results.count('skip')} skipped")
    return int("FAIL" in results)


if __name__ == "__main__":
    raise SystemExit(main())
