"""The embedding store: what a frozen network has computed, found again by content."""

from sktl.store._database import Key
from sktl.store._moving import export_vectors, import_vectors, usage_of_segments
from sktl.store._opening import looked_up_only, open_store, store_folder
from sktl.store._segments import SegmentFolder, write_segment
from sktl.store._store import EmbeddingStore, StoreUsage

__all__ = [
    "EmbeddingStore",
    "Key",
    "SegmentFolder",
    "StoreUsage",
    "export_vectors",
    "import_vectors",
    "looked_up_only",
    "open_store",
    "store_folder",
    "usage_of_segments",
    "write_segment",
]
