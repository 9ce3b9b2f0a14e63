"""A store of several tiers: this machine's own, and folders of segments that are looked up after it."""

import math

__all__ = ["TieredStore"]


class TieredStore:
    """An embedding store, or none, and folders of segments: looked up in this order, and written to the first alone.

    It stands in for an `EmbeddingStore`, whose methods it has.

    Parameters
    ----------
    local : EmbeddingStore or None
        Where vectors are kept.
    segments : sequence of SegmentFolder
        Where they are looked up otherwise.
    """

    def __init__(self, local, segments):
        self.local = local
        self.segments = tuple(segments)

    @property
    def folder(self):
        """Folder of the own store, None without one."""
        return self.local and self.local.folder

    @property
    def max_bytes(self):
        """Size that the own store may have; without one nothing is kept, so that nothing is too much."""
        return self.local.max_bytes if self.local else math.inf

    @property
    def tiers(self):
        """All that is looked up, in this order."""
        return (*(self.local.tiers if self.local else ()), *self.segments)

    def read(self, key, digests):
        """Return the stored vectors among those asked for, as {digest: read-only ndarray of float32}."""
        found: dict = {}
        for tier in self.tiers:
            found |= tier.read(key, [digest for digest in digests if digest not in found])
        return found

    def begin(self):
        """Return a lease under which to claim images, or None when nothing can be claimed; see `end`."""
        return self.local and self.local.begin()

    def end(self, lease):
        """Give a lease back."""
        if self.local:
            self.local.end(lease)

    def claim(self, key, digests, lease):
        """Return the set of digests that the caller has to compute."""
        return self.local.claim(key, digests, lease) if self.local else set(digests)

    def write(self, key, vectors, lease, seconds):
        """Keep vectors, given as {digest: ndarray}, and give back the claims to them."""
        if self.local:
            self.local.write(key, vectors, lease, seconds)

    def release(self, key, digests, lease):
        """Give back claims without a result."""
        if self.local:
            self.local.release(key, digests, lease)

    def seconds_per_image(self, key):
        """Return how long an image took to compute on average, 0 when that is unknown."""
        return next((seconds for tier in self.tiers if (seconds := tier.seconds_per_image(key))), 0.0)
