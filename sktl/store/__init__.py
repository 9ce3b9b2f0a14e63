"""The embedding store: what a frozen network has computed, found again by content."""

from sktl.store._store import EmbeddingStore, StoreUsage, open_store, store_folder

__all__ = ["EmbeddingStore", "StoreUsage", "open_store", "store_folder"]
