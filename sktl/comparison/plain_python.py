"""Values of numpy and of Python as JSON can write them."""

import numpy as np

__all__ = ["as_plain"]


def as_plain(value):
    """Return a value as JSON can write it: what is not finite becomes None, and what JSON does not know its repr."""
    if isinstance(value, dict):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return as_plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else repr(value)
