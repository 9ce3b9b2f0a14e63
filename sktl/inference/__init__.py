"""From images to vectors, fast and safely; no estimator here."""

from sktl.inference._bad_images import bad_images_error, find_bad_images
from sktl.inference._blocks import block_rows, map_images, read_prepared, run_in_blocks
from sktl.inference._cache_look_up import StoreInfo
from sktl.inference._chunks import EmbeddedChunk, embed_chunk, embed_lazily, pickled_extractor
from sktl.inference._device import PRECISIONS, Placement, resolve_placement
from sktl.inference._dry_run import activation_shape, embedding_widths
from sktl.inference._embed import embed
from sktl.inference._embed_images import embed_images
from sktl.inference._engines import ENGINES, check_engine
from sktl.inference._finite_numbers import check_finite_numbers
from sktl.inference._folding import pooled_outputs
from sktl.inference._image_embeddings import ImageEmbeddings
from sktl.inference._photographs import (
    about_photographs,
    are_photographs,
    share_warned,
    unwarned_of_photographs,
    warn_of_photographs,
)
from sktl.inference._short_blocks import short_blocks

__all__ = [
    "ENGINES",
    "EmbeddedChunk",
    "ImageEmbeddings",
    "PRECISIONS",
    "Placement",
    "StoreInfo",
    "about_photographs",
    "activation_shape",
    "are_photographs",
    "bad_images_error",
    "block_rows",
    "check_engine",
    "check_finite_numbers",
    "embed",
    "embed_chunk",
    "embed_images",
    "embed_lazily",
    "embedding_widths",
    "find_bad_images",
    "map_images",
    "pickled_extractor",
    "pooled_outputs",
    "read_prepared",
    "resolve_placement",
    "run_in_blocks",
    "share_warned",
    "short_blocks",
    "unwarned_of_photographs",
    "warn_of_photographs",
]
