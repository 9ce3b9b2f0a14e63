"""From images to vectors, fast and safely; no estimator here."""

from sktl.inference._blocks import block_rows, map_images, read_prepared, run_in_blocks
from sktl.inference._device import PRECISIONS, Placement, module_on, resolve_placement
from sktl.inference._embed import embed, embedding_widths

__all__ = [
    "PRECISIONS",
    "Placement",
    "block_rows",
    "embed",
    "embedding_widths",
    "map_images",
    "module_on",
    "read_prepared",
    "resolve_placement",
    "run_in_blocks",
]
