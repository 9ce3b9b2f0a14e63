"""Prints how many pages a network with large outputs is given anew for every block, without and with sktl's measure."""

import resource
from unittest.mock import patch

import torch

from sktl.inference import _blocks, resolve_placement

N_BLOCKS, N_FLOATS = 10, 3 * 2**20  # 12 MiB an output


def network(block):
    outputs = [block.new_ones(N_FLOATS) for _ in range(3)]
    return torch.stack([output[0] for output in outputs])


def run():
    # In the thread that asks, whose memory is one piece; another thread's lies in pieces that chance divides.
    _blocks.run_in_blocks(network, torch.zeros(3, 1), resolve_placement("cpu", "float32"), rows=3, short=object())


def n_faults():
    for _ in range(3):  # at first, all memory is new
        run()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(N_BLOCKS):
        run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / N_BLOCKS


with patch.object(_blocks, "_keep_memory", lambda: None):
    without = n_faults()
print(without, n_faults())
