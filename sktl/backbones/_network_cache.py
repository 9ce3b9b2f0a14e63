"""The networks loaded last: a process keeps one copy of each, however many estimators and clones name it."""

from collections import OrderedDict
from threading import RLock

from sktl._forking import free_after_fork

__all__ = ["NetworkCache"]


class NetworkCache:
    """A cache of the least recently used kind, which makes a missing value once, whatever the number of threads."""

    def __init__(self, capacity, lock_of_making):
        self.capacity = capacity
        self._lock_of_making = lock_of_making
        self._values = OrderedDict()
        self._lock = free_after_fork(RLock())

    def get(self, key, make):
        """Return the value of a key, made on first use."""
        value = self._find(key)
        if value is not None:
            return value
        with self._lock_of_making:
            value = self._find(key)
            if value is None:
                value = make()
                self._keep(key, value)
            return value

    def clear(self):
        """Forget all values."""
        with self._lock:
            self._values.clear()

    def __len__(self):
        return len(self._values)

    def _find(self, key):
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def _keep(self, key, value):
        with self._lock:
            self._values[key] = value
            while len(self._values) > self.capacity:
                self._values.popitem(last=False)
