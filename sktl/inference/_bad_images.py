"""Images that cannot be read: found in one pass over all of them, without a network."""

from functools import partial

from sktl._text import first_of
from sktl.exceptions import BadImagesError, ImageReadError
from sktl.inference._prefetching import batched, prefetched, reading_threads
from sktl.inference.progress import counted

__all__ = ["bad_images_error", "find_bad_images"]

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


def bad_images_error(bad, n_images):
    """Make the error that names images that cannot be read, by their errors."""
    between = "\n  "
    return BadImagesError(
        f"X must hold images that can be read. Got {len(bad):,} of {n_images:,} that cannot be instead:"
        f"{between}{first_of(bad, between=between)}\n"
        "Mend or remove them, or leave them out with on_bad_image='skip'.",
        bad,
    )


def _errors_of(images, positions):
    errors = {}
    for position in positions:
        try:
            images.open(position).picture()
        except ImageReadError as error:
            errors[position] = error
    return len(positions), errors
