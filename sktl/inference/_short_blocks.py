"""Blocks of fewer rows for few images, wherever these get the very bits that a whole block gives them.

An image that comes alone would pay for a whole block. Most kernels compute a row of one as they compute a row of
many, and some do not: they are chosen by the shape, and add in another order. So each number of rows is tried once on
noise, where another order shows in the last bits.
"""

from weakref import WeakKeyDictionary

import torch

# By what is run, since a trial holds for the shapes of its layers, whatever their numbers.
_known: "WeakKeyDictionary" = WeakKeyDictionary()
_MIN_VALUES = 256  # compared in all: of two outputs alone, chance might make the last bits equal


def short_blocks(n_images, rows, placement, owner, *what):
    """Return the ShortBlocks of what is run of a network, where few images may make use of them, or None.

    Elsewhere than on the CPU no bits are promised, and the rows of a block are the user's choice.
    """
    if n_images >= rows or placement.device.type != "cpu":
        return None
    return ShortBlocks(owner, *what, placement)


class ShortBlocks:
    """The numbers of rows, below that of a block, that change no bit; `what` names what is run of the owner."""

    def __init__(self, owner, *what):
        self._found = _known.setdefault(owner, {})
        self._what = what

    def rows_for(self, function, block, rows):
        """Return the least number of rows, a power of two, that takes a block and leaves its bits as they are."""
        n_rows = 1 << (len(block) - 1).bit_length()
        while n_rows < rows and not self._is_exact(function, block, rows, n_rows):
            n_rows *= 2
        return min(n_rows, rows)

    def _is_exact(self, function, block, rows, n_rows):
        key = (self._what, block.shape[1:], block.dtype, rows, n_rows)
        if key not in self._found:
            self._found[key] = _gives_the_same(function, block, rows, n_rows)
        return self._found[key]


def _gives_the_same(function, block, rows, n_rows):
    generator, n_values = torch.Generator(block.device).manual_seed(0), 0
    while n_values < _MIN_VALUES:
        noise = torch.rand((rows, *block.shape[1:]), generator=generator, device=block.device)
        noise = noise.to(block.dtype) if block.is_floating_point() else (noise * 256).to(block.dtype)
        whole = function(noise.clone())
        n_values += max(whole.numel(), 1)
        for part, expected in zip(noise.split(n_rows), whole.split(n_rows), strict=True):
            if not torch.equal(function(part.clone()), expected):
                return False
    return True
