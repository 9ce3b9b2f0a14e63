"""Images that cannot be read: found in one pass over all of them, without a network."""

from functools import partial

from sktl.exceptions import ImageReadError
from sktl.inference._prefetching import batched, prefetched, reading_threads
from sktl.inference.progress import counted

__all__ = ["find_bad_images"]

_TOGETHER = 8  # by one thread at a time


def find_bad_images(images, *, n_jobs=None, verbose=0):
    """Decode every image; return the errors of those that cannot be read, by their position in the collection."""
    bad = {}
    with counted(len(images), verbose=verbose) as advance, reading_threads(n_jobs) as (pool, n_threads):
        for n_read, errors in prefetched(
            partial(_errors_of, images), batched(range(len(images)), _TOGETHER), pool, 2 * n_threads
        ):
            bad.update(errors)
            advance(n_read)
    return bad


def _errors_of(images, positions):
    errors = {}
    for position in positions:
        try:
            images.open(position).picture()
        except ImageReadError as error:
            errors[position] = error
    return len(positions), errors
