"""What other processes embed in the tests: ``python embedding_script.py WHAT FOLDER ARGUMENTS…``."""

import sys
import time

import numpy as np

from sktl import PretrainedFeatureExtractor
from sktl.store import EmbeddingStore


def pictures(*limits):
    return [np.full((16, 16, 3), (i % 256, i // 256, 7), dtype=np.uint8) for i in range(*limits)]


def embed(folder, first, last, wait=""):
    """Embed images, at the same moment as another process; print how many were computed."""
    extractor = PretrainedFeatureExtractor(cache=folder).fit(pictures(int(first), int(last)))
    _ready()
    if wait:
        sys.stdin.readline()
    extractor.transform(pictures(int(first), int(last)))
    print(extractor.store_info_.n_misses)


def stall(folder, first, last):
    """Claim images, and then do nothing."""

    def write(self, *arguments):
        _ready()
        time.sleep(600)

    EmbeddingStore.write = write
    embed(folder, first, last)


def _ready():
    print("ready", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
