"""What the benchmarks share: photos, rounds in which the roads take turns, and one way to print the figures.

Everything is random: photos, and the weights of the networks. Speed does not depend on either, and nothing is
downloaded. Figures are medians over the rounds, with the least and the greatest behind them.
"""

import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
import torch
from PIL import Image

from sktl import PretrainedFeatureExtractor
from sktl.backbones import Preprocessing

# Names a file to which every process appends how many images it has computed.
_LOG = "SKTL_BENCHMARK_ROWS"


def header(*facts, peers=()):
    """Return one line that says on what, with which versions and with which sizes was measured."""
    machine = f"{platform.machine()} CPU, {joblib.cpu_count()} core(s), {torch.get_num_threads()} thread(s)"
    versions = ", ".join(f"{name} {_version(name)}" for name in ("sktl", "torch", "torchvision", *peers))
    return "; ".join((machine, *facts, versions)) + "\n"


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def make_photos(folder, n_images):
    """Write distinct photos of 500 x 375 pixels with structure at several scales, and return their paths."""
    paths = [str(Path(folder) / f"{i}.jpg") for i in range(n_images)]
    for path, picture in zip(paths, _pictures(n_images, (500, 375)), strict=True):
        picture.save(path, quality=85)
    return paths


def make_arrays(n_images, size=224):
    """Return the same pictures as bytes of shape (n_images, size, size, 3)."""
    arrays = np.empty((n_images, size, size, 3), dtype=np.uint8)
    for i, picture in enumerate(_pictures(n_images, (size, size))):
        arrays[i] = picture
    return arrays


def _pictures(n_images, size):
    rng = np.random.default_rng(0)
    for _ in range(n_images):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        yield coarse.resize(size, Image.Resampling.BICUBIC)


def seconds(function):
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turns(roads, n_rounds):
    """Run every road once per round, each round beginning with another, and collect what they return.

    Parameters
    ----------
    roads : dict of str to callable
        What to run.
    n_rounds : int
        How often.

    Returns
    -------
    dict of str to list
        What each road returned, round by round.
    """
    names = list(roads)
    rounds = {name: [] for name in names}
    for i in range(n_rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            rounds[name].append(roads[name]())
    return rounds


def spread(values, form=".1f"):
    """Write the median, with the least and the greatest where they differ."""
    middle, least, greatest = (f"{f(values):{form}}" for f in (statistics.median, min, max))
    return middle if least == greatest else f"{middle} ({least} to {greatest})"


def print_table(columns, rows):
    """Print rows of strings as markdown."""
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(row)} |")


def log_images_to(path):
    """Let this process and those it starts append to a file how many images they compute."""
    Path(path).touch()
    os.environ[_LOG] = str(path)


def log_images(n_images):
    """Add a number of images to the log, if there is one."""
    if _LOG in os.environ:
        with open(os.environ[_LOG], "a") as log:
            log.write(f"{n_images}\n")


def logged_images():
    """Return how many images all processes have computed so far."""
    return sum(int(line) for line in Path(os.environ[_LOG]).read_text().split())


class CountedExtractor(PretrainedFeatureExtractor):
    """An extractor that logs how many images it computes: those that it resizes and crops for the network.

    Its store has no say in that, so what the store reports can be held against it.
    """

    def transform(self, X):
        """Embed images."""
        prepare, prepared = Preprocessing.prepare, []

        def counted(preprocessing, image):
            prepared.append(1)
            return prepare(preprocessing, image)

        with patch.object(Preprocessing, "prepare", counted):
            embeddings = super().transform(X)
        log_images(len(prepared))
        return embeddings
