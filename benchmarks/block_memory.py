"""What it costs when each block of images is given fresh memory, in one thread on the CPU.

Run ``python benchmarks/block_memory.py [backbone …]``. Processor time and fresh pages for an image, with what sktl does
so that glibc keeps the memory of one block for the next, and without. glibc never forgets what it has learnt, so each
figure comes from a process of its own; medians of three, with least to greatest.
"""

import argparse
import resource
import subprocess
import sys

import torch
from _measure import header, print_table, spread
from engines import load, own_road

from sktl.inference import _blocks, block_rows

N_IMAGES, N_RUNS, N_PROCESSES = 16, 5, 3
BACKBONES = ("mobilenet_v2", "efficientnet_lite0", "squeezenet1_1", "resnet50", "densenet121", "convnext_tiny")


def used():
    """Return the seconds of the processor and the fresh pages so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_minflt


def measure(name, precision, keeps):
    """Print milliseconds and pages for an image, in this process."""
    if not keeps:
        _blocks._keep_memory = lambda: None
    torch.set_num_threads(1)
    _, backbone = load(name)
    size = backbone.preprocessing.crop_size
    images = torch.zeros((N_IMAGES, 3, size, size), dtype=torch.uint8)
    run = own_road(backbone, images, block_rows(size, torch.device("cpu"), 1), precision)
    run()
    before = used()
    for _ in range(N_RUNS):
        run()
    seconds, pages = (after - start for after, start in zip(used(), before, strict=True))
    print(1000 * seconds / N_RUNS / N_IMAGES, pages / N_RUNS / N_IMAGES)


def measured(*arguments):
    """Return what some processes measure: milliseconds, and pages."""
    command = [sys.executable, __file__, "--one", *arguments]
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(N_PROCESSES)]
    return zip(*(map(float, output.stdout.split()) for output in outputs), strict=True)


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    arguments = parser.parse_args()
    if arguments.one:
        name, precision, keeps = arguments.one
        measure(name, precision, keeps == "kept")
        return
    print(header(f"{N_PROCESSES} processes each"))
    rows = []
    for name in arguments.backbones:
        for precision in ("float32", "bfloat16"):
            cells = [f"{name}, {precision}"]
            for keeps in ("fresh", "kept"):
                milliseconds, pages = measured(name, precision, keeps)
                cells += [spread(milliseconds, ".2f"), spread(pages, ".0f")]
            rows.append(cells)
    print_table(["milliseconds an image", "fresh memory", "pages", "kept memory", "pages"], rows)


if __name__ == "__main__":
    main()
